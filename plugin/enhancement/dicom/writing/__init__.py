"""Volumes into derived DICOM series."""
