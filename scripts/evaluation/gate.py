"""What the gate catches, misses and wrongly refuses, on simulated studies that went wrong in known ways.

Studies lie on the network's grid, where the gate looks at them: a registration that failed is a series that lies
somewhere else. So nothing is registered here; registration has its own study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask
from enhancement.imaging.atlas import to_image
from enhancement.imaging.gate.checks import Check, check_input
from enhancement.imaging.intensity import brain_statistics
from enhancement.imaging.preparation import NetworkInput
from enhancement.imaging.registration.register import FixedSeries, judge_alignment
from enhancement.recipes.amplification import T1C_PRO
from enhancement.settings import GateSettings
from simulation import cache
from simulation.patient import simulate_patient

FIRST_SEED = 730_000
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Study:
    """Four series on the network's grid, the brain mask that an extractor drew, and where each series has data."""

    t1: Array
    flair: Array
    adc: Array
    t1c: Array
    brain: Mask
    covered: Mask | None = None


@dataclass(frozen=True)
class Judged:
    """A study, what was done to it, and what the gate said."""

    number: int
    failure: str
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> str:
        """The worst of the checks."""
        verdicts = {check.verdict for check in self.checks}
        return next(v for v in ("refused", "warned", "passed") if v in verdicts)

    @property
    def codes(self) -> tuple[str, ...]:
        """Of the checks that did not pass."""
        return tuple(check.code for check in self.checks if check.verdict != "passed")

    def record(self) -> dict[str, Any]:
        """As a line of JSON; NaN becomes null."""
        values = {check.code: check.value if np.isfinite(check.value) else None for check in self.checks}
        head = {"number": self.number, "failure": self.failure, "verdict": self.verdict, "codes": list(self.codes)}
        return head | {"values": values}


@lru_cache(maxsize=2)  # a study is the other patient of the next one
def load(number: int, folder: Path | None = None, first_seed: int = FIRST_SEED) -> Study:
    """Study n: from a cache of simulated patients where there is one, else simulated now."""
    if folder is not None:
        seeds = cache.seeds_in(folder)
        found = cache.read(folder, seeds[number % len(seeds)])
        volumes = {name: np.asarray(found.volumes[cache.CHANNELS.index(name)], np.float32) for name in _NAMES}
        return _study(volumes, np.asarray(found.masks[2]) > 0)
    patient = simulate_patient(first_seed + number)
    return _study({name: getattr(patient, name) for name in _NAMES}, patient.brain_imperfect)


def _study(volumes: Mapping[str, Array], brain: Mask) -> Study:
    return Study(volumes["t1"], volumes["flair"], volumes["adc"], volumes["t1c"], brain)


_NAMES = ("t1", "flair", "adc", "t1c")


def judge(number: int, failure: str, study: Study, limits: GateSettings) -> Judged:
    """Hold a study against the gate."""
    everywhere = np.ones(study.brain.shape, bool)
    volumes = {"T1": study.t1, "FLAIR": study.flair, "ADC": study.adc, "T1C": study.t1c}
    images = {role: to_image(np.ascontiguousarray(array)) for role, array in volumes.items()}
    brain = to_image(study.brain.astype(np.uint8))
    own = sitk.Image(brain)  # the atlas' brain is larger than most: 0.9 mm makes 1.4 litres of its 1.9
    own.SetSpacing([0.9] * 3)
    fixed = FixedSeries(images["T1C"], brain)
    prepared = NetworkInput(
        reference=T1C_PRO.reference,
        inputs_czyx=np.zeros((0,), np.float32),
        brain_zyx=study.brain,
        volumes=images,
        fields={},
        covered=dict.fromkeys(volumes, everywhere if study.covered is None else study.covered),
        statistics={role: brain_statistics(array, study.brain) for role, array in volumes.items()},
        to_series={},
        registrations={role: judge_alignment(fixed, image) for role, image in images.items() if role != "T1C"},
        brain=own,
        missing=(),
    )
    return Judged(number, failure, tuple(check_input(prepared, limits, T1C_PRO.checks)))


def run(
    cases: int,
    *,
    folder: Path | None = None,
    limits: GateSettings | None = None,
    done: frozenset[tuple[int, str]] = frozenset(),
    first_seed: int = FIRST_SEED,
) -> Iterator[Judged]:
    """Judge `cases` good studies and as many failures, kind by kind in turn.

    Parameters
    ----------
    folder : Path, optional
        Cache of simulated patients.
    limits : GateSettings, optional
    done : set of (number, failure)
        Judged in a run before, and left out of this one.
    first_seed : int
        Of the patients, who count up from it, and of what is done to them.
    """
    limits = limits or GateSettings()
    kinds = list(FAILURES)
    for number in range(cases):
        kind = kinds[number % len(kinds)]
        wanted = [failure for failure in ("", kind) if (number, failure) not in done]
        if not wanted:
            continue
        study = load(number, folder, first_seed)
        for failure in wanted:
            if failure:
                rng = np.random.default_rng([first_seed, number])
                other = load((number or cases) - 1, folder, first_seed) if failure in _NEED_ANOTHER else study
                yield judge(number, failure, FAILURES[failure](study, other, rng), limits)
            else:
                yield judge(number, "", study, limits)


def _noisy(array: Array, share: float, study: Study, rng: np.random.Generator) -> Array:
    sigma = share * float(array[study.brain].mean())
    real, imaginary = (rng.normal(0, sigma, array.shape).astype(np.float32) for _ in range(2))
    return np.asarray(np.hypot(array + real, imaginary), np.float32)


