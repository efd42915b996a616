"""What makes the method a PACS component: ledger, worker, REST routes, the Explorer button."""
