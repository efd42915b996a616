"""The demo: a scanner, a viewer and a figure around a real Orthanc."""
