"""Simulated patients from MR physics over the ICBM 2009a atlas."""
