"""T1 and T1c are chosen as a pair: two like ones show contrast, the two best ones may show two sequences.

In order: readable; the T1 known to be without contrast; original rather than derived; covering the head; then likeness
(sequence, plane, matrix, field of view); then what ranks a T1 alone, summed over both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from enhancement.dicom.matching.candidates import Candidate
from enhancement.dicom.matching.ranking import HEAD_MM, criteria_for, original
from enhancement.settings import Role

Pair = tuple[Candidate, Candidate]
_SAME_PIXELS = 0.05
_SAME_VIEW = 0.10
_SAME_PLANE = 0.9  # cosine between the normals
# Pairs are products: a study of hundreds of T1 series is thinned out by what ranks each alone.
_MOST_OF_A_ROLE = 24


@dataclass(frozen=True)
class PairChoice:
    """The pairs that are left, and for each series that is in none of them the criterion it lost by."""

    pairs: tuple[Pair, ...]
    lost_by: dict[str, str] = field(default_factory=dict)

    def left(self, index: int) -> tuple[Candidate, ...]:
        """The T1 (0) or T1c (1) series that are left."""
        return tuple(dict.fromkeys(pair[index] for pair in self.pairs))


def choose_pair(before: Sequence[Candidate], after: Sequence[Candidate]) -> PairChoice:
    """The best pairs of a T1 and a T1c; more than one where nothing ranks them.

    Parameters
    ----------
    before, after : sequence of Candidate
        At least one each.
    """
    pairs: list[Pair] = list(product(_thinned(before), _thinned(after)))
    lost_by: dict[str, str] = {}
    for name, score, tolerance in _CRITERIA:
        scores = [score(pair) for pair in pairs]
        best = max(scores)
        pairs = [pair for pair, found in zip(pairs, scores, strict=True) if best - found <= tolerance]
        left = {candidate.uid for pair in pairs for candidate in pair}
        for candidate in (*before, *after):
            if candidate.uid not in left:
                lost_by.setdefault(candidate.uid, name)
        if len(pairs) == 1:
            break
    return PairChoice(tuple(pairs), lost_by)


def _thinned(candidates: Sequence[Candidate]) -> list[Candidate]:
    usable = [candidate for candidate in candidates if candidate.usable]
    return list(usable or candidates)[:_MOST_OF_A_ROLE]


def likeness(pair: Pair) -> tuple[float, float, float, float]:
    """How alike two series are: sequence (0 to 3), plane, matrix and field of view (0 or 1)."""
    return _sequence(pair), _plane(pair), _matrix(pair), _view(pair)


def unlike(pair: Pair) -> tuple[str, ...]:
    """In what two series differ, in words; () for a like pair."""
    sequence, plane, matrix, view = likeness(pair)
    told = (("sequence", sequence >= 2), ("plane", plane > 0), ("matrix", matrix > 0), ("field of view", view > 0))
    return tuple(name for name, same in told if not same)


def _sequence(pair: Pair) -> float:
    first, second = (candidate.facts for candidate in pair)
    if first.is_twin_of(second):
        return 3.0
    if first.sequence[0] == second.sequence[0]:
        return 2.0
    return float(("GR" in first.sequence[0]) == ("GR" in second.sequence[0]))


def _plane(pair: Pair) -> float:
    first, second = (candidate.stack for candidate in pair)
    if first is None or second is None:
        return 0.0
    normals = (np.asarray(stack.direction).reshape(3, 3)[:, 2] for stack in (first, second))
    return float(abs(float(np.dot(*normals))) >= _SAME_PLANE)


def _matrix(pair: Pair) -> float:
    first, second = (candidate.stack for candidate in pair)
    if first is None or second is None:
        return 0.0
    same = first.size[:2] == second.size[:2]
    return float(same and bool(np.allclose(first.spacing_mm[:2], second.spacing_mm[:2], rtol=_SAME_PIXELS)))


def _view(pair: Pair) -> float:
    first, second = (candidate.stack for candidate in pair)
    if first is None or second is None:
        return 0.0
    views = [np.multiply(stack.size, stack.spacing_mm) for stack in (first, second)]
    return float(bool(np.allclose(views[0], views[1], rtol=_SAME_VIEW)))


def _both(score: Callable[[Candidate], float]) -> Callable[[Pair], float]:
    return lambda pair: score(pair[0]) + score(pair[1])


def _without_contrast(pair: Pair) -> float:
    return float(pair[0].facts.contrast == "NO")


def _in_order(pair: Pair) -> float:
    """Contrast is given after the T1; 1 also where no clock tells."""
    moments = [candidate.facts.moment for candidate in pair]
    return float(moments[0] is None or moments[1] is None or moments[0] <= moments[1])


_CRITERIA: tuple[tuple[str, Callable[[Pair], float], float], ...] = (
    ("readable", _both(lambda candidate: float(candidate.usable)), 0.0),
    ("known to be without contrast", _without_contrast, 0.0),
    ("T1 before T1c", _in_order, 0.0),
    ("original rather than derived", _both(original), 0.0),
    ("covering the head", lambda pair: min(*(candidate.coverage_mm for candidate in pair), HEAD_MM), 10.0),
    ("a pair of one sequence", _sequence, 0.0),
    ("a pair of one plane", _plane, 0.0),
    ("a pair of one matrix", _matrix, 0.0),
    ("a pair of one field of view", _view, 0.0),
    *((criterion.name, _both(criterion.score), criterion.tolerance) for criterion in criteria_for(Role.T1)),
)
