"""The papers' tables as code: measures, a stated reader, statistics, cohorts and the report."""
