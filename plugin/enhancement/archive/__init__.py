"""Where studies come from and results go: one Protocol, three adapters."""
