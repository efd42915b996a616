"""Lesion detection by the paper's rules: pairing, sensitivity, false detections per case, PPV, F1, FROC.

A mark and a reference lesion pair when their centres are closer than half the mean of the two axes. The paper
does not say of which of the two; here it is the larger, for the reader's diameters come in steps. Pairs are
made closest first, each mark and each lesion once. A further mark that lies within a reference lesion, which need not
be a ball, is neither found nor false: a person marks a lesion once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evaluation import significance
from evaluation.reader import Detection
from evaluation.regions import Mask, Spacing, dilate

#: The paper's nested sets, and disjoint bins for the small ones: (name, from mm, below mm).
SIZE_SETS: tuple[tuple[str, float, float], ...] = (
    (">=0 mm", 0, np.inf),
    (">=5 mm", 5, np.inf),
    (">=10 mm", 10, np.inf),
    ("<3 mm", 0, 3),
    ("3-5 mm", 3, 5),
    ("5-10 mm", 5, 10),
    (">10 mm", 10, np.inf),
)
_BESIDE_MM = 1.0  # a mark this near to a lesion is within it


@dataclass(frozen=True)
class Lesion:
    """A reference lesion: centre (z, y, x) and its long and short axis, mm."""

    centre_mm: tuple[float, float, float]
    long_mm: float
    short_mm: float


@dataclass(frozen=True)
class Reading:
    """One case as read: what was found, and what was marked wrongly.

    Parameters
    ----------
    sizes_mm : (lesions,)
        Long axis of each reference lesion.
    scores : (lesions,)
        Score of the mark paired with it; -inf where it was missed.
    false_scores, false_sizes_mm : (false marks,)
    """

    sizes_mm: NDArray[np.float64]
    scores: NDArray[np.float64]
    false_scores: NDArray[np.float64]
    false_sizes_mm: NDArray[np.float64]

    def found(self, at_least: float) -> NDArray[np.bool_]:
        return self.scores >= at_least


def pair(
    marks: Sequence[Detection],
    lesions: Sequence[Lesion],
    *,
    tissue: Mask | None = None,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
) -> Reading:
    """Pair a reader's marks with the reference lesions of a case.

    Parameters
    ----------
    marks, lesions : sequences
    tissue : (z, y, x), optional
        What enhances of the lesions. A mark on it, or within 1 mm of it, is within a lesion: the rim of a glioma and a
        sheet of dura reach beyond the ball about their centre.
    spacing_zyx_mm : (z, y, x)
        Of `tissue`.

    Examples
    --------
    >>> lesions = [Lesion((0, 0, 0), 8, 6)]
    >>> close, far = Detection((0, 0, 3), 5, 0.4), Detection((0, 0, 9), 5, 0.3)
    >>> reading = pair([close, far], lesions)
    >>> reading.scores.tolist(), reading.false_scores.tolist()
    ([0.4], [0.3])
    """
    candidates = []
    for m, mark in enumerate(marks):
        for n, lesion in enumerate(lesions):
            distance = _distance(mark, lesion)
            if distance < _reach(mark, lesion):
                candidates.append((distance, m, n))
    scores = np.full(len(lesions), -np.inf)
    used: set[int] = set()
    for _, m, n in sorted(candidates):
        if m not in used and np.isneginf(scores[n]):
            scores[n] = marks[m].score
            used.add(m)
    near = None if tissue is None else dilate(tissue, _BESIDE_MM, spacing_zyx_mm)
    wrong = [
        mark
        for m, mark in enumerate(marks)
        if m not in used
        and not any(_distance(mark, lesion) < lesion.long_mm / 2 + _BESIDE_MM for lesion in lesions)
        and not (near is not None and _lies_on(mark, near, spacing_zyx_mm))
    ]
    return Reading(
        sizes_mm=np.array([lesion.long_mm for lesion in lesions], dtype=np.float64),
        scores=scores,
        false_scores=np.array([mark.score for mark in wrong], dtype=np.float64),
        false_sizes_mm=np.array([mark.diameter_mm for mark in wrong], dtype=np.float64),
    )


def _lies_on(mark: Detection, mask: Mask, spacing_zyx_mm: Spacing) -> bool:
    place = (round(at / step) for at, step in zip(mark.centre_mm, spacing_zyx_mm, strict=True))
    return bool(mask[tuple(min(max(i, 0), n - 1) for i, n in zip(place, mask.shape, strict=True))])


def _distance(mark: Detection, lesion: Lesion) -> float:
    return float(np.linalg.norm(np.subtract(mark.centre_mm, lesion.centre_mm)))


def _reach(mark: Detection, lesion: Lesion) -> float:
    return 0.5 * max((lesion.long_mm + lesion.short_mm) / 2, mark.diameter_mm)


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
        """Best sensitivity at no more than this many false detections per case; NaN without a point."""
        allowed = [s for f, s in zip(self.false_per_case, self.sensitivity, strict=True) if f <= false_per_case]
        return max(allowed, default=float("nan"))


def froc(readings: Sequence[Reading], *, points: int = 200) -> Froc:
    """Free-response curve over every threshold at which the reader's marks are known.

    The readings have to come from a reader with a low threshold, or the curve ends early.
    """
    every = np.concatenate([np.concatenate([r.scores, r.false_scores]) for r in readings] or [np.zeros(0)])
    every = np.unique(every[np.isfinite(every)])[::-1]
    if len(every) > points:
        every = every[np.linspace(0, len(every) - 1, points).round().astype(int)]
    scores = np.concatenate([r.scores for r in readings]) if readings else np.zeros(0)
    wrong = np.concatenate([r.false_scores for r in readings]) if readings else np.zeros(0)
    lesions = max(len(scores), 1)
    return Froc(
        thresholds=[float(t) for t in every],
        false_per_case=[float((wrong >= t).sum() / len(readings)) for t in every],
        sensitivity=[float((scores >= t).sum() / lesions) for t in every],
    )


def _found_in(reading: Reading, threshold: float, from_mm: float, below_mm: float) -> NDArray[np.bool_]:
    chosen = (reading.sizes_mm >= from_mm) & (reading.sizes_mm < below_mm)
    return reading.found(threshold)[chosen]


def _false_in(reading: Reading, threshold: float, from_mm: float, below_mm: float) -> int:
    chosen = (reading.false_sizes_mm >= from_mm) & (reading.false_sizes_mm < below_mm)
    return int((reading.false_scores[chosen] >= threshold).sum())


def _mean(rows: NDArray[np.float64]) -> float:
    return float(rows.mean()) if len(rows) else float("nan")
