"""A folder of simulated patients that training reads patch by patch.

Per patient three files: ``NNNNNN.npy`` (channel, z, y, x) float16, ``NNNNNN.masks.npy`` (3, z, y, x)
uint8 and ``NNNNNN.json`` (`SimulatedPatient.meta`). ``index.json`` names the channels. A patient is
complete when its JSON file exists (it is written last), so a cache can be read while it grows, and
a killed run goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulation.patient import PatientConfig, SimulatedPatient, simulate_patient

CHANNELS = ("t1", "flair", "adc", "t1c", "t1c_low", "t1_clean", "t1c_k1", "t1c_k2", "t1c_k4", "t1c_k8", "concentration")
MASKS = ("labels", "brain", "brain_imperfect")


@dataclass(frozen=True)
class CachedPatient:
    """One patient on disk; ``volumes`` and ``masks`` are memory maps, so that a patch reads only its own pages.

    Attributes
    ----------
    volumes : (channel, z, y, x) float16, in the order of ``CHANNELS``
        ``adc`` in mm2/s, ``concentration`` in mM, the others in arbitrary units (targets in T1c units).
    masks : (3, z, y, x) uint8, in the order of ``MASKS``
    meta
        What `SimulatedPatient.meta` holds.
    """

    volumes: NDArray[np.float16]
    masks: NDArray[np.uint8]
    meta: dict[str, Any]


def channels(patient: SimulatedPatient) -> NDArray[np.float16]:
    """Stack a patient's volumes in the order of ``CHANNELS``."""
    parts = [patient.t1, patient.flair, patient.adc, patient.t1c, patient.t1c_low, patient.t1_clean]
    parts += [patient.t1c_k[float(k)] for k in (1, 2, 4, 8)]
    parts.append(patient.concentration_mm)
    return np.stack([np.minimum(p, 65000).astype(np.float16) for p in parts])


def write_patient(folder: Path, seed: int, config: PatientConfig) -> Path:
    """Simulate one patient into the cache, unless it is there already.

    Returns
    -------
    Path
        Its JSON file.
    """
    stem = folder / f"{seed:06d}"
    done = stem.with_suffix(".json")
    if done.exists():
        return done
    patient = simulate_patient(seed, config=config)
    np.save(stem.with_suffix(".npy"), channels(patient))
    masks = np.stack([patient.labels, patient.brain.astype(np.uint8), patient.brain_imperfect.astype(np.uint8)])
    np.save(stem.with_suffix(".masks.npy"), masks)
    part = stem.with_suffix(".part")
    part.write_text(json.dumps(patient.meta))
    part.replace(done)
    return done


def generate(
    folder: Path, seeds: range, *, workers: int = 1, config: PatientConfig | None = None
) -> Iterator[tuple[int, Path]]:
    """Write patients and yield (seed, JSON path) as they are done.

    Parameters
    ----------
    folder
        Created if needed; patients that are there are kept.
    workers
        Processes; each holds one patient, about 1.5 GB.
    """
    config = config or PatientConfig()
    folder.mkdir(parents=True, exist_ok=True)
    index = {"format": 1, "channels": CHANNELS, "masks": MASKS, "shape_zyx": (160, 192, 160)}
    (folder / "index.json").write_text(json.dumps(index, indent=1))
    if workers <= 1:
        for seed in seeds:
            yield seed, write_patient(folder, seed, config)
        return
    with ProcessPoolExecutor(workers, initializer=_one_thread) as pool:
        jobs = [(seed, pool.submit(write_patient, folder, seed, config)) for seed in seeds]
        for seed, job in jobs:
            yield seed, job.result()


def _one_thread() -> None:
    """Workers share the cores; threads within each would only fight."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)


def read(folder: Path, seed: int) -> CachedPatient:
    """Open one cached patient as memory maps."""
    stem = folder / f"{seed:06d}"
    return CachedPatient(
        np.load(stem.with_suffix(".npy"), mmap_mode="r"),
        np.load(stem.with_suffix(".masks.npy"), mmap_mode="r"),
        json.loads(stem.with_suffix(".json").read_text()),
    )


def seeds_in(folder: Path) -> list[int]:
    """Seeds of the complete patients in a cache, ascending."""
    return sorted(int(p.stem) for p in folder.glob("[0-9]*.json"))
