"""A head of ellipsoids with a known lesion, as a small DICOM study on any grid.

Made analytically, so that truth is exact on every grid and a study takes a second. It tests everything but the look of
anatomy; `scripts/simulate.py` makes plausible patients.

>>> study = write_study(tmp_path, plane="sagittal", tilt_deg=(10, 5, 0), reversed_slices=True)
>>> study.paths, study.study_instance_uid, study.lesion_center_mm
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from simulation.dicom_writer import SeriesPlan, StudyPlan
from simulation.dicom_writer import write_study as write_dicom
from simulation.grids import Grid, Plane, make_grid
from simulation.vendors import Vendor

B_VALUES = (0.0, 1000.0)
SOFTNESS_MM = 0.7

# Nested ellipsoids, outermost first: centre and half axes in mm (L, P, S).
SHAPES: dict[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "scalp": ((0, 0, 0), (80, 100, 95)),
    "skull": ((0, 0, 0), (75, 95, 88)),
    "csf": ((0, 0, 5), (70, 88, 72)),
    "grey": ((0, 0, 5), (68, 86, 70)),
    "white": ((0, 0, 8), (56, 73, 56)),
    "ventricle": ((0, 5, 12), (12, 28, 10)),
}
# Signal of each tissue in each contrast (arbitrary units), and its ADC in mm^2/s.
SIGNAL: dict[str, dict[str, float]] = {
    "T1": {"scalp": 900, "skull": 60, "csf": 150, "grey": 420, "white": 600, "ventricle": 150, "lesion": 400},
    "T1C": {"scalp": 930, "skull": 60, "csf": 155, "grey": 440, "white": 610, "ventricle": 155, "lesion": 1000},
    "FLAIR": {"scalp": 500, "skull": 40, "csf": 80, "grey": 520, "white": 430, "ventricle": 80, "lesion": 800},
    "T2": {"scalp": 500, "skull": 40, "csf": 1400, "grey": 600, "white": 450, "ventricle": 1400, "lesion": 850},
    "DWI": {"scalp": 100, "skull": 20, "csf": 1500, "grey": 620, "white": 520, "ventricle": 1500, "lesion": 800},
}
ADC_MM2_S = {
    "scalp": 1.0e-3, "skull": 0.5e-3, "csf": 3.0e-3, "grey": 0.85e-3, "white": 0.75e-3, "ventricle": 3.0e-3,
    "lesion": 1.2e-3,
}  # fmt: skip


@dataclass(frozen=True)
class PhantomSpec:
    """What to make; every field can be given to `write_study` by name.

    Parameters
    ----------
    roles : tuple of str
        Which series, in the order of acquisition.
    spacing_mm : in plane (x, y), then between slices
        Of T1, T1C, FLAIR and T2; DWI has `dwi_spacing_mm`.
    tilt_deg : about the axes L, P, S
        Of T1C; the other series are tilted by fixed other angles, as each has its own grid.
    grids : mapping of role to Grid
        Instead of the grid that the other fields give.
    noise : float
        SD of Rician noise in the units of SIGNAL.
    moved_mm : shift of the patient (L, P, S) before every series but T1C
    """

    vendor: Vendor = "ge"
    seed: int = 0
    roles: tuple[str, ...] = ("T1", "FLAIR", "DWI", "T1C")
    plane: Plane = "axial"
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 4.0)
    dwi_spacing_mm: tuple[float, float, float] = (2.5, 2.5, 5.0)
    extent_mm: tuple[float, float, float] = (176.0, 216.0, 208.0)
    tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    reversed_slices: bool = False
    grids: Mapping[str, Grid] = field(default_factory=dict)
    noise: float = 0.0
    lesion_center_mm: tuple[float, float, float] = (28.0, -30.0, 30.0)
    lesion_radius_mm: float = 11.0
    moved_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    patient_name: str = "Phantom^Head"
    patient_id: str = "PHANTOM"
    study_salt: str = "phantom"


@dataclass(frozen=True)
class PhantomStudy:
    """What was written, and the truth of it."""

    spec: PhantomSpec
    folder: Path
    paths: list[Path]
    study_instance_uid: str
    series_instance_uids: dict[str, str]
    grids: dict[str, Grid]

    @property
    def lesion_center_mm(self) -> tuple[float, float, float]:
        """In the frame of the T1C."""
        return self.spec.lesion_center_mm

    def paths_of(self, role: str) -> list[Path]:
        """Of one series, in the order of its slices."""
        return [path for path in self.paths if path.parent.name.endswith(f"_{role}")]

    def paths_without(self, left_out: list[Path]) -> list[Path]:
        """Of the study but for these."""
        return [path for path in self.paths if path not in left_out]


def write_study(folder: Path, spec: PhantomSpec | None = None, **changes: Any) -> PhantomStudy:
    """Write the study; `changes` are fields of `PhantomSpec`."""
    spec = replace(spec or PhantomSpec(), **changes)
    plan = study_plan(spec)
    grids = {role: grid_of(spec, role) for role in spec.roles}
    series = [series_plan(spec, role) for role in spec.roles]
    paths = write_dicom(folder, plan, series)
    uids = {role: plan.uid("series", number) for number, role in enumerate(spec.roles, start=1)}
    return PhantomStudy(spec, folder, paths, plan.study_instance_uid, uids, grids)


def study_plan(spec: PhantomSpec) -> StudyPlan:
    return StudyPlan(
        seed=spec.seed,
        vendor=spec.vendor,
        patient_name=spec.patient_name,
        patient_id=spec.patient_id,
        salt=spec.study_salt,
    )


def series_plan(spec: PhantomSpec, role: str) -> SeriesPlan:
    grid = grid_of(spec, role)
    if role == "DWI":
        volumes = tuple(grid.image(signal_zyx(spec, grid, role, b)) for b in B_VALUES)
        return SeriesPlan(role, volumes, B_VALUES, reversed_slices=spec.reversed_slices)
    return SeriesPlan(role, (grid.image(signal_zyx(spec, grid, role)),), reversed_slices=spec.reversed_slices)


def grid_of(spec: PhantomSpec, role: str) -> Grid:
    """Own grid per series: the T1C as asked for, the others tilted and shifted by a few degrees and mm more."""
    if role in spec.grids:
        return spec.grids[role]
    extra = {"T1C": 0.0, "T1": 1.5, "FLAIR": -3.0, "T2": 2.0, "DWI": 4.0, "ADC": 4.0}[role]
    a, b, c = spec.tilt_deg
    return make_grid(
        spec.plane,
        spec.dwi_spacing_mm if role in ("DWI", "ADC") else spec.spacing_mm,
        spec.extent_mm,
        tilt_deg=(a + extra, b, c - extra / 2),
        center_mm=(extra / 3, extra / 2, 0.0),
    )


def signal_zyx(spec: PhantomSpec, grid: Grid, role: str, b_value: float = 0.0) -> NDArray[np.float32]:
    """Signal of one contrast on a grid, tissues mixed at their borders."""
    fractions = fractions_zyx(spec, grid, moved=role != "T1C")
    signal = np.zeros(grid.size[::-1])
    for tissue, fraction in fractions.items():
        decay = np.exp(-b_value * ADC_MM2_S[tissue]) if role == "DWI" else 1.0
        signal += fraction * SIGNAL[role][tissue] * decay
    if spec.noise > 0:
        generator = np.random.default_rng([spec.seed, len(role), round(b_value), ord(role[0])])
        signal = np.hypot(signal + generator.normal(0, spec.noise, signal.shape),
                          generator.normal(0, spec.noise, signal.shape))  # fmt: skip
    return np.asarray(signal, dtype=np.float32)


def fractions_zyx(spec: PhantomSpec, grid: Grid, *, moved: bool = False) -> dict[str, NDArray[np.float64]]:
    """Share of each tissue in each voxel; what is missing to 1 is air."""
    points = grid.points_mm() - (np.array(spec.moved_mm) if moved else 0.0)
    radius = spec.lesion_radius_mm
    shapes = {**SHAPES, "lesion": (spec.lesion_center_mm, (radius, radius, radius))}
    covers = {tissue: _inside(points, *shape) for tissue, shape in shapes.items()}
    fractions: dict[str, NDArray[np.float64]] = {}
    remaining = np.ones(grid.size[::-1])
    for tissue in reversed(list(shapes)):
        fractions[tissue] = remaining * covers[tissue]
        remaining = remaining * (1 - covers[tissue])
    return fractions


def adc_zyx(spec: PhantomSpec, grid: Grid) -> NDArray[np.float64]:
    """True ADC in mm^2/s where one tissue fills the voxel, NaN elsewhere."""
    fractions = fractions_zyx(spec, grid, moved=True)
    adc = np.full(grid.size[::-1], np.nan)
    for tissue, fraction in fractions.items():
        adc[fraction > 0.999] = ADC_MM2_S[tissue]
    return adc


def centroid_mm(image: sitk.Image, mask_zyx: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(3,) LPS centre of a mask on the grid of `image`."""
    index = [float(axis.mean()) for axis in np.nonzero(mask_zyx)][::-1]
    return np.array(image.TransformContinuousIndexToPhysicalPoint(index))


def _inside(
    points: NDArray[np.float64], center: tuple[float, float, float], half_axes: tuple[float, float, float]
) -> NDArray[np.float64]:
    """1 inside an ellipsoid, 0 outside, soft over about a millimetre so that sampling does not move its centre."""
    scaled = (points - np.array(center)) / np.array(half_axes)
    distance = (1 - np.linalg.norm(scaled, axis=-1)) * min(half_axes)
    return np.asarray(1 / (1 + np.exp(-np.clip(distance / SOFTNESS_MM * 2, -30, 30))))
