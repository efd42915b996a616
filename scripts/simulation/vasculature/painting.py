"""From lines with radii to the share of each voxel that they fill."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Volume
from simulation.fields import Shape

Points = NDArray[np.float64]
#: Tubes thinner than this are drawn by area, thicker ones by their wall.
_THIN_MM = 0.7
#: Smaller fractions are left out: the rim of a tube of 0.2 mm has 0.01.
_LEAST = 0.005


@dataclass(frozen=True)
class Tubes:
    """Balls strung along lines: (n, 3) voxels, (n,) radii in mm."""

    points: Points
    radii: NDArray[np.float64]


def join(parts: list[Tubes]) -> Tubes:
    """All balls of several tubes."""
    if not parts:
        return Tubes(np.zeros((0, 3)), np.zeros(0))
    return Tubes(np.concatenate([p.points for p in parts]), np.concatenate([p.radii for p in parts]))


def paint(tubes: Tubes, shape: Shape) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Flat indices and volume fractions of tubes.

    A thin tube is a Gaussian of SD 0.5 mm across that holds the tube's area, since a ball
    smaller than a voxel would be lost or shown too large. A thick one has a wall of one voxel.

    Parameters
    ----------
    tubes
        Spaced by no more than about 0.7 mm where thin.
    shape : (z, y, x)

    Returns
    -------
    (m,), (m,)
        Voxels that are touched, and their fraction, up to 1.
    """
    dense = np.zeros(int(np.prod(shape)), np.float32)
    reach = np.where(tubes.radii < _THIN_MM, 1, np.ceil(tubes.radii + 0.5)).astype(int)
    for size in np.unique(reach):
        chosen = np.nonzero(reach == size)[0]
        for block in np.array_split(chosen, 1 + len(chosen) * (2 * size + 1) ** 3 // 4_000_000):
            _paint_block(dense, tubes.points[block], tubes.radii[block].astype(np.float32), int(size), shape)
    flat = np.nonzero(dense > _LEAST)[0]
    return flat, dense[flat]


def _paint_block(dense: Volume, points: Points, radii: NDArray[np.float32], size: int, shape: Shape) -> None:
    offsets = np.stack(np.meshgrid(*[np.arange(-size, size + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    centre = np.rint(points).astype(np.int64)
    rest = (points - centre).astype(np.float32)
    inside = np.all((centre >= size) & (centre < np.array(shape) - size), axis=1)
    centre, rest, radii = centre[inside], rest[inside], radii[inside]
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    flat = (centre @ strides)[:, None] + (offsets @ strides)[None]
    # The squared gap by its parts: no (n, k, 3) array.
    gap2 = (offsets**2).sum(1)[None] - 2 * rest @ offsets.T.astype(np.float32) + (rest**2).sum(1)[:, None]
    alpha = np.asarray(fraction(np.maximum(gap2, 0).astype(np.float32), radii[:, None]), np.float32)
    keep = alpha > _LEAST
    index, value = flat[keep], alpha[keep]
    order = np.argsort(value, kind="stable")
    index, value = index[order], value[order]
    dense[index] = np.maximum(dense[index], value)  # of equal indices the last, largest, is kept


def fraction(gap2: NDArray[np.float32], radius: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of a voxel at a squared distance (mm2) from the axis of a tube of this radius (mm)."""
    thin = np.minimum(2 * radius**2, 1) * np.exp(-2 * gap2)
    return np.where(radius < _THIN_MM, thin, np.clip(radius + 0.5 - np.sqrt(gap2), 0, 1)).astype(np.float32)
