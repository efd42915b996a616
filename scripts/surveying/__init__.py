"""Matching over many studies."""
