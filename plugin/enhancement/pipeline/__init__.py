"""The method, once, for service, command line and evaluation: read, enhance, publish."""
