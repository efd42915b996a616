"""One simulated patient for many tests: the head is made once, its series are acquired as each test likes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from simulation.scene import Scene
from simulation.study import Simulated, StudySpec, draw_patient, simulate

SEED = 7
"""Any patient that `draw_patient` accepts has an enhancing lesion of at least 12 mm."""

SMALL: dict[str, Any] = {
    "spacing_mm": (2.5, 2.5, 3.0),
    "flair_spacing_mm": (3.0, 3.0, 3.0),
    "dwi_spacing_mm": (3.0, 3.0, 5.0),
}


@lru_cache(maxsize=1)
def patient() -> tuple[int, Scene]:
    return draw_patient(StudySpec(seed=SEED))


def small_study(folder: Path, **changes: Any) -> Simulated:
    """The patient on grids that are coarse enough for a test."""
    return simulate(folder, StudySpec(seed=SEED, **{**SMALL, **changes}), drawn=patient())


def instances(study: Simulated, role: str) -> list[Dataset]:
    return [dcmread(path) for path in study.files if path.parent.name.endswith(f"_{role}")]
