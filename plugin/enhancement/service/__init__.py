"""The service: what makes the method a part of a PACS. It notices studies, queues, works, stores and reports."""
