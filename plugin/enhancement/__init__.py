"""Contrast enhancement of brain MRI, as an Orthanc plugin and as a command line."""

__version__ = "0.1.0"
