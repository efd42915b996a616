"""Prepared cases of the learning curve on disk: the values within the brain alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from choosing.curve_cases import CurveCase, Implant
from enhancement.imaging.measured_enhancement import Measured

LIST = "cases.json"
_MASKS = ("lesion", "white", "roi")


def save(cases: Sequence[CurveCase], folder: Path) -> None:
    """Write every case, and last the list that vouches for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        np.savez(folder / f"{case.name}.npz", **_arrays(case))  # type: ignore[arg-type]
    (folder / LIST).write_text(json.dumps([case.name for case in cases]))


def load(folder: Path) -> list[CurveCase]:
    """Read what `save` wrote; outside the brain everything is 0."""
    return [_read(folder / f"{name}.npz", name) for name in json.loads((folder / LIST).read_text())]


def _arrays(case: CurveCase) -> dict[str, NDArray[Any]]:
    inside = case.brain
    arrays: dict[str, NDArray[Any]] = {"brain": np.packbits(inside), "shape": np.array(inside.shape)}
    arrays |= {f"volume {role}": volume[inside] for role, volume in case.volumes.items()}
    arrays |= {f"mask {name}": np.packbits(getattr(case, name)) for name in _MASKS}
    measured = case.measured
    arrays |= {"excess": measured.excess_zyx[inside], "below": measured.below_zyx[inside]}
    arrays["levels"] = np.array([measured.noise, measured.voxel_noise, measured.level])
    if case.enhancement is not None:
        arrays["enhancement"] = case.enhancement[inside]
    for number, implant in enumerate(case.implants):
        arrays[f"implant {number} index"] = implant.index
        arrays[f"implant {number} added"] = implant.added
        arrays[f"implant {number} facts"] = np.array([implant.diameter_mm, implant.strength])
    return arrays


def _read(path: Path, name: str) -> CurveCase:
    with np.load(path) as file:
        found = dict(file)
    shape = tuple(int(n) for n in found["shape"])

    def mask(packed: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)

    inside = mask(found["brain"])

    def volume(values: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = np.zeros(shape, np.float32)
        whole[inside] = values
        return whole

    noise, voxel_noise, level = (float(value) for value in found["levels"])
    count = sum(key.endswith(" facts") for key in found)
    implants = [
        Implant(
            found[f"implant {i} index"], found[f"implant {i} added"], *(float(f) for f in found[f"implant {i} facts"])
        )
        for i in range(count)
    ]
    return CurveCase(
        name=name,
        volumes={k.removeprefix("volume "): volume(v) for k, v in found.items() if k.startswith("volume ")},
        brain=inside,
        measured=Measured(volume(found["excess"]), volume(found["below"]), noise, voxel_noise, level),
        enhancement=volume(found["enhancement"]) if "enhancement" in found else None,
        implants=implants,
        **{key: mask(found[f"mask {key}"]) for key in _MASKS},
    )
