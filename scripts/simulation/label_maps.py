"""Folders of real heads as label maps: which there are, who may use which, and their maps in ICBM space.

What is derived from a label map takes a minute. It is kept in a cache folder, by the digest of the file.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.errors import InputError
from simulation.head_alignment import affine_to_head
from simulation.head_labels import Labels
from simulation.head_maps import HeadMaps, derive

Purpose = Literal["training", "test"]
# Of every twenty heads the last four are for test cohorts only.
_BLOCK, _FOR_TRAINING = 20, 16
# Another number makes the maps anew.
_FORMAT = 4
_SCALES = {"wm": 200, "gm": 200, "ventricle": 200, "septa": 200, "mixture": 120, "log_t1": 500, "distance": 200,
           "cavity": 200}  # fmt: skip
_KINDS: dict[str, type[np.signedinteger[Any]]] = {
    "mixture": np.int8,
    "log_t1": np.int8,
    "distance": np.int16,
    "cavity": np.int16,
}


@dataclass(frozen=True)
class HeadChoice:
    """One head of a folder: its label map, and whether it is mirrored."""

    path: Path
    mirrored: bool = False

    @property
    def name(self) -> str:
        """Of the label map, without its folder."""
        return self.path.name.split(".")[0]


def number_of(path: Path, position: int) -> int:
    """A head's number: the digits at the end of its name, or its place (from 1) in the folder where there are none."""
    digits = re.search(r"(\d+)$", path.name.split(".")[0])
    return int(digits.group(1)) if digits else position


def purpose_of(number: int) -> Purpose:
    """Who may use a head: of every twenty, 1 to 16 are for training, 17 to 20 for test cohorts only."""
    return "training" if (number - 1) % _BLOCK < _FOR_TRAINING else "test"


def heads_in(folder: Path) -> dict[int, Path]:
    """Number and label map of every head in a folder.

    Raises
    ------
    InputError
        If there is none, or two have one number.
    """
    paths = sorted(p for p in folder.glob("*.nii*") if p.name.endswith((".nii", ".nii.gz")))
    result = {number_of(path, position): path for position, path in enumerate(paths, start=1)}
    if not paths:
        raise InputError(f"{folder}: label maps (.nii, .nii.gz) are needed here, none was found; name another folder")
    if len(result) < len(paths):
        raise InputError(f"{folder}: the numbers at the end of the names have to differ; rename the label maps")
    return result


def draw_head_choice(rng: np.random.Generator, folder: Path, purpose: Purpose, number: int | None = None) -> HeadChoice:
    """Draw one of the heads for this purpose (or take the one of this number), mirrored or not.

    Raises
    ------
    InputError
        If the folder has no head for this purpose, or the one named is not for it.
    """
    heads = heads_in(folder)
    if number is not None:
        path = _named(folder, heads, purpose, number)
    else:
        allowed = [p for n, p in sorted(heads.items()) if purpose_of(n) == purpose]
        if not allowed:
            raise InputError(f"{folder}: a head for {purpose} is needed, all are kept for the other purpose; add one")
        path = allowed[int(rng.integers(len(allowed)))]
    return HeadChoice(path, bool(rng.random() < 0.5))


def _named(folder: Path, heads: dict[int, Path], purpose: Purpose, number: int) -> Path:
    if number not in heads:
        raise InputError(
            f"head {number} was asked for; {folder} has {', '.join(map(str, sorted(heads)))}; name another"
        )
    if purpose_of(number) != purpose:
        raise InputError(f"head {number} was asked for {purpose}; it is kept for {purpose_of(number)}; name another")
    return heads[number]


def cache_folder() -> Path:
    """Where derived maps are kept: ``contrast-enhancement/heads`` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "contrast-enhancement" / "heads"


@lru_cache(maxsize=1)  # 200 MB, and sixteen heads take turns
def load_head(choice: HeadChoice) -> HeadMaps:
    """The maps of a head, from the cache where they are, made and kept otherwise (half a minute)."""
    if choice.mirrored:
        return load_head(HeadChoice(choice.path)).mirrored()
    digest = hashlib.sha256(choice.path.read_bytes()).hexdigest()[:24]
    kept = cache_folder() / f"{digest}-{_FORMAT}.npz"
    if not kept.exists():
        labels = read_labels(choice.path)
        _write(kept, derive(labels, _alignment(labels, cache_folder() / f"{digest}-affine.txt")))
    return _read(kept)


def read_labels(path: Path) -> Labels:
    """A label map at 1 mm as (z, y, x), x to the right, y to the front, z up."""
    image = sitk.DICOMOrient(sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkInt16), "RAS")
    if max(abs(s - 1) for s in image.GetSpacing()) > 0.05:
        raise InputError(f"{path.name}: voxels of 1 mm are needed, found {image.GetSpacing()}; resample it")
    labels: Labels = np.asarray(sitk.GetArrayFromImage(image), np.int16)
    if labels.min() < 0 or labels.max() > 530:
        raise InputError(f"{path.name}: numbers from 0 to 530 are needed, found {labels.min()} to {labels.max()}")
    return labels


def _alignment(labels: Labels, kept: Path) -> NDArray[np.float64]:
    """MNI coordinates to voxels of the label map, from the cache where it is there."""
    if not kept.exists():
        from simulation.icbm import load_atlas

        atlas = load_atlas()
        matrix = affine_to_head(labels, atlas.wm, atlas.gm, atlas.distance < 0)
        kept.parent.mkdir(parents=True, exist_ok=True)
        part = kept.with_name(f"{kept.stem}.{os.getpid()}.part")
        np.savetxt(part, matrix, fmt="%.4f")
        part.replace(kept)
    return np.loadtxt(kept)


def _write(path: Path, maps: HeadMaps) -> None:
    """Whole numbers, so that a head takes 55 MB and reads in a tenth of a second."""
    arrays: dict[str, Any] = {"labels": maps.labels}
    for name, scale in _SCALES.items():
        rounded = np.rint(getattr(maps, name) * scale)
        kind: type[np.integer[Any]] = _KINDS.get(name, np.uint8)
        arrays[name] = np.clip(rounded, np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez(part, **arrays)
    part.replace(path)


def _read(path: Path) -> HeadMaps:
    with np.load(path) as file:
        arrays = {f.name: file[f.name] for f in fields(HeadMaps)}
    return HeadMaps(**{n: a if n == "labels" else a.astype(np.float32) / np.float32(_SCALES[n])
                       for n, a in arrays.items()})  # fmt: skip
