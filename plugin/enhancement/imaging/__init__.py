"""Volumes in, volumes out: knows nothing of DICOM or Orthanc."""
