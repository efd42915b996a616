"""The brain mask as an extractor would draw it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from simulation.anatomy import Anatomy
from simulation.fields import smooth_noise
from simulation.frames import SHAPE
from simulation.head_labels import VEIN

_INTO_SINUS_MM = 12.0


def imperfect_mask(rng: np.random.Generator, anatomy: Anatomy) -> NDArray[np.bool_]:
    """Too large or too small by some millimetres that change along the surface.

    In a real head the mask ends somewhere between cortex and skull, and takes the sinuses in, as a whole or in parts:
    in BraTS-GLI-00001-000 nearly all of the sagittal and transverse sinus, in TCGA-FG-6692 about half. There, of the
    voxels 0 to 1, 1 to 2, 2 to 3, 3 to 4 and 4 to 6 mm below the mask's surface, 0.62, 0.54, 0.36, 0.25 and 0.15 are
    as dark as fluid on T1.
    """
    edge = np.float32(rng.normal(0, 1.0)) + np.float32(rng.uniform(0, 1.2)) * smooth_noise(rng, SHAPE, 25)
    if anatomy.cavity is None or anatomy.labels is None:
        return np.asarray(anatomy.distance < edge, bool)
    edge = np.float32(0.9) + np.float32(0.5) * edge + np.float32(rng.uniform(0.3, 1.2)) * smooth_noise(rng, SHAPE, 40)
    dura = np.float32(rng.normal(-0.5, 0.5))
    sinus = ndimage.uniform_filter((anatomy.labels == VEIN).astype(np.float32), 9) * 8
    sinus = np.clip(sinus, 0, 1) * np.clip(np.float32(0.5) + smooth_noise(rng, SHAPE, 40), 0, 1)
    sinus *= np.float32(rng.uniform(0, _INTO_SINUS_MM))
    inside = (anatomy.distance < edge + sinus) & (anatomy.cavity < dura + np.minimum(sinus, 2))
    parts, count = ndimage.label(inside)
    return np.asarray(parts == 1 + int(np.bincount(parts.reshape(-1))[1:].argmax()) if count > 1 else inside, bool)
