"""Simulated patients from MR physics over the ICBM 2009a atlas or over real heads.

- `physics`, `protocols`, `tissues`: signal equations and what is drawn for them.
- `anatomy`, `deformation`, `fields`, `frames`: a healthy brain of its own for every seed.
- `label_maps`, `head_labels`, `head_alignment`, `head_maps`: real heads as anatomies, from a folder of label maps.
- `brain_masks`: the brain mask as an extractor draws it.
- `vasculature`, `normal_structures`: what enhances in everybody.
- `lesion_shapes`, `lesions`, `meninges`: what enhances in some, and what only looks like it.
- `layers`: all of it as compartments, rendered by mixing signals.
- `corruption`: what scanner and preprocessing do to it.
- `patient`, `cache`: training data on the network's grid.
- `outer_head`, `head_tissues`, `head`: whole heads for the brain extractor.
- `scene`: whole heads rendered onto any series grid, for DICOM studies.

Each seed names one patient; every purpose has its own random stream, so that a change in one part
leaves the others as they were. Drawing parameters (``draw_*``) is apart from the arithmetic (``build_*``).
"""
