"""Patients as training reads them: one memory-mapped half-precision file each, with what must be known about it.

A patch is read without reading the patient, so hundreds of patients train from a disk and no memory is needed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Codes of `simulation.layers.Label`, which a folder of real studies uses too: 1 necrosis, 5 and 6 lesions that do not
# enhance, 9 white-matter disease, 10 cavities; 4, 7 and 8 vessels, dura and plexus.
ENHANCING, OTHER_LESIONS, NORMAL_UPTAKE = 3, (1, 5, 6, 9, 10), (4, 7, 8)
#: Identities of packed patients that are no simulation begin with it; the name of the patient's folder follows.
REAL_STUDY = "study-"
#: Against up to 3 for a lesion: the odds at which a small blob is taken for one. A patient has some 60,000 such voxels
#: and 30 of a small metastasis: at 1 no lesion below 8 mm brightened, at 0 every small vessel would.
_NORMAL_UPTAKE_WEIGHT = 0.02
#: Sides of the reference lesion volume, in voxels (10 mm sphere): smaller ones weigh more, larger ones less.
_REFERENCE_VOXELS = 523.0


@dataclass(frozen=True)
class Statistics:
    """Brain mean, brain SD and percentiles 1 and 99 of one volume, within one mask, in the packed unit."""

    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Patient:
    """A packed patient.

    Attributes
    ----------
    path : Path
        The .npy file, (volume, z, y, x), float16; intensities are divided by their brain mean.
    names : tuple of str
        Name of each volume in the file.
    statistics : {mask name: {volume name: Statistics}}
    centres : tuple of (z, y, x)
        One voxel in the middle of each enhancing lesion.
    spacing_mm : float
    levels : {volume name: float}
        Of a volume that shares another's unit: its level in calm brain over the other's.
    """

    path: Path
    names: tuple[str, ...]
    shape_zyx: tuple[int, int, int]
    statistics: Mapping[str, Mapping[str, Statistics]]
    centres: tuple[tuple[int, int, int], ...] = ()
    spacing_mm: float = 1.0
    identity: str = ""
    box: tuple[tuple[int, int], ...] = field(default=())
    levels: Mapping[str, float] = field(default_factory=dict)

    def read(self, name: str, window: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        """Read a window of one volume; a volume that the patient lacks is all zeros."""
        if name not in self.names:
            return np.zeros([s.stop - s.start for s in window], dtype=np.float32)
        packed = np.load(self.path, mmap_mode="r")
        return np.asarray(packed[(self.names.index(name), *window)], dtype=np.float32)


def pack(
    path: Path,
    volumes: Mapping[str, NDArray[np.floating]],
    masks: Mapping[str, NDArray[np.bool_]],
    labels: NDArray[np.integer] | None = None,
    *,
    units: Mapping[str, str] | None = None,
    covered: Mapping[str, NDArray[np.bool_]] | None = None,
    spacing_mm: float = 1.0,
    identity: str = "",
) -> Patient:
    """Write one patient.

    Parameters
    ----------
    path : Path
        Of the .npy file; a .json of the same name is written beside it, last, and vouches for it.
    volumes : {name: (z, y, x)}
    masks : {name: (z, y, x)}
        "brain", and where there is one "brain_imperfect"; statistics are taken within each.
    labels : (z, y, x), optional
        3 enhancing lesion; 1, 5, 6, 9 and 10 other lesions; 4, 7 and 8 normal structures that enhance.
    units : {name: name}, optional
        Volumes that share the unit of another one, such as a target in its input's: they are divided by its mean.
    covered : {name: (z, y, x)}, optional
        Where a volume has data, of those that have gaps: what lies beyond counts in no statistics.
    """
    units, covered = units or {}, covered or {}
    brain = masks["brain"]
    known = {name: covered.get(name, np.True_) & brain for name in volumes}
    scale = {name: 1.0 / max(float(array[known[name]].mean()), 1e-12) for name, array in volumes.items()}
    scaled = {name: np.asarray(a, np.float32) * scale[units.get(name, name)] for name, a in volumes.items()}
    statistics = {
        mask_name: {
            name: measure(a, mask & covered.get(name, np.True_) & ((a > 0) if name == "adc" else np.True_))
            for name, a in scaled.items()
        }
        for mask_name, mask in masks.items()
    }  # an ADC of zero is no measurement, here as in the plugin's preprocessing
    stack: dict[str, NDArray[np.floating]] = dict(scaled)
    stack.update({name: mask.astype(np.float16) for name, mask in masks.items()})
    centres: tuple[tuple[int, int, int], ...] = ()
    if labels is not None:
        stack["weight"], centres = lesion_weight(labels)
    shape = brain.shape
    box = tuple((int(s.start), int(s.stop)) for s in ndimage.find_objects(brain.astype(np.uint8))[0])
    weight = stack.get("weight", np.zeros(shape, np.float16))
    levels = {name: relative_level(scaled[name], scaled[other], brain & (weight == 0)) for name, other in units.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(path, np.stack([a.astype(np.float16) for a in stack.values()]))
    patient = Patient(path, tuple(stack), shape, statistics, centres, spacing_mm, identity or path.stem, box, levels)
    described = {k: v for k, v in asdict(patient).items() if k != "path"}
    partial = path.with_suffix(".json.part")
    partial.write_text(json.dumps(described))
    partial.replace(path.with_suffix(".json"))
    return patient


def _save(path: Path, array: NDArray[np.float16]) -> None:
    partial = path.with_suffix(".part")
    with partial.open("wb") as stream:
        np.save(stream, array)
    os.replace(partial, path)


def open_packed(path: Path) -> Patient:
    """Open a patient that `pack` wrote."""
    content = json.loads(path.with_suffix(".json").read_text())
    statistics = {
        mask: {name: Statistics(**values) for name, values in volumes.items()}
        for mask, volumes in content["statistics"].items()
    }
    return Patient(
        path,
        tuple(content["names"]),
        tuple(content["shape_zyx"]),
        statistics,
        tuple(tuple(c) for c in content["centres"]),
        content["spacing_mm"],
        content["identity"],
        tuple(tuple(b) for b in content["box"]),
        content["levels"],
    )


def packed_files(folder: Path) -> list[Path]:
    """The packed files of a folder that are whole, in the order of their numbers."""
    return [path.with_suffix(".npy") for path in sorted(folder.glob("[0-9]*.json"))]


def measure(array: NDArray[np.float32], mask: NDArray[np.bool_]) -> Statistics:
    """Mean, SD and percentiles 1 and 99 within a mask."""
    values = array[mask]
    low, high = np.percentile(values, (1, 99))
    return Statistics(float(values.mean()), max(float(values.std()), 1e-6), float(low), float(high))


def relative_level(volume: NDArray[np.float32], reference: NDArray[np.float32], calm: NDArray[np.bool_]) -> float:
    """Median of a volume over that of its reference in grey and white matter; both with brain mean near 1."""
    tissue = calm & (reference > 0.7) & (reference < 1.5)
    return float(np.median(volume[tissue]) / np.median(reference[tissue])) if tissue.any() else 1.0


def lesion_weight(labels: NDArray[np.integer]) -> tuple[NDArray[np.float16], tuple[tuple[int, int, int], ...]]:
    """Weight of each voxel in the lesion term, and the middle of each enhancing lesion.

    An enhancing lesion and a rim of one voxel weigh (reference volume / volume) ** (1/3), within [0.5, 3], so that a
    2 mm metastasis is not drowned by a glioma; a lesion that doesn't enhance weighs 0.5: it must stay as it is.
    Vessels, dura and plexus, which look like lesions, weigh 0.02 with a rim of one voxel.
    """
    weight = np.zeros(labels.shape, dtype=np.float16)
    weight[np.isin(labels, OTHER_LESIONS)] = 0.5
    normal = ndimage.binary_dilation(np.isin(labels, NORMAL_UPTAKE))
    weight[normal & (weight == 0)] = _NORMAL_UPTAKE_WEIGHT
    components, count = ndimage.label(labels == ENHANCING, structure=np.ones((3, 3, 3)))
    centres = []
    for index, box in enumerate(ndimage.find_objects(components), start=1):
        grown = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
        lesion = components[grown] == index
        value = np.clip((_REFERENCE_VOXELS / lesion.sum()) ** (1 / 3), 0.5, 3.0)
        rim = ndimage.binary_dilation(lesion)
        weight[grown] = np.where(rim, np.maximum(weight[grown], value), weight[grown])
        voxels = np.argwhere(lesion)
        nearest = voxels[np.argmin(((voxels - voxels.mean(axis=0)) ** 2).sum(axis=1))]
        centres.append(tuple(int(v) + s.start for v, s in zip(nearest, grown, strict=True)))
    assert len(centres) == count
    return weight, tuple(centres)
