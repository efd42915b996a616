"""Mutual information of scattered points with a series, smooth in the pose and with its gradient.

The joint histogram is that of Mattes: points fall into one bin of the fixed series and, by a cubic B-spline, into
four of the moving one. The points are drawn off the lattice: on it, interpolation would smooth noise at some poses and
not at others, and the optimum would lock onto whole voxels.

Source: Mattes et al. 2003, IEEE TMI 22(1):120; on off-lattice points: Likar and Pernus 2001, Image Vis Comput 19:33.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.imaging.cubic_bspline import cubic_bspline
from enhancement.imaging.registration.similarity import Points, Pose, physical_to_index

_BINS = 32
_PERCENTILES = (0.5, 99.5)
_TINY = 1e-12

Values = NDArray[np.float64]  # (n,)


@dataclass(frozen=True)
class MutualInformation:
    """Mutual information of points whose place in the moving series is to be found.

    Attributes
    ----------
    points : (n, 3), LPS, mm
        Of the fixed space; those that the moving series shows at the pose it was prepared for.
    """

    points: Points
    _fixed_bins: NDArray[np.intp]
    _moving_zyx: NDArray[np.float32]
    _to_index: NDArray[np.float64]  # (3, 3): x, y, z in mm from the first voxel to indices x, y, z
    _origin_mm: NDArray[np.float64]
    _range: tuple[float, float]  # of the moving series' intensities, over the bins

    @classmethod
    def of(cls, fixed: sitk.Image, points: Points, moving: sitk.Image, pose: Pose) -> MutualInformation:
        """Prepare for poses near a given one.

        Points that lie outside the moving series there do not count, whatever the pose: a measure over those inside
        would rise when points without structure leave.
        """
        moving_zyx = sitk.GetArrayFromImage(moving).astype(np.float32)
        index = physical_to_index(moving, pose(points))
        limit = np.asarray(moving.GetSize()) - 0.5
        inside = np.all((index >= -0.5) & (index <= limit), axis=1)
        points, index = points[inside], index[inside]
        fixed_zyx = sitk.GetArrayFromImage(fixed).astype(np.float32)
        values = interpolate(fixed_zyx, physical_to_index(fixed, points))[0]
        low, high = _spread(values)
        bins = np.clip(np.rint((values - low) / (high - low) * (_BINS - 1)), 0, _BINS - 1).astype(np.intp)
        matrix = np.reshape(moving.GetDirection(), (3, 3)) * np.asarray(moving.GetSpacing())
        extremes = _spread(interpolate(moving_zyx, index)[0])
        return cls(points, bins, moving_zyx, np.linalg.inv(matrix), np.asarray(moving.GetOrigin()), extremes)

    def __call__(self, moved: Points) -> tuple[float, Points]:
        """Mutual information in nats, and its derivative by the place of each point (n, 3; nats per mm).

        Parameters
        ----------
        moved : (n, 3), LPS, mm
            Where the points lie in the moving space.
        """
        values, slope = interpolate(self._moving_zyx, (moved - self._origin_mm) @ self._to_index.T)
        low, high = self._range
        scale = (_BINS - 4) / (high - low)
        position = (values - low) * scale + 1.5
        free = (position > 1.0) & (position < _BINS - 2 - 1e-6)
        position = np.clip(position, 1.0, _BINS - 2 - 1e-6)
        first = np.floor(position).astype(np.intp)
        weights, derivatives = cubic_bspline(position - first)
        cells = self._fixed_bins * _BINS + first - 1
        information, log_ratio = _information(cells, weights)
        pull = sum(derivatives[j] * log_ratio[cells + j] for j in range(4)) * free * (scale / values.size)
        return information, (slope @ self._to_index) * np.asarray(pull)[:, None]


def interpolate(array_zyx: NDArray[np.float32], index_xyz: Points) -> tuple[Values, Points]:
    """Trilinear values (n,) and their derivatives by x, y, z (n, 3; per voxel); the edge goes on outside."""
    last = np.asarray(array_zyx.shape[::-1]) - 1
    held = np.clip(index_xyz, 0, last)
    first = np.minimum(held.astype(np.intp), np.maximum(last - 1, 0))
    x, y, z = (held - first).T
    steps = np.minimum(last, 1) * np.array([1, array_zyx.shape[2], array_zyx.shape[1] * array_zyx.shape[2]])
    flat = array_zyx.ravel()
    base = first @ np.array([1, array_zyx.shape[2], array_zyx.shape[1] * array_zyx.shape[2]])
    rows, slopes = [], []
    for offset in (0, steps[1], steps[2], steps[1] + steps[2]):
        left = flat[base + offset].astype(np.float64)
        slopes.append(flat[base + offset + steps[0]] - left)
        rows.append(left + x * slopes[-1])
    near, far = rows[0] + y * (rows[1] - rows[0]), rows[2] + y * (rows[3] - rows[2])
    by_x = (slopes[0] * (1 - y) + slopes[1] * y) * (1 - z) + (slopes[2] * (1 - y) + slopes[3] * y) * z
    by_y = (rows[1] - rows[0]) * (1 - z) + (rows[3] - rows[2]) * z
    slope = np.stack([by_x, by_y, far - near], axis=1) * (held == index_xyz)
    return near + z * (far - near), slope


def _spread(values: NDArray[np.floating]) -> tuple[float, float]:
    low, high = np.percentile(values, _PERCENTILES) if values.size else (0.0, 0.0)
    return float(low), float(max(high, low + _TINY))


def _information(cells: NDArray[np.intp], weights: Values) -> tuple[float, Values]:
    """Mutual information, and log(p(fixed, moving) / p(moving)) of every cell: its derivative by the cell's share."""
    counts = sum(np.bincount(cells + j, weights[j], minlength=_BINS * _BINS) for j in range(4))
    joint = np.reshape(np.asarray(counts), (_BINS, _BINS)) / cells.size
    fixed, moving = joint.sum(1, keepdims=True), joint.sum(0, keepdims=True)
    log_ratio = np.log(np.maximum(joint, _TINY) / np.maximum(moving, _TINY))
    information = float(np.sum(joint * (log_ratio - np.log(np.maximum(fixed, _TINY)))))
    return information, log_ratio.ravel()
