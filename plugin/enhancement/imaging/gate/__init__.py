"""The gate: refuse rather than mislead."""
