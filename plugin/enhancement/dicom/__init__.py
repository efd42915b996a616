"""DICOM in, DICOM out: headers, matching, volumes, diffusion, derived objects."""
