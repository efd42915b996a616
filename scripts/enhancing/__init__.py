"""What scripts/enhance.py does, apart from its command line."""
