"""Measures, readers, statistics and reports of the papers."""
