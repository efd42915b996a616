"""Which of several series for one role is taken, by stated criteria, and why the others are not.

In order: readable as a whole volume; for T1 gradient echo over spin echo (what the network was made for);
original over derived; 3D over 2D; covers the head; thinner slices; larger coverage; finer in plane; corrected
by the scanner for distortion, for its coils; acquired later, as a repeat replaces what it repeats. Copies of one
acquisition count once. What is equal in all of these is ambiguous. T1 and T1c are chosen as a pair (`pairing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enhancement.dicom.matching.candidates import Candidate
from enhancement.dicom.matching.words import found_in
from enhancement.settings import Role

# An adult brain is about 130 mm high; less is a slab. More than this adds neck, not brain.
HEAD_MM = 120.0


@dataclass(frozen=True)
class Criterion:
    """`score` is higher for the better series; differences up to `tolerance` count as equal."""

    name: str
    score: Callable[[Candidate], float]
    tolerance: float = 0.0


def original(candidate: Candidate) -> float:
    kinds = candidate.facts.image_type
    return 0.0 if kinds[:1] == ("DERIVED",) or "SECONDARY" in kinds[:2] else 1.0


def _gradient_echo(candidate: Candidate) -> float:
    sequence = candidate.facts.values("ScanningSequence")
    return 1.0 if "GR" in sequence or not sequence else 0.0


def _three_d(candidate: Candidate) -> float:
    kind = candidate.facts.values("MRAcquisitionType")
    if kind:
        return 1.0 if kind[0].upper() == "3D" else 0.0
    return 1.0 if candidate.stack and candidate.stack.spacing_mm[2] <= 2.0 else 0.0


def _slice_mm(candidate: Candidate) -> float:
    return -candidate.stack.spacing_mm[2] if candidate.stack else -1e3


def _pixel_mm(candidate: Candidate) -> float:
    return -max(candidate.stack.spacing_mm[:2]) if candidate.stack else -1e3


def _without_agent(candidate: Candidate) -> float:
    return 0.0 if candidate.facts.contrast == "YES" else 1.0


def _plain_diffusion(candidate: Candidate) -> float:
    """Fewer directions first: a clinical trace series over a tensor series of other geometry."""
    return 1.0 if "TRACEW" in candidate.facts.image_type else 0.0


def _clinical_b(candidate: Candidate) -> float:
    """Closeness of the highest b-value to 1000, where the ADC of brain is mono-exponential."""
    highest = max(candidate.facts.b_values, default=0.0)
    return -abs(highest - 1000.0)


def _undistorted(candidate: Candidate) -> float:
    """Siemens stores a series with and without distortion correction, at the same time."""
    kinds = candidate.facts.image_type
    return 1.0 if "DIS3D" in kinds else 0.5 if "DIS2D" in kinds else 0.0


def _normalised(candidate: Candidate) -> float:
    """Corrected for the receive coils by the scanner (Siemens NORM, GE PURE)."""
    described = candidate.facts.series_description.upper()
    if described.startswith("ORIG"):  # GE: as it was before the correction
        return -1.0
    return 1.0 if "NORM" in candidate.facts.image_type or described.startswith(("PU:", "SCIC:", "CLEAR")) else 0.0


def _denoised(candidate: Candidate) -> float:
    """The uniform image of MP2RAGE is noise outside the head, unless the scanner took that out."""
    return float(
        found_in(r"\buni ?den\b|\bden\b", candidate.facts.series_description) or "UNI-DEN" in candidate.facts.image_type
    )


def _not_a_copy(candidate: Candidate) -> float:
    return candidate.copies_before * -1.0


_READABLE = Criterion("readable", lambda candidate: float(candidate.usable))
_COMMON = (
    Criterion("original rather than derived", original),
    Criterion("3D rather than 2D", _three_d),
    Criterion("covering the head", lambda candidate: min(candidate.coverage_mm, HEAD_MM), 10.0),
    Criterion("thinner slices", _slice_mm, 0.05),
    Criterion("larger coverage", lambda candidate: candidate.coverage_mm, 2.0),
    Criterion("finer pixels", _pixel_mm, 0.02),
)
_LATER = Criterion("later repeat", lambda candidate: -1.0 if candidate.facts.moment is None else candidate.facts.moment)
_FIRST_COPY = Criterion("first of equal copies", _not_a_copy)
_CORRECTED = (
    Criterion("corrected for distortion", _undistorted),
    Criterion("corrected for the coils", _normalised),
    Criterion("without the noise of MP2RAGE", _denoised),
)
# A copy of a result that lost every word of ours has the protocol of its source, but no acquisition of its own.
_ACQUIRED = Criterion("acquired, by its clock", lambda candidate: float(candidate.facts.acquired is not None))
_KNOWN = Criterion("known to be without contrast", lambda candidate: float(candidate.facts.contrast == "NO"))
_OF_T1 = (
    _READABLE,
    _KNOWN,
    Criterion("gradient echo", _gradient_echo),
    *_COMMON,
    _ACQUIRED,
    *_CORRECTED,
    _LATER,
    _FIRST_COPY,
)
_OF_OTHERS = (
    _READABLE,
    Criterion("without contrast agent", _without_agent),
    *_COMMON,
    *_CORRECTED,
    _LATER,
    _FIRST_COPY,
)
_OF_DWI = (
    _READABLE,
    Criterion("b-value near 1000", _clinical_b, 250.0),
    Criterion("trace images of the scanner", _plain_diffusion),
    *_COMMON[1:],
    _LATER,
    _FIRST_COPY,
)


def criteria_for(role: Role) -> tuple[Criterion, ...]:
    """The criteria of one role, the weightiest first."""
    if role in (Role.T1, Role.T1C, Role.T1C_LOW):
        return _OF_T1
    return _OF_DWI if role in (Role.DWI, Role.ADC) else _OF_OTHERS


@dataclass(frozen=True)
class Ranking:
    """The winner (None if several are equal), the equals, and for each loser the criterion it lost by."""

    winner: Candidate | None
    equals: tuple[Candidate, ...]
    lost_by: dict[str, str]


def rank(candidates: Sequence[Candidate], role: Role) -> Ranking:
    """Choose among at least one candidate for a role.

    Criteria are applied one after the other to all that are left, so the order of the series cannot matter.
    """
    left = list(candidates)
    lost_by: dict[str, str] = {}
    for criterion in criteria_for(role):
        best = max(criterion.score(candidate) for candidate in left)
        for candidate in left:
            if best - criterion.score(candidate) > criterion.tolerance:
                lost_by[candidate.uid] = criterion.name
        left = [candidate for candidate in left if candidate.uid not in lost_by]
    return Ranking(left[0] if len(left) == 1 else None, tuple(left) if len(left) > 1 else (), lost_by)
