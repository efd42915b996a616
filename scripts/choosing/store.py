"""Patients as the choosing network's training reads them: 8 bytes a voxel, of the brain's box alone.

Noisy images are kept as one byte a voxel, whose steps grow with the root of the intensity: at the brain's mean a step
is 0.02 of it, less than the scanner's noise, and rounding at random keeps every mean. The noise-free T1c has half
precision. A patient takes about 30 MB, so a thousand fit on a disk, and a cube is read without reading the patient.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from choosing.truth import Truth, find_truth
from simulation.patient import SimulatedPatient

Window = tuple[slice, slice, slice]
#: One byte each: four images and the enhancement, in units of the brain's mean, and the largest value of each.
TOPS = {"t1": 8.0, "flair": 6.0, "adc": 6.0, "t1c": 8.0, "enhancement": 8.0}
CODED = (*TOPS, "marks")
#: Bits of "marks"; the upper four hold the lesion's weight.
BRAIN, IMPERFECT, DISEASE = 1, 2, 4
_WEIGHTS = np.concatenate(([0.0], np.geomspace(0.5, 4.0, 15))).astype(np.float32)


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of an image within a mask, in units of the mean within the true brain."""

    mean: float
    sd: float


@dataclass(frozen=True)
class StoredPatient:
    """A patient on disk.

    Attributes
    ----------
    path : Path
        Of the JSON file; the arrays lie beside it.
    shape_zyx : tuple of int
        The whole grid.
    box : tuple of (start, stop)
        The part of it that is stored.
    scales : {"brain" or "imperfect": {image: Scale}}
    centres : tuple of (z, y, x)
        On the whole grid.
    facts : mapping
        Seed and whatever a table may want.
    """

    path: Path
    shape_zyx: tuple[int, int, int]
    box: tuple[tuple[int, int], ...]
    scales: Mapping[str, Mapping[str, Scale]]
    centres: tuple[tuple[int, int, int], ...]
    facts: Mapping[str, object]

    def codes(self, window: Window) -> NDArray[np.uint8]:
        """(channel of `CODED`, z, y, x) of a window of the whole grid; 0 beyond the box."""
        return np.asarray(self._read(self.path.with_suffix(".codes.npy"), window), np.uint8)

    def clean(self, window: Window) -> NDArray[np.float16]:
        """(z, y, x): the noise-free T1c in units of the T1c's brain mean; 0 beyond the box."""
        return np.asarray(self._read(self.path.with_suffix(".clean.npy"), window), np.float16)

    def _read(self, path: Path, window: Window) -> Any:
        stored = np.load(path, mmap_mode="r")
        lead = stored.shape[:-3]
        out = np.zeros((*lead, *(s.stop - s.start for s in window)), stored.dtype)
        here, there = [slice(None)] * len(lead), [slice(None)] * len(lead)
        for part, (start, stop) in zip(window, self.box, strict=True):
            first, last = max(part.start, start), max(min(part.stop, stop), max(part.start, start))
            here.append(slice(first - part.start, last - part.start))
            there.append(slice(first - start, last - start))
        out[tuple(here)] = stored[tuple(there)]
        return out


def decoding(name: str, exponent: float = 1.0) -> NDArray[np.float32]:
    """The 256 intensities of a coded image, each raised to an exponent."""
    values = (np.arange(256, dtype=np.float32) / 255) ** 2 * np.float32(TOPS[name])
    return np.asarray(values if exponent == 1.0 else values ** np.float32(exponent), np.float32)


