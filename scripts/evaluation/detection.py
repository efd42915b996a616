"""Lesion detection as the paper counts it: sensitivity, false detections per case, PPV, F1, FROC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation import significance
from evaluation.pairing import Reading

#: The paper's nested sets, and disjoint bins for what is smaller: (name, from mm, below mm).
SIZE_SETS: tuple[tuple[str, float, float], ...] = (
    (">=0 mm", 0, np.inf),
    (">=5 mm", 5, np.inf),
    (">=10 mm", 10, np.inf),
    ("<3 mm", 0, 3),
    ("3-5 mm", 3, 5),
    ("5-10 mm", 5, 10),
)


@dataclass(frozen=True)
class Detectability:
    """One row of the paper's Table 5.

    Parameters
    ----------
    lesions, found, false : int
        Counts over all cases.
    sensitivity, ppv, f1 : float
        NaN where they are not defined.
    sensitivity_ci : (low, high)
        Clopper-Pearson.
    sensitivity_patient_ci : (low, high)
        Bootstrap over patients.
    false_per_case : float
    false_per_case_ci : (low, high)
        Student.
    """

    lesions: int
    found: int
    false: int
    sensitivity: float
    sensitivity_ci: tuple[float, float]
    sensitivity_patient_ci: tuple[float, float]
    false_per_case: float
    false_per_case_ci: tuple[float, float]
    ppv: float
    f1: float


def detectability(
    readings: Sequence[Reading], *, threshold: float, from_mm: float = 0.0, below_mm: float = np.inf
) -> Detectability:
    """Count over a cohort, for lesions of some sizes.

    Lesions are sorted into sizes by their own long axis, false marks by theirs.
    """
    per_case = [_found_in(reading, threshold, from_mm, below_mm) for reading in readings]
    false = np.array([_false_in(reading, threshold, from_mm, below_mm) for reading in readings], dtype=np.float64)
    lesions = sum(len(found) for found in per_case)
    found = int(sum(found.sum() for found in per_case))
    wrong = int(false.sum())
    sensitivity = found / lesions if lesions else float("nan")
    ppv = found / (found + wrong) if found + wrong else float("nan")
    return Detectability(
        lesions=lesions,
        found=found,
        false=wrong,
        sensitivity=sensitivity,
        sensitivity_ci=significance.clopper_pearson(found, lesions),
        sensitivity_patient_ci=significance.patient_bootstrap([row[:, None].astype(float) for row in per_case], _mean),
        false_per_case=float(false.mean()) if len(false) else float("nan"),
        false_per_case_ci=significance.student_interval(false),
        ppv=ppv,
        f1=2 * found / (lesions + found + wrong) if lesions + found + wrong else float("nan"),
    )


@dataclass(frozen=True)
class Comparison:
    """Two images read by the same reader on the same lesions and cases.

    `gained` and `lost` are the discordant lesions: found in the second only, in the first only.
    """

    gained: int
    lost: int
    sensitivity_p: float
    false_p: float


def compare(
    first: Sequence[Reading],
    second: Sequence[Reading],
    *,
    threshold: float,
    from_mm: float = 0.0,
    below_mm: float = np.inf,
) -> Comparison:
    """McNemar mid-p of the sensitivities, Wilcoxon of the false detections per case."""
    a = np.concatenate([_found_in(reading, threshold, from_mm, below_mm) for reading in first] or [np.zeros(0, bool)])
    b = np.concatenate([_found_in(reading, threshold, from_mm, below_mm) for reading in second] or [np.zeros(0, bool)])
    gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
    wrong_a = [_false_in(reading, threshold, from_mm, below_mm) for reading in first]
    wrong_b = [_false_in(reading, threshold, from_mm, below_mm) for reading in second]
    return Comparison(gained, lost, significance.mcnemar_mid_p(lost, gained), significance.wilcoxon(wrong_a, wrong_b))


@dataclass(frozen=True)
class Froc:
    """Sensitivity against false detections per case as the reader's threshold falls."""

    thresholds: list[float] = field(default_factory=list)
    false_per_case: list[float] = field(default_factory=list)
    sensitivity: list[float] = field(default_factory=list)

    def sensitivity_at(self, false_per_case: float) -> float:
        """Best sensitivity at no more than this many false detections per case."""
        allowed = [s for f, s in zip(self.false_per_case, self.sensitivity, strict=True) if f <= false_per_case]
        return max(allowed, default=float("nan"))


def froc(readings: Sequence[Reading]) -> Froc:
    """Free-response curve from a reader that marks nothing over every threshold at which a mark comes in.

    The readings have to come from a reader with a low threshold, or the curve ends early.
    """
    every = np.unique(np.concatenate([r.thresholds for r in readings] or [np.zeros(0)]))[::-1]
    thresholds = np.concatenate([[np.inf], every])
    found, wrong = np.zeros(len(thresholds)), np.zeros(len(thresholds))
    for reading in readings:
        place = np.searchsorted(reading.thresholds, thresholds)
        found += np.array([*(outcome.found.sum() for outcome in reading.outcomes), 0])[place]
        wrong += np.array([*(len(outcome.false_sizes_mm) for outcome in reading.outcomes), 0])[place]
    lesions = max(sum(len(r.lesions) for r in readings), 1)
    return Froc(
        thresholds=thresholds.tolist(),
        false_per_case=(wrong / max(len(readings), 1)).tolist(),
        sensitivity=(found / lesions).tolist(),
    )


def _found_in(reading: Reading, threshold: float, from_mm: float, below_mm: float) -> NDArray[np.bool_]:
    chosen = (reading.sizes_mm >= from_mm) & (reading.sizes_mm < below_mm)
    return reading.at(threshold).found[chosen]


def _false_in(reading: Reading, threshold: float, from_mm: float, below_mm: float) -> int:
    sizes_mm = reading.at(threshold).false_sizes_mm
    return int(((sizes_mm >= from_mm) & (sizes_mm < below_mm)).sum())


def _mean(rows: NDArray[np.float64]) -> float:
    return float(rows.mean()) if len(rows) else float("nan")
