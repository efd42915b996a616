"""What carries blood, and the coverings that take up agent: in its place, its number and its brightness.

- `terrain`: where in this head vessels may run (midline, tentorium, skull, fluid, ventricles).
- `named_trunks`: vessels that everybody has, snapped to the terrain.
- `growth`: trees that grow from the trunks towards the cortex.
- `deep_vessels`: perforating arteries and medullary veins.
- `variants`: developmental venous anomaly, telangiectasia, aneurysm, infundibulum.
- `coverings`: falx, tentorium, pia.
- `flow`: what moving blood does to a sequence.
- `painting`: from lines and radii to fractions of voxels.
- `build`: all of it for one patient, as layers.
"""
