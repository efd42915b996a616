"""How sure it is that the T1 is without contrast and the T1c with it, and what would change the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from enhancement.dicom.matching.candidates import Candidate
from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.matching.pairing import Pair, unlike
from enhancement.dicom.matching.report import PairReport
from enhancement.dicom.reading.headers import text
from enhancement.settings import Role

_SOURCES = {
    "mark": "a mark in its description",
    "agent": "the contrast agent in its header",
    "order": "its place before or after the injection",
}


def certainty_of(pair: Pair, candidates: Sequence[Candidate], reasons: Mapping[str, str]) -> PairReport:
    """The report on a pair that was chosen.

    Parameters
    ----------
    pair : T1 and T1c
    candidates : sequence of Candidate
        All of the study: those that lost say what would take a place.
    reasons : mapping of SeriesInstanceUID to str
    """
    t1, t1c = pair[0].facts, pair[1].facts
    for_t1c, against_t1c = _sources(t1c, positive=True), _sources(t1c, positive=False)
    for_t1, against_t1 = _sources(t1, positive=False), _sources(t1, positive=True)
    if against_t1 or against_t1c or not (for_t1 or for_t1c):
        certainty = "weak"
    else:
        certainty = "sure" if len(for_t1 | for_t1c) > 1 and for_t1c else "likely"
    return PairReport(certainty, _evidence(pair), _would_change(pair, candidates, reasons), unlike(pair))


def _sources(facts: SeriesFacts, *, positive: bool) -> set[str]:
    return {vote.source for vote in facts.votes if (vote.weight > 0) == positive}


def _evidence(pair: Pair) -> tuple[str, ...]:
    told = []
    for role, candidate in zip((Role.T1, Role.T1C), pair, strict=True):
        facts = candidate.facts
        told += [f"{role}: {'with' if vote.weight > 0 else 'without'} contrast, {vote.why}" for vote in facts.votes]
        if not facts.votes:
            told.append(f"{role}: {facts.contrast_reason}")
    return tuple(told)


def _would_change(pair: Pair, candidates: Sequence[Candidate], reasons: Mapping[str, str]) -> tuple[str, ...]:
    """What turns the decision over: the evidence that is not there, and the series that came second."""
    told = []
    for role, candidate in zip((Role.T1, Role.T1C), pair, strict=True):
        absent = [
            what for source, what in _SOURCES.items() if source not in {vote.source for vote in candidate.facts.votes}
        ]
        score = abs(sum(vote.weight for vote in candidate.facts.votes))
        if absent and score <= 2:
            told.append(f"{role}: {', '.join(absent)} could contradict what is known (now {score} of 2 needed)")
        runner = [other for other in candidates if other.role is role and other is not candidate and other.usable]
        for other in runner[:3]:
            lost = (
                reasons[other.uid].rpartition("better by: ")[2] if "better by: " in reasons[other.uid] else "evidence"
            )
            told.append(
                f"{role}: without series {_number(candidate)}, series {_number(other)} is next (it lost by: {lost})"
            )
    return tuple(told)


def _number(candidate: Candidate) -> str:
    return text(candidate.facts.first, "SeriesNumber") or candidate.uid
