"""Vessels that some people have and that mimic lesions: none of them is disease that a reader looks for.

Developmental venous anomaly, capillary telangiectasia, aneurysm of the circle of Willis, infundibulum.
"""

from __future__ import annotations

import numpy as np

from simulation.fields import smooth_noise
from simulation.frames import SHAPE
from simulation.layers import Label, Layer
from simulation.physics import Tissue
from simulation.vasculature.deep_vessels import bridges
from simulation.vasculature.painting import Tubes, join, paint
from simulation.vasculature.terrain import Points, Terrain

SHARES = {"venous anomaly": 0.12, "telangiectasia": 0.05, "aneurysm": 0.10, "infundibulum": 0.12}
#: Where aneurysms sit (MNI, right side): communicating arteries, forks of the middle cerebral, carotid and basilar.
_FORKS = ((1.0, 13.0, -16.0), (38.0, 3.0, -12.0), (13.0, -3.0, -16.0), (13.0, 1.0, -14.0), (0.0, -11.0, -22.0))


def venous_anomaly(rng: np.random.Generator, terrain: Terrain, surface: Points) -> Tubes:
    """A head of fine veins in white matter that join one collector to the nearest vein of the surface."""
    white = np.argwhere((terrain.anatomy.wm > 0.9) & (terrain.outside < -12)).astype(float)
    if not len(white) or not len(surface):
        return join([])
    centre = white[rng.integers(len(white))]
    exit_ = surface[np.argmin(((surface - centre) ** 2).sum(1))]
    count = int(rng.integers(6, 15))
    direction = rng.normal(0, 1, (count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    away = (centre - exit_) / max(float(np.linalg.norm(centre - exit_)), 1e-6)
    tips = centre + rng.uniform(5, 14, (count, 1)) * (direction + 0.5 * away)
    fine = bridges(rng, tips, np.repeat(centre[None], count, 0), 30)
    collector = bridges(rng, centre[None], exit_[None], 90)
    size = np.tile(np.linspace(0.15, float(rng.uniform(0.3, 0.5)), 30), count)
    thick = np.linspace(0.6, 1.0, 90) * float(rng.uniform(0.8, 1.5))
    return Tubes(np.concatenate([fine.reshape(-1, 3), collector[0]]), np.concatenate([size, thick]))


def aneurysm(rng: np.random.Generator, terrain: Terrain) -> Tubes:
    """One sac of 2 to 9 mm, round or with two lobes, at a fork."""
    at_mni = np.array(_FORKS[int(rng.integers(len(_FORKS)))]) * (float(rng.choice((-1, 1))), 1, 1)
    radius = float(np.exp(rng.uniform(np.log(1.0), np.log(4.5))))
    centre = terrain.place((at_mni + rng.normal(0, 0.6 * radius, 3))[None])
    lobe = centre + rng.normal(0, 0.5 * radius, 3)
    return Tubes(np.concatenate([centre, lobe]), np.array([radius, radius * float(rng.uniform(0.4, 0.9))]))


def infundibulum(rng: np.random.Generator, terrain: Terrain) -> Tubes:
    """A funnel of 2 to 3 mm where the posterior communicating artery leaves the carotid."""
    side = float(rng.choice((-1, 1)))
    line = np.array([(13.0, -1.0, -16.0), (12.0, -5.0, -17.0)]) * (side, 1, 1)
    points = terrain.place(line[0] + np.linspace(0, 1, 8)[:, None] * (line[1] - line[0]))
    return Tubes(points, np.linspace(float(rng.uniform(1.0, 1.5)), 0.4, 8))


def telangiectasia(rng: np.random.Generator, terrain: Terrain, tissue: Tissue, plasma_mm: float) -> Layer:
    """A faint brush-like blush of 3 to 10 mm, mostly in the pons."""
    pons = rng.random() < 0.7
    white = np.argwhere((terrain.anatomy.wm > 0.9) & (terrain.outside < -12)).astype(float)
    centre = terrain.place(np.array([rng.normal((0, -26, -32), (5, 3, 5))]))[0]
    if not pons and len(white):
        centre = white[rng.integers(len(white))]
    radius = rng.uniform(1.5, 5, 3)
    low = np.maximum(np.floor(centre - radius - 1).astype(int), 0)
    high = np.minimum(np.ceil(centre + radius + 2).astype(int), SHAPE)
    grid = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(low, high, strict=True)], indexing="ij"), -1)
    rho = np.sqrt((((grid - centre) / radius) ** 2).sum(-1))
    brush = np.clip(0.7 + 0.4 * smooth_noise(rng, rho.shape, 2.5), 0, 1)
    alpha = np.asarray(np.clip((1.2 - rho) * 1.5, 0, 1) * brush, np.float32)
    keep = alpha > 0.02
    index = np.ravel_multi_index(tuple(grid[keep].T), SHAPE)
    level = np.full(len(index), plasma_mm * float(rng.uniform(0.05, 0.25)), np.float32)
    return Layer("telangiectasia", tissue, index, alpha[keep], level, Label.VESSEL)


def paint_variant(tubes: Tubes, tissue: Tissue, name: str, blood_mm: float) -> Layer:
    """A variant as a layer of blood."""
    index, alpha = paint(tubes, SHAPE)
    return Layer(name, tissue, index, alpha, np.full(index.shape, blood_mm, np.float32), Label.VESSEL)
