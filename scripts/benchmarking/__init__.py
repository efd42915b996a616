"""What the plugin costs the archive that it lives in."""
