"""Where a claimed job is worked on."""