def _elsewhere(array: Array, rng: np.random.Generator, degrees: float, mm: float) -> Array:
    axis = rng.normal(size=3)
    transform = sitk.VersorRigid3DTransform()
    image = to_image(array)
    transform.SetCenter(image.TransformContinuousIndexToPhysicalPoint([n / 2 for n in image.GetSize()]))
    transform.SetRotation((axis / np.linalg.norm(axis)).tolist(), float(np.radians(degrees)))
    shift = rng.normal(size=3)
    transform.SetTranslation((shift / np.linalg.norm(shift) * mm).tolist())
    moved = sitk.Resample(image, image, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return np.asarray(sitk.GetArrayFromImage(moved), np.float32)


def _cut(study: Study, rng: np.random.Generator) -> Study:
    covered = np.ones(study.brain.shape, bool)
    covered[int(rng.integers(85, 110)) :] = False
    parts = {name: getattr(study, name) * covered for name in _NAMES}
    return Study(**parts, brain=study.brain & covered, covered=covered)


def _cut_t1(study: Study, rng: np.random.Generator) -> Study:
    covered = np.ones(study.brain.shape, bool)
    covered[: int(rng.integers(45, 60))] = False
    return replace(study, t1=study.t1 * covered, covered=covered)


def _half_brain(study: Study) -> Study:
    brain = study.brain.copy()
    brain[:, :, : brain.shape[2] // 2] = False
    return replace(study, brain=brain)


def _ghosts(array: Array, rng: np.random.Generator) -> Array:
    """As a head that nods: the picture once or twice again along one axis, a fifth to a half as strong."""
    out, axis = array.copy(), int(rng.integers(1, 3))
    for _ in range(int(rng.integers(1, 3))):
        out += float(rng.uniform(0.2, 0.5)) * np.roll(array, int(rng.integers(9, 60)), axis=axis)
    return out


def _clipped(array: Array, study: Study, rng: np.random.Generator) -> Array:
    """Stored in too few numbers: the brightest 0.7 to 5 % are all the same."""
    return np.minimum(array, np.float32(np.quantile(array[study.brain], 1 - rng.uniform(0.007, 0.05))))


Failure = Callable[[Study, Study, np.random.Generator], Study]
#: What can go wrong, by name: (study, another patient's study, random numbers) to the study that went wrong.
FAILURES: dict[str, Failure] = {
    "T1 and T1c swapped": lambda s, _, r: replace(s, t1=s.t1c, t1c=s.t1),
    "T1c is the T1": lambda s, _, r: replace(s, t1c=s.t1.copy()),
    "no contrast given": lambda s, _, r: replace(s, t1c=_noisy(s.t1, 0.03, s, r)),
    "another patient's FLAIR": lambda s, o, r: replace(s, flair=o.flair),
    "another patient's T1": lambda s, o, r: replace(s, t1=o.t1),
    "T1 registered wrongly": lambda s, _, r: replace(s, t1=_elsewhere(s.t1, r, r.uniform(12, 30), r.uniform(10, 40))),
    "T1 a little beside": lambda s, _, r: replace(s, t1=_elsewhere(s.t1, r, r.uniform(3, 6), r.uniform(4, 7))),
    "FLAIR registered wrongly": lambda s, _, r: replace(s, flair=_elsewhere(s.flair, r, 20, r.uniform(10, 40))),
    "ADC registered wrongly": lambda s, _, r: replace(s, adc=_elsewhere(s.adc, r, 20, r.uniform(10, 40))),
    "head cut by the field of view": lambda s, _, r: _cut(s, r),
    "T1 cut by its field of view": lambda s, _, r: _cut_t1(s, r),
    "half of the brain found": lambda s, _, r: _half_brain(s),
    "scalp taken for brain": lambda s, _, r: replace(s, brain=ndimage.binary_dilation(s.brain, iterations=9)),
    "T1c drowned in noise": lambda s, _, r: replace(s, t1c=_noisy(s.t1c, r.uniform(0.25, 0.5), s, r)),
    "T1c with ghosts of motion": lambda s, _, r: replace(s, t1c=_ghosts(s.t1c, r)),
    "T1 with ghosts of motion": lambda s, _, r: replace(s, t1=_ghosts(s.t1, r)),
    "T1c clipped": lambda s, _, r: replace(s, t1c=_clipped(s.t1c, s, r)),
    "FLAIR in place of T1c": lambda s, _, r: replace(s, t1c=s.flair.copy()),
    "subtraction in place of T1c": lambda s, _, r: replace(
        s, t1c=np.asarray(np.abs(s.t1c / s.t1c[s.brain].mean() - s.t1 / s.t1[s.brain].mean()) * 400, np.float32)
    ),
    "atlas registration failed": lambda s, _, r: _all_elsewhere(s, r),
}
_NEED_ANOTHER = frozenset({"another patient's FLAIR", "another patient's T1"})


def _all_elsewhere(study: Study, rng: np.random.Generator) -> Study:
    seed = int(rng.integers(1 << 30))

    def move(array: Array) -> Array:
        return _elsewhere(array, np.random.default_rng(seed), 30.0, 25.0)

    parts = {name: move(getattr(study, name)) for name in _NAMES}
    return _study(parts, move(study.brain.astype(np.float32)) > 0.5)
