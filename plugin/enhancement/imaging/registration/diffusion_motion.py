"""Motion between the volumes of a diffusion series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from enhancement.imaging.registration.prepared_pair import FixedSeries, MovingSeries, PreparedPair
from enhancement.imaging.registration.refinement import refine
from enhancement.imaging.registration.similarity import mask_points
from enhancement.imaging.registration.transforms import of_points
from enhancement.imaging.resampling import resample

_LARGEST_MOTION_MM = 30.0  # beyond it the registration went astray, not the patient
_LEAST_CORNERS = 10


def align_diffusion(images: Sequence[sitk.Image]) -> list[sitk.Image]:
    """Move every diffusion volume onto the first (b = 0), where the patient moved between them.

    Parameters
    ----------
    images : sequence of sitk.Image
        On one grid, the lowest b-value first.

    Returns
    -------
    list of sitk.Image
        On the same grid. A volume that lies within a third of a voxel keeps its voxels untouched.
    """
    fixed = images[0]
    tissue = sitk.OtsuThreshold(fixed, 0, 1, 64)
    tissue = sitk.Cast(sitk.BinaryFillhole(sitk.BinaryMorphologicalOpening(tissue, [1, 1, 0])), sitk.sitkUInt8)
    corners = mask_points(tissue, 20.0)
    if len(corners) < _LEAST_CORNERS:
        return list(images)
    aligned, reference = [fixed], FixedSeries(fixed, tissue, rim_mm=0.0)
    for moving in images[1:]:
        transform = refine(PreparedPair(reference, MovingSeries(moving)), sitk.AffineTransform(3))
        moved = np.linalg.norm(of_points(transform)(corners) - corners, axis=1).mean()
        still = moved < min(fixed.GetSpacing()) / 3 or moved > _LARGEST_MOTION_MM
        aligned.append(moving if still else resample(moving, fixed, transform, "linear"))
    return aligned
