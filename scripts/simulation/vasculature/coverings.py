"""Coverings that take up agent inside the skull: falx, tentorium, and the pia's film of small vessels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulation.fields import smooth_noise
from simulation.frames import SHAPE
from simulation.layers import Label, Layer, make_layer
from simulation.physics import Flow, Tissue
from simulation.vasculature.terrain import Terrain


def dura_layer(rng: np.random.Generator, terrain: Terrain, tissue: Tissue, level_mm: float) -> Layer:
    """Falx and tentorium, where the anatomy has them, with patches of unlike enhancement."""
    deep = np.clip(-0.5 - terrain.outside, 0, 1)
    alpha = np.clip(terrain.anatomy.dura * deep * np.float32(rng.uniform(1.0, 1.6)), 0, 1)
    patches = np.clip(0.9 + np.float32(0.3) * smooth_noise(rng, SHAPE, 14), 0.3, 1.4)
    return make_layer("dura", tissue, alpha, np.float32(level_mm) * patches, Label.DURA, shape=SHAPE)


def pia_layer(rng: np.random.Generator, terrain: Terrain, blood: Tissue, blood_mm: float, flow: Flow) -> Layer:
    """A faint film where cortex meets fluid: arterioles and venules too small to be drawn."""
    anatomy = terrain.anatomy
    film = np.clip(3.5 * anatomy.gm * anatomy.csf, 0, 1) * np.float32(rng.uniform(0.04, 0.16))
    film = film * np.clip(1 + np.float32(0.4) * smooth_noise(rng, SHAPE, 10), 0.2, 2)
    layer = make_layer("pia", blood, np.asarray(film, np.float32), blood_mm, Label.NONE, shape=SHAPE)
    return replace(layer, flow=flow)
