"""What a reader's marks are worth: paired with the reference lesions of a case, at any threshold.

A mark and a reference lesion pair when their centres are closer than half the mean of the two axes. The paper
does not say of which of the two; here it is the larger, for the reader's diameters come in steps. Pairs are
made closest first, each mark and each lesion once. A further mark that lies within a reference lesion, which need not
be a ball, is neither found nor false: a person marks a lesion once.

A case is read once, down to a low threshold. What a reader with a higher one would have marked follows from that: of
the marks from the threshold on, those that touch are joined, and what is left is paired. So a mark that this reader
would not make neither joins another nor takes a lesion from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Mask
from evaluation.reader import Detection, suppress
from evaluation.regions import Spacing, dilate

_BESIDE_MM = 1.0  # a mark this near to a lesion is within it


@dataclass(frozen=True)
class Lesion:
    """A reference lesion: centre (z, y, x) and its long and short axis, mm; its kind where that is known."""

    centre_mm: tuple[float, float, float]
    long_mm: float
    short_mm: float
    kind: str = ""


@dataclass(frozen=True)
class Outcome:
    """A reading at one threshold: which lesions were found (lesions,), and the sizes of the false marks, mm."""

    found: NDArray[np.bool_]
    false_sizes_mm: NDArray[np.float64]


@dataclass(frozen=True)
class Reading:
    """One case as read.

    Parameters
    ----------
    lesions : tuple of Lesion
    marks : tuple of Detection
        Down to the reader's low threshold; touching ones not joined yet.
    within : tuple of bool
        Whether a mark lies within a lesion, so that it is not false even if it finds none.
    """

    lesions: tuple[Lesion, ...] = ()
    marks: tuple[Detection, ...] = ()
    within: tuple[bool, ...] = ()

    @property
    def sizes_mm(self) -> NDArray[np.float64]:
        """Long axis of each lesion."""
        return np.array([lesion.long_mm for lesion in self.lesions], dtype=np.float64)

    @cached_property
    def thresholds(self) -> NDArray[np.float64]:
        """Every score, ascending: between two of them nothing changes."""
        return np.unique([mark.score for mark in self.marks])

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The outcome at each of `thresholds`."""
        return tuple(self._outcome(threshold) for threshold in self.thresholds)

    def at(self, threshold: float) -> Outcome:
        """What a reader with this threshold would have found.

        Examples
        --------
        >>> lesion = Lesion((0, 0, 0), 8, 6)
        >>> close, far = Detection((0, 0, 3), 5, 0.4), Detection((0, 0, 9), 5, 0.3)
        >>> outcome = read_case([close, far], [lesion]).at(0.2)
        >>> outcome.found.tolist(), outcome.false_sizes_mm.tolist()
        ([True], [5.0])
        """
        place = int(np.searchsorted(self.thresholds, threshold))
        if place == len(self.thresholds):
            return Outcome(np.zeros(len(self.lesions), dtype=bool), np.zeros(0))
        return self.outcomes[place]

    def kept(self, threshold: float) -> list[int]:
        """Places of the marks that a reader with this threshold would have made."""
        chosen = [m for m, mark in enumerate(self.marks) if mark.score >= threshold]
        return [chosen[i] for i in suppress([self.marks[m] for m in chosen])]

    def _outcome(self, threshold: float) -> Outcome:
        kept = self.kept(threshold)
        found, used = _pair([self.marks[m] for m in kept], self.lesions)
        wrong = [self.marks[m].diameter_mm for i, m in enumerate(kept) if i not in used and not self.within[m]]
        return Outcome(found, np.array(wrong, dtype=np.float64))


def read_case(
    marks: Sequence[Detection],
    lesions: Sequence[Lesion],
    *,
    tissue: Mask | None = None,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
) -> Reading:
    """Hold a reader's marks against the reference lesions of a case.

    Parameters
    ----------
    marks, lesions : sequences
    tissue : (z, y, x), optional
        What enhances of the lesions. A mark on it, or within 1 mm of it, is within a lesion: the rim of a glioma and a
        sheet of dura reach beyond the ball about their centre.
    spacing_zyx_mm : (z, y, x)
        Of `tissue`.
    """
    near = None if tissue is None else dilate(tissue, _BESIDE_MM, spacing_zyx_mm)
    within = tuple(
        any(_distance(mark, lesion) < lesion.long_mm / 2 + _BESIDE_MM for lesion in lesions)
        or (near is not None and _lies_on(mark, near, spacing_zyx_mm))
        for mark in marks
    )
    return Reading(tuple(lesions), tuple(marks), within)


def pairs_with(mark: Detection, lesion: Lesion) -> bool:
    """Whether the mark is near enough to find the lesion."""
    return _distance(mark, lesion) < _reach(mark, lesion)


def _pair(marks: Sequence[Detection], lesions: Sequence[Lesion]) -> tuple[NDArray[np.bool_], set[int]]:
    """Which lesions were found, and the places of the marks that found them."""
    candidates = [
        (_distance(mark, lesion), m, n)
        for m, mark in enumerate(marks)
        for n, lesion in enumerate(lesions)
        if pairs_with(mark, lesion)
    ]
    found = np.zeros(len(lesions), dtype=bool)
    used: set[int] = set()
    for _, m, n in sorted(candidates):
        if m not in used and not found[n]:
            found[n] = True
            used.add(m)
    return found, used


def _lies_on(mark: Detection, mask: Mask, spacing_zyx_mm: Spacing) -> bool:
    place = (round(at / step) for at, step in zip(mark.centre_mm, spacing_zyx_mm, strict=True))
    return bool(mask[tuple(min(max(i, 0), n - 1) for i, n in zip(place, mask.shape, strict=True))])


def _distance(mark: Detection, lesion: Lesion) -> float:
    return math.dist(mark.centre_mm, lesion.centre_mm)


def _reach(mark: Detection, lesion: Lesion) -> float:
    return 0.5 * max((lesion.long_mm + lesion.short_mm) / 2, mark.diameter_mm)
