"""Vessels within the brain: perforating arteries of the basal ganglia, medullary veins of the white matter."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from simulation.vasculature.painting import Tubes, join
from simulation.vasculature.terrain import Points, Terrain, gradient

Corner = tuple[float, float, float]
#: Where perforators leave the carotid's branches and the basilar, and where they go (MNI, right side).
_PERFORATORS = (
    (((16, 3, -14), (30, 4, -13)), ((18, -6, 4), (30, 8, 18)), 9, (0.2, 0.38)),
    (((2, -12, -20), (6, -10, -16)), ((6, -22, 0), (14, -8, 8)), 5, (0.18, 0.3)),
    (((1, -17, -44), (2, -15, -28)), ((2, -30, -40), (9, -24, -28)), 5, (0.15, 0.28)),
)


def perforators(rng: np.random.Generator, terrain: Terrain) -> Tubes:
    """Constrained random walks from the base of the brain upwards into the deep grey matter and the pons."""
    parts = []
    for (near_a, near_b), (far_a, far_b), count, radius in _PERFORATORS:
        for side in (1, -1):
            number = int(rng.integers(count // 2, count + 1))
            start = _within(rng, near_a, near_b, number) * (side, 1, 1)
            end = _within(rng, far_a, far_b, number) * (side, 1, 1)
            lines = bridges(rng, start, end, 44)
            size = rng.uniform(*radius, number)[:, None] * np.linspace(1, 0.7, 44)[None]
            parts.append(Tubes(terrain.place(lines.reshape(-1, 3)), size.reshape(-1).astype(np.float64)))
    return join(parts)


def _within(rng: np.random.Generator, one: Corner, other: Corner, number: int) -> Points:
    """Random points of a box between two corners."""
    return np.asarray(np.array(one) + rng.random((number, 3)) * (np.array(other) - np.array(one)))


def bridges(rng: np.random.Generator, start: Points, end: Points, steps: int, spread: float = 0.35) -> Points:
    """(n, steps, 3) Brownian bridges between points, smoothed."""
    walk = np.cumsum(rng.normal(0, spread, (len(start), steps, 3)), axis=1)
    share = np.linspace(0, 1, steps)[None, :, None]
    walk -= walk[:, :1] + share * (walk[:, -1:] - walk[:, :1])
    walk = np.asarray(ndimage.gaussian_filter1d(walk, 2.0, axis=1, mode="nearest"))
    return np.asarray(start[:, None] * (1 - share) + end[:, None] * share + walk, np.float64)


def medullary_veins(rng: np.random.Generator, terrain: Terrain, count: int) -> Tubes:
    """Fine veins of the deep white matter that run to the nearest ventricle, wandering a little."""
    anatomy = terrain.anatomy
    inside: Points = np.argwhere(anatomy.wm[::2, ::2, ::2] > 0.8).astype(np.float64) * 2
    depth = terrain.wall(inside)
    inside = inside[depth < 28]
    if not len(inside):
        return join([])
    point = inside[rng.integers(len(inside), size=count)] + rng.uniform(-1, 1, (count, 3))
    radius = rng.uniform(0.12, 0.3, count)
    drift = rng.normal(0, 0.25, (count, 3))
    points, radii = [], []
    for _ in range(48):
        slope = gradient(terrain.wall, point, 2.0)
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 0.3)
        drift = 0.9 * drift + rng.normal(0, 0.1, drift.shape)
        going = terrain.wall(point) > 0.5
        point = point + np.where(going[:, None], 0.6 * (-slope + drift), 0.0)
        radius = radius * 1.008
        points.append(point[going])
        radii.append(radius[going])
    return Tubes(np.concatenate(points), np.concatenate(radii))
