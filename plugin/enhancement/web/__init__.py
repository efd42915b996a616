"""The REST routes, who may use them, and the pages."""
