"""Mutual information of two series at scattered points: cheap enough to try hundreds of poses.

`search.py` finds with it where a head lies, `agreement.py` tells with it whether two series agree better than chance
would have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.imaging.resampling import antialiased

_BINS = 16
_SMALLEST_OVERLAP = 0.3
_SHARP_ALREADY = 0.97  # of the spacing wanted: closer than that, there is next to nothing to smooth
_COARSE_ALREADY = 0.75  # of the spacing wanted: closer than that, resampling costs sharpness and saves little

Points = NDArray[np.float64]  # (n, 3), LPS, mm
Pose = Callable[[Points], Points]  # points of the fixed series -> points of the moving series


def resample_isotropic(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Smooth and resample an image on its own axes; axes that are about as coarse already keep their voxels."""
    smooth = antialiased(image, spacing_mm, coarse_already=_SHARP_ALREADY)
    along = zip(image.GetSize(), image.GetSpacing(), strict=True)
    size = [n if s > _COARSE_ALREADY * spacing_mm else max(1, round(n * s / spacing_mm)) for n, s in along]
    if tuple(size) == image.GetSize():
        return smooth
    spacing = [n * s / m for n, s, m in zip(image.GetSize(), image.GetSpacing(), size, strict=True)]
    first = [0.5 * (m / s - 1.0) for m, s in zip(spacing, image.GetSpacing(), strict=True)]  # half-voxel shift
    return sitk.Resample(
        smooth,
        size,
        sitk.Transform(),
        sitk.sitkLinear,
        image.TransformContinuousIndexToPhysicalPoint(first),
        spacing,
        image.GetDirection(),
        0.0,
        sitk.sitkFloat32,
    )


def mask_points(mask: sitk.Image, spacing_mm: float) -> Points:
    """Points inside a mask, on a lattice of about `spacing_mm`."""
    step = [max(1, round(spacing_mm / s)) for s in mask.GetSpacing()]
    zyx = np.argwhere(sitk.GetArrayViewFromImage(mask)[:: step[2], :: step[1], :: step[0]] > 0)
    index = zyx[:, ::-1] * np.asarray(step)
    return index_to_physical(mask, index)


def head_points(image: sitk.Image, spacing_mm: float = 8.0) -> Points:
    """Points that are not air (Otsu); all points where nothing stands out."""
    small = resample_isotropic(image, spacing_mm)
    points = mask_points(sitk.OtsuThreshold(small, 0, 1, 64), spacing_mm)
    return points if len(points) > 10 else mask_points(small * 0 + 1, spacing_mm)


def index_to_physical(image: sitk.Image, index_xyz: NDArray[np.generic]) -> Points:
    """Voxel coordinates (n, 3) in x, y, z to LPS millimetres."""
    matrix = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    points: Points = np.asarray(index_xyz, dtype=np.float64) @ matrix.T + np.asarray(image.GetOrigin())
    return points


def physical_to_index(image: sitk.Image, points: Points) -> Points:
    """LPS millimetres to continuous voxel coordinates (n, 3) in x, y, z."""
    matrix = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    index: Points = (points - np.asarray(image.GetOrigin())) @ np.linalg.inv(matrix).T
    return index


@dataclass(frozen=True)
class Similarity:
    """Mutual information of a fixed series' points with a moving series under a pose."""

    points: Points
    fixed_bins: NDArray[np.intp]  # (n,)
    moving: sitk.Image
    moving_zyx: NDArray[np.float32]
    edges: NDArray[np.float32]  # bin edges of the moving series

    @classmethod
    def of(cls, fixed: sitk.Image, points: Points, moving: sitk.Image) -> Similarity:
        """Prepare: both series are binned by their own quantiles, so that contrast and gain don't matter."""
        values = _sample(sitk.GetArrayViewFromImage(fixed), physical_to_index(fixed, points))[0]
        moving_zyx = sitk.GetArrayFromImage(moving).astype(np.float32)
        inside = moving_zyx[moving_zyx > 0.02 * np.percentile(moving_zyx, 99)]
        edges = _quantile_edges(inside if inside.size > 1000 else moving_zyx.ravel())
        return cls(points, np.searchsorted(_quantile_edges(values), values), moving, moving_zyx, edges)

    def __call__(self, pose: Pose) -> float:
        """Mutual information in nats times the square root of the overlap; 0 where hardly anything overlaps."""
        values, inside = _sample(self.moving_zyx, physical_to_index(self.moving, pose(self.points)))
        overlap = float(inside.mean())
        if overlap < _SMALLEST_OVERLAP:
            return 0.0
        bins = np.searchsorted(self.edges, values[inside])
        return _mutual_information(self.fixed_bins[inside], bins) * float(np.sqrt(overlap))


def _sample(array_zyx: NDArray[np.float32], index_xyz: Points) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    coordinates = index_xyz[:, ::-1].T
    limit = np.asarray(array_zyx.shape, dtype=float)[:, None] - 0.5
    inside = np.all((coordinates >= -0.5) & (coordinates <= limit), axis=0)
    values = ndimage.map_coordinates(array_zyx, coordinates, order=1, mode="nearest", output=np.float32)
    return values, inside


def _quantile_edges(values: NDArray[np.floating]) -> NDArray[np.float32]:
    edges = np.quantile(values[:: max(1, values.size // 50_000)], np.linspace(0, 1, _BINS + 1)[1:-1])
    return np.unique(edges).astype(np.float32)


def _mutual_information(a: NDArray[np.intp], b: NDArray[np.intp]) -> float:
    joint = np.bincount(a * _BINS + b, minlength=_BINS * _BINS).reshape(_BINS, _BINS) / a.size
    product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    filled = joint > 0
    information = float(np.sum(joint[filled] * np.log(joint[filled] / product[filled])))
    # Sparse histograms carry information by chance alone (Miller and Madow): (cells - 1)^2 / 2n for independence.
    rows, columns = int((joint.sum(1) > 0).sum()), int((joint.sum(0) > 0).sum())
    return max(0.0, information - (rows - 1) * (columns - 1) / (2.0 * a.size))
