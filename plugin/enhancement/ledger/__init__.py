"""The ledger: the durable rows of every job, from the first look at a study to its stored result."""
