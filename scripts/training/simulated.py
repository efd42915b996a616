"""Simulated patients and heads, packed for training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulation import cache
from simulation.patient import simulate_patient
from training.patients import pack

#: Training seeds begin here; those below are left to test cohorts.
FIRST_SEED = 1_000_000
_INPUTS = ("t1", "flair", "adc", "t1c", "t1c_low")


def make_patient(number: int, path: Path, *, task: str = "enhance", seed: int = 0, target: str = "t1c_4") -> None:
    """Simulate patient number n of a training run and pack it.

    Parameters
    ----------
    number : int
    path : Path
        Of the packed file.
    task : {"enhance", "extract"}
        A patient on the network's grid, or a whole head at 2 mm.
    seed : int
        Of the run: other runs see other patients.
    target : str
        ``t1c_k``, the dose that the network is to show.
    """
    simulated_seed = FIRST_SEED + 100_000 * seed + number
    if task == "extract":
        _pack_head(simulated_seed, path)
        return
    patient = simulate_patient(simulated_seed)
    volumes = {name: getattr(patient, name) for name in _INPUTS}
    volumes[target] = patient.t1c_k[float(target.removeprefix("t1c_"))]
    _pack(path, volumes, patient.labels, patient.brain, patient.brain_imperfect)


def pack_cache(folder: Path, packed: Path, target: str = "t1c_4") -> None:
    """Pack every complete patient of a simulator's cache that is not packed yet.

    Parameters
    ----------
    folder : Path
        What `simulation.cache.generate` wrote, or is still writing.
    packed : Path
    target : str
        ``t1c_k`` for one of the cache's multiples of the dose.
    """
    channels = {name: i for i, name in enumerate(cache.CHANNELS)}
    for seed in cache.seeds_in(folder):
        path = packed / f"{seed:06d}.npy"
        if path.with_suffix(".json").exists():
            continue
        found = cache.read(folder, seed)
        volumes = {name: np.asarray(found.volumes[channels[name]], np.float32) for name in _INPUTS}
        volumes[target] = np.asarray(found.volumes[channels[target.replace("t1c_", "t1c_k")]], np.float32)
        masks = {name: np.asarray(found.masks[i]) for i, name in enumerate(cache.MASKS)}
        _pack(path, volumes, masks["labels"], masks["brain"] > 0, masks["brain_imperfect"] > 0)


def _pack(
    path: Path,
    volumes: Mapping[str, Any],
    labels: NDArray[np.uint8],
    brain: NDArray[np.bool_],
    imperfect: NDArray[np.bool_],
) -> None:
    target = next(name for name in volumes if name not in _INPUTS)
    masks = {"brain": brain, "brain_imperfect": imperfect}
    pack(path, volumes, masks, labels, units={target: "t1c"}, identity=path.stem)


def _pack_head(seed: int, path: Path) -> None:
    from simulation.head import simulate_head

    head = simulate_head(seed)
    brain = np.asarray(head.brain, bool)
    pack(path, {"head": head.image}, {"brain": brain}, spacing_mm=2.0, identity=path.stem)
