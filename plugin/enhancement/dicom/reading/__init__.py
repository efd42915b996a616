"""DICOM objects into volumes."""
