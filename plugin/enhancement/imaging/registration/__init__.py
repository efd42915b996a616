"""Where one series lies with respect to another: search, refinement, and how sure it is."""