def weights_of(marks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The lesion weights that are coded in "marks"."""
    weights: NDArray[np.float32] = _WEIGHTS[marks >> 4]
    return weights


def store_patient(patient: SimulatedPatient, path: Path) -> None:
    """Write one patient; the JSON file comes last and vouches for the others."""
    truth = find_truth(patient)
    masks = {"brain": np.asarray(patient.brain, bool), "imperfect": np.asarray(patient.brain_imperfect, bool)}
    either = masks["brain"] | masks["imperfect"]
    box = ndimage.find_objects(either.astype(np.uint8))[0]
    images = {name: getattr(patient, name) for name in ("t1", "flair", "adc", "t1c")}
    means = {name: max(float(volume[masks["brain"]].mean()), 1e-12) for name, volume in images.items()}
    scaled = {name: volume / np.float32(means[name]) for name, volume in images.items()}
    scales = {
        mask: {name: asdict(_scale(volume, where, positive=name == "adc")) for name, volume in scaled.items()}
        for mask, where in masks.items()
    }
    unit = np.float32(means["t1c"])
    rng = np.random.default_rng(int(patient.meta["seed"]))
    scaled["enhancement"] = truth.enhancement / unit
    codes = [_coded(scaled[name][box], TOPS[name], rng) for name in TOPS]
    codes.append(_marks(masks, truth)[box])
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(path.with_suffix(".codes.npy"), np.where(either[box], np.stack(codes), 0).astype(np.uint8))
    _save(path.with_suffix(".clean.npy"), np.where(either[box], patient.t1c_k[1.0][box] / unit, 0).astype(np.float16))
    content = {
        "shape_zyx": list(patient.t1.shape),
        "box": [[int(s.start), int(s.stop)] for s in box],
        "scales": scales,
        "centres": [list(c) for c in truth.centres],
        "facts": {"seed": int(patient.meta["seed"])},
    }
    partial = path.with_suffix(".json.part")
    partial.write_text(json.dumps(content))
    os.replace(partial, path)


def open_stored(path: Path) -> StoredPatient:
    """Open a patient that `store_patient` wrote."""
    found = json.loads(path.read_text())
    scales = {mask: {name: Scale(**s) for name, s in images.items()} for mask, images in found["scales"].items()}
    box = tuple((int(a), int(b)) for a, b in found["box"])
    centres = tuple((int(z), int(y), int(x)) for z, y, x in found["centres"])
    return StoredPatient(path, tuple(found["shape_zyx"]), box, scales, centres, found["facts"])


def remove_stored(path: Path) -> None:
    """Remove a patient, its JSON file first."""
    for suffix in (".json", ".codes.npy", ".clean.npy"):
        path.with_suffix(suffix).unlink(missing_ok=True)


def stored_files(folder: Path) -> list[Path]:
    """The JSON files of the whole patients in a folder, by number."""
    return sorted(folder.glob("[0-9]*.json"))


def _scale(volume: NDArray[np.float32], mask: NDArray[np.bool_], *, positive: bool) -> Scale:
    """Of an ADC only what is positive counts: zero is no measurement, here as in the plugin's preparation."""
    values = volume[mask & (volume > 0)] if positive else volume[mask]
    return Scale(float(values.mean()), max(float(values.std()), 1e-6))


def _coded(volume: NDArray[np.float32], top: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Root of the intensity in 255 steps, rounded at random so that the decoded mean is right."""
    position = np.sqrt(np.clip(volume / np.float32(top), 0, 1)) * np.float32(255)
    low = np.floor(position)
    # Rounded up with the probability that makes the mean of the squares right, not that of the roots.
    share = (position**2 - low**2) / (2 * low + 1)
    coded: NDArray[np.uint8] = (low + (rng.random(volume.shape, dtype=np.float32) < share)).astype(np.uint8)
    return coded


def _marks(masks: Mapping[str, NDArray[np.bool_]], truth: Truth) -> NDArray[np.uint8]:
    marks = masks["brain"] * np.uint8(BRAIN) | masks["imperfect"] * np.uint8(IMPERFECT)
    marks = marks | truth.disease * np.uint8(DISEASE)
    level = np.abs(truth.weight[..., None] - _WEIGHTS).argmin(-1) if truth.disease.any() else 0
    return np.asarray(marks | (np.asarray(level) << 4), np.uint8)


def _save(path: Path, array: NDArray[np.generic]) -> None:
    partial = path.with_suffix(".part")
    with partial.open("wb") as stream:
        np.save(stream, array)
    os.replace(partial, path)
