"""What an enhanced image brightens: disease, and what normally enhances.

d is how much the agent brightened a voxel: T1c over its median less T1 over its median, less the brain's median of
that. g is how much the method did: image less T1c, over the T1c's median. The amplification A of a region is the sum of
g over the sum of d there. What lies more than 5 mm from the lesion is outside; deep is more than 4 mm inside the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask, Volume

_ENHANCING = 0.15
_VIVID = 0.6
_BRIGHTENED = 0.2
_OUTSIDE_VOXELS, _DEEP_VOXELS = 5, 4
_SMALLEST_PIECE = 8


@dataclass(frozen=True)
class Brightening:
    """Of one image of one case.

    Attributes
    ----------
    lesion : float
        A of the lesion's voxels with d above 0.15; NaN without a lesion.
    vessels : float
        A of what is deep and outside and has d above 0.6, over A of the lesion; A itself without a lesion.
    pieces : int
        Connected pieces of 8 voxels and more, deep and outside, with g above 0.2.
    millilitres : float
        Of all voxels like that.
    """

    lesion: float
    vessels: float
    pieces: int
    millilitres: float


def agent_map(t1: Volume, t1c: Volume, brain: Mask) -> Volume:
    """d of every voxel, 0 outside the brain."""
    d = t1c / np.median(t1c[brain]) - t1 / np.median(t1[brain])
    return np.where(brain, d - np.median(d[brain]), 0).astype(np.float32)


def brightening(
    t1: Volume, t1c: Volume, image: Volume, brain: Mask, lesion: Mask, *, voxel_ml: float = 1e-3
) -> Brightening:
    """Measure an image on a grid of about 1 mm.

    Parameters
    ----------
    t1, t1c, image : (z, y, x), intensities
        `image` in the units of `t1c`.
    brain, lesion : (z, y, x)
    voxel_ml : float
        Volume of a voxel.
    """
    d = agent_map(t1, t1c, brain)
    g = (image - t1c) / np.median(t1c[brain])
    inside = ndimage.distance_transform_edt(brain) > _DEEP_VOXELS
    outside = ndimage.distance_transform_edt(~lesion) > _OUTSIDE_VOXELS if lesion.any() else np.ones_like(brain)
    away = inside & outside
    of_lesion = _ratio(g, d, lesion & brain & (d > _ENHANCING))
    of_vessels = _ratio(g, d, away & (d > _VIVID))
    bright = away & (g > _BRIGHTENED)
    components, _ = ndimage.label(bright, np.ones((3, 3, 3)))
    sizes = np.bincount(components.ravel())[1:]
    return Brightening(
        lesion=of_lesion,
        vessels=of_vessels / of_lesion if np.isfinite(of_lesion) and of_lesion > 0 else of_vessels,
        pieces=int((sizes >= _SMALLEST_PIECE).sum()),
        millilitres=float(bright.sum() * voxel_ml),
    )


def _ratio(g: NDArray[np.float32], d: NDArray[np.float32], where: Mask) -> float:
    total = float(d[where].sum())
    return float(g[where].sum()) / total if total > 0 else float("nan")
