"""A patient of 32 voxels' edge for the choosing network's tests: a brain, a vessel, lesions of 2 to 7 voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from choosing.recipe import ChoosingRecipe, changed
from choosing.store import StoredPatient, open_stored, store_patient
from simulation.layers import Label
from simulation.patient import SimulatedPatient

EDGE = 32
SHAPE = (EDGE,) * 3
LEVEL = 300.0


def tiny_patient(seed: int = 0) -> SimulatedPatient:
    """All volumes by hand, noise of a thirtieth."""
    rng = np.random.default_rng(seed)
    distance = np.linalg.norm(np.indices(SHAPE) - (EDGE - 1) / 2, axis=0)
    brain = distance < 14
    wm = (distance < 10).astype(np.float32)
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:12, 10:12, 10:12] = Label.ENHANCING
    labels[16:23, 16:23, 14:21] = Label.ENHANCING
    labels[:, 20, 9] = Label.VESSEL
    agent = np.zeros(SHAPE, np.float32)
    agent[labels == Label.ENHANCING] = 0.5
    agent[labels == Label.VESSEL] = 1.0
    none = LEVEL * (0.8 + 0.3 * wm) * brain
    full = none * (1.05 + agent)

    def noisy(volume: np.ndarray) -> np.ndarray:
        return np.abs(volume + rng.normal(0, 0.03 * LEVEL, SHAPE)).astype(np.float32)

    empty = np.zeros(SHAPE, np.float32)
    return SimulatedPatient(
        t1=noisy(none),
        flair=noisy(none),
        adc=(noisy(none) * 3e-6).astype(np.float32),
        t1c=noisy(full),
        t1c_low=empty,
        t1c_k={1.0: full.astype(np.float32)},
        t1_clean=none.astype(np.float32),
        brain=brain,
        brain_imperfect=distance < 13,
        labels=labels,
        wm=wm,
        gm=(brain - wm).astype(np.float32),
        csf=empty,
        concentration_mm=agent,
        adc_true=empty,
        meta={"seed": seed},
    )


def tiny_recipe(*switches: str) -> ChoosingRecipe:
    """A network that a step takes milliseconds of."""
    return changed(ChoosingRecipe(), ["channels=4", "levels=2", "fine=8", "cubes=[[16,2]]", "warm_up=2", *switches])


def store_tiny(folder: Path, count: int = 2) -> list[StoredPatient]:
    """Store a few such patients."""
    for number in range(count):
        store_patient(tiny_patient(number), folder / f"{number:07d}.json")
    return [open_stored(path) for path in sorted(folder.glob("[0-9]*.json"))]
