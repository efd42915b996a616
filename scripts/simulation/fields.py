"""Smooth random fields: cubic B-splines on a coarse grid, evaluated by three small matrix products."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Volume
from enhancement.imaging.cubic_bspline import cubic_bspline

Shape = tuple[int, int, int]


def stream(seed: int, name: str) -> np.random.Generator:
    """An independent random stream per purpose, so that a change in one part leaves the others as they were."""
    return np.random.default_rng([seed, *name.encode()])


@lru_cache(maxsize=64)
def _basis(points: int, size: int, offset: float = 0.5) -> NDArray[np.float32]:
    """(size, points + 3) cubic B-spline weights of ``points`` intervals over ``size`` voxels."""
    position = (np.arange(size) + offset) * points / size
    cell = np.floor(position).astype(int)
    weights, _ = cubic_bspline(position - cell)
    matrix = np.zeros((size, points + 3), np.float32)
    for k in range(4):
        matrix[np.arange(size), cell + k] += weights[k].astype(np.float32)
    return matrix


def evaluate(coefficients: NDArray[np.floating], shape: Shape) -> Volume:
    """The spline of (nz+3, ny+3, nx+3) coefficients on a dense grid.

    Parameters
    ----------
    coefficients : (nz + 3, ny + 3, nx + 3)
    shape : (z, y, x)

    Returns
    -------
    (z, y, x) float32
    """
    nz, ny, nx = (n - 3 for n in coefficients.shape)
    field = np.asarray(coefficients, np.float32)
    field = np.tensordot(_basis(nz, shape[0]), field, (1, 0))
    field = np.tensordot(_basis(ny, shape[1]), field, (1, 1)).transpose(1, 0, 2)
    return np.asarray(np.ascontiguousarray(field) @ _basis(nx, shape[2]).T, np.float32)


def smooth_noise(rng: np.random.Generator, shape: Shape, spacing_voxels: float) -> Volume:
    """Band-limited noise with standard deviation 1 and about ``spacing_voxels`` between control points."""
    points = [max(1, round(n / spacing_voxels)) for n in shape]
    coefficients = rng.standard_normal([n + 3 for n in points], dtype=np.float32)
    field = evaluate(coefficients, shape)
    return np.asarray(field / np.float32(max(float(field.std()), 1e-6)), np.float32)


def bias_field(rng: np.random.Generator, shape: Shape, sd: float, points: int) -> Volume:
    """A receive field exp(smooth noise) with ``points`` control points per axis and this SD of its logarithm."""
    coefficients = rng.standard_normal((points + 3,) * 3, dtype=np.float32)
    field = evaluate(coefficients, shape)
    field -= field.mean()
    return np.asarray(np.exp(field * np.float32(sd / max(float(field.std()), 1e-6))), np.float32)
