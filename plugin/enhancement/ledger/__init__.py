"""The durable rows: one job a study, recipe and inputs, from the first look to the stored result."""
