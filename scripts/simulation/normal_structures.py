"""Normal structures that enhance: choroid plexus, pituitary and its stalk, pineal gland, area postrema."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from simulation.anatomy import Anatomy
from simulation.fields import smooth_noise
from simulation.frames import SHAPE, mni_to_voxel
from simulation.head_labels import PLEXUS, Labels, select
from simulation.layers import Label, Layer
from simulation.physics import Tissue
from simulation.vasculature.named_trunks import polyline
from simulation.vasculature.painting import Tubes, paint

# Choroid plexus: MNI points and radii (mm) along the floor of the bodies, the glomus, the temporal horns,
# the roof of the third and the fourth ventricle. Mirrored.
_PLEXUS = (
    (((5, 0, 16), (9, -12, 20), (15, -28, 18), (23, -40, 12), (28, -34, -4), (33, -20, -16)), (1.2, 2.6)),
    (((18, -40, 15), (25, -43, 8)), (2.5, 4.0)),
    (((1, -2, 9), (1, -20, 10)), (0.8, 0.8)),
    (((2, -46, -34), (12, -43, -38)), (1.2, 1.5)),
)
# name, MNI points, radius (mm), share of the plasma concentration, mirrored
_GLANDS = (
    ("pituitary", ((-4, 2, -34), (4, 2, -34)), 3.6, 0.55, False),
    ("stalk", ((0, 2, -31), (0, -1, -18)), 0.9, 0.5, False),
    ("pineal", ((0, -27, 1), (0, -29, 1)), 2.2, 0.4, False),
    ("area postrema", ((-1, -44, -56), (1, -44, -56)), 0.7, 0.3, False),
)


def plexus_layer(rng: np.random.Generator, anatomy: Anatomy, tissue: Tissue, plasma_mm: float) -> Layer:
    """Tufted choroid plexus within the ventricles."""
    points, radii = [], []
    size = float(np.exp(rng.normal(0, 0.25)))
    for control, (first, last) in _PLEXUS:
        for side in (1, -1):
            line = polyline(np.array(control, float) * (side, 1, 1) + rng.normal(0, 1.0, (len(control), 3)))
            points.append(anatomy.deformation.to_patient(mni_to_voxel(line)))
            radii.append(np.linspace(first, last, len(line)) * size)
    index, alpha = paint(Tubes(np.concatenate(points), np.concatenate(radii)), SHAPE)
    alpha = alpha * np.clip(anatomy.csf.reshape(-1)[index] * 1.2, 0, 1)
    if anatomy.labels is not None:
        index, alpha = _with_seen(index, alpha, anatomy.labels)
    tufts = smooth_noise(rng, SHAPE, 2.6).reshape(-1)[index]
    alpha = alpha * np.clip(0.65 + 0.8 * tufts, 0, 1) * np.float32(rng.uniform(0.6, 1.0))
    keep = alpha > 0.02
    level = np.full(int(keep.sum()), plasma_mm * float(rng.uniform(0.35, 0.8)), np.float32)
    return Layer("plexus", tissue, index[keep], alpha[keep].astype(np.float32), level, Label.PLEXUS)


def _with_seen(
    index: NDArray[np.int64], alpha: NDArray[np.float32], labels: Labels
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What was drawn, together with the plexus of the head's label map."""
    dense = np.asarray(ndimage.gaussian_filter(select(labels, PLEXUS).astype(np.float32), 0.6), np.float32).reshape(-1)
    dense[index] = np.maximum(dense[index], alpha)
    filled = np.nonzero(dense > 0.02)[0]
    return filled, dense[filled]


def gland_layers(rng: np.random.Generator, anatomy: Anatomy, tissue: Tissue, plasma_mm: float) -> list[Layer]:
    """Glands and other places without a blood-brain barrier."""
    layers = []
    for name, control, radius, share, paired in _GLANDS:
        for side in (1, -1) if paired else (1,):
            line = polyline(np.array(control, float) * (side, 1, 1))
            at = anatomy.deformation.to_patient(mni_to_voxel(line))
            radii = np.full(len(at), radius * float(rng.uniform(0.75, 1.2)))
            index, alpha = paint(Tubes(at, radii), SHAPE)
            level = plasma_mm * share * float(np.exp(rng.normal(0, 0.25)))
            layers.append(Layer(name, tissue, index, alpha, np.full(index.shape, level, np.float32), Label.GLAND))
    return layers
