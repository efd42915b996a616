"""The web: REST routes, who may use them, and what Orthanc's pages are given."""
