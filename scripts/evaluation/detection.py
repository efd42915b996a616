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


@dataclass(frozen=True)
class Afroc:
    """Alternative free response: how likely a lesion's mark outscores the highest false mark of a patient.

    Parameters
    ----------
    area : float
        0.5 for a reader who knows nothing; ties count half, a lesion without mark and a patient without false mark tie.
    interval : (low, high)
        Bootstrap over patients.
    """

    area: float
    interval: tuple[float, float]


def afroc(readings: Sequence[Reading], *, resamples: int = 2000, seed: int = 0) -> Afroc:
    """Area under the curve of lesions found against patients with a false mark (Chakraborty and Winter 1990)."""
    lesions = [_lesion_scores(reading) for reading in readings]
    highest = np.array([_highest_false(reading) for reading in readings])
    # wins[i, j]: over the lesions of patient i, how often they outscore the highest false mark of patient j.
    wins = np.array([((s[:, None] > highest) + 0.5 * (s[:, None] == highest)).sum(axis=0) for s in lesions])
    counts = np.array([len(s) for s in lesions])
    if not counts.sum():
        return Afroc(float("nan"), (float("nan"), float("nan")))
    generator = np.random.default_rng(seed)
    drawn = [np.bincount(generator.integers(0, len(counts), len(counts)), minlength=len(counts))
             for _ in range(resamples)]  # fmt: skip
    areas = [(w @ wins @ w) / ((w @ counts) * len(counts)) for w in drawn if w @ counts]
    low, high = np.quantile(areas, (0.025, 0.975))
    return Afroc(float(wins.sum() / (counts.sum() * len(counts))), (float(low), float(high)))


def sensitivity_interval(
    readings: Sequence[Reading], false_per_case: float, *, resamples: int = 500, seed: int = 0
) -> tuple[float, float]:
    """Interval of the sensitivity at a rate of false marks; whole patients are drawn, the threshold with them."""
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(resamples):
        drawn = [readings[i] for i in generator.integers(0, len(readings), len(readings))]
        if any(reading.lesions for reading in drawn):
            found.append(froc(drawn).sensitivity_at(false_per_case))
    if not found:
        return float("nan"), float("nan")
    low, high = np.nanquantile(found, (0.025, 0.975))
    return float(low), float(high)


def by_kind(readings: Sequence[Reading], *, threshold: float) -> dict[str, tuple[int, int]]:
    """Of each kind of lesion: how many were found, and how many there are."""
    counts: dict[str, tuple[int, int]] = {}
    for reading in readings:
        for lesion, hit in zip(reading.lesions, reading.at(threshold).found, strict=True):
            found, every = counts.get(lesion.kind, (0, 0))
            counts[lesion.kind] = found + int(hit), every + 1
    return dict(sorted(counts.items()))


def _lesion_scores(reading: Reading) -> NDArray[np.float64]:
    """The highest threshold at which each lesion is found; -inf of what never is."""
    scores = np.full(len(reading.lesions), -np.inf)
    for threshold, outcome in zip(reading.thresholds, reading.outcomes, strict=True):
        scores[outcome.found] = threshold
    return scores


def _highest_false(reading: Reading) -> float:
    wrong = [t for t, outcome in zip(reading.thresholds, reading.outcomes, strict=True) if len(outcome.false_sizes_mm)]
    return float(max(wrong, default=-np.inf))


def _found_in(reading: Reading, threshold: float, from_mm: float, below_mm: float) -> NDArray[np.bool_]:
    chosen = (reading.sizes_mm >= from_mm) & (reading.sizes_mm < below_mm)
    return reading.at(threshold).found[chosen]


def _false_in(reading: Reading, threshold: float, from_mm: float, below_mm: float) -> int:
    sizes_mm = reading.at(threshold).false_sizes_mm
    return int(((sizes_mm >= from_mm) & (sizes_mm < below_mm)).sum())


def _mean(rows: NDArray[np.float64]) -> float:
    return float(rows.mean()) if len(rows) else float("nan")
