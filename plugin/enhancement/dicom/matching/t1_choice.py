"""Which series are T1 and T1c: a pair, or a hold where nothing tells which of them has contrast."""

from __future__ import annotations

from collections.abc import Sequence

from enhancement.dicom.matching.candidates import Candidate
from enhancement.dicom.matching.choices import Choices, equal_series
from enhancement.dicom.matching.clock import SAME_MOMENT_S
from enhancement.dicom.matching.pairing import Pair, choose_pair
from enhancement.dicom.matching.report import Hold
from enhancement.settings import Role

_SETTLED_BY = (
    "a mark for contrast in one description (Matching.ContrastMarks), the agent in one header, "
    "or the time of the injection (ContrastBolusStartTime, or the perfusion series) settles it"
)
_CONFLICT = "its evidence on contrast contradicts itself"
_UNKNOWN = "nothing tells which of two like series was made after contrast"


def choose_t1_and_t1c(candidates: Sequence[Candidate], choices: Choices) -> Pair | None:
    """Choose both; the pair that was taken, None where one of them is missing or held."""
    undecided = [candidate for candidate in candidates if candidate.undecided]
    before = [candidate for candidate in candidates if candidate.role is Role.T1 and not candidate.undecided]
    after = [candidate for candidate in candidates if candidate.role is Role.T1C and not candidate.undecided]
    if undecided and not (before and after):
        for role, known in ((Role.T1, before), (Role.T1C, after)):
            if not known:
                choices.hold(role, undecided, Hold(f"CONTRAST_CONFLICT_{role}", _CONFLICT, _SETTLED_BY))
    if not after and not undecided and (alike := _alike_and_unknown(before)):
        for role in (Role.T1, Role.T1C):
            choices.hold(role, alike, Hold(f"CONTRAST_UNKNOWN_{role}", _UNKNOWN, _SETTLED_BY))
        return None
    if not (before and after):
        choices.choose(Role.T1, before)
        choices.choose(Role.T1C, _surest(after, choices))
        return None
    return _pair(before, after, choices)


def _pair(before: Sequence[Candidate], after: Sequence[Candidate], choices: Choices) -> Pair | None:
    choice = choose_pair(before, after)
    for index, role in enumerate((Role.T1, Role.T1C)):
        left = choice.left(index)
        if len(left) == 1:
            choices.take(role, left)
        else:
            choices.hold(role, left, equal_series(role, len(left)))
    choices.lost((*before, *after), choice.lost_by)
    return choice.pairs[0] if len(choice.pairs) == 1 else None


def _surest(after: Sequence[Candidate], choices: Choices) -> list[Candidate]:
    """Without a T1, one of several T1c may be the T1: those are taken that most speaks for."""
    usable = [candidate for candidate in after if candidate.usable] or list(after)
    scores = {candidate.uid: sum(vote.weight for vote in candidate.facts.votes) for candidate in usable}
    best = max(scores.values(), default=0)
    for candidate in usable:
        if scores[candidate.uid] < best:
            choices.say(candidate, "not chosen, another series is better by: evidence of contrast")
    return [candidate for candidate in usable if scores[candidate.uid] == best]


def _alike_and_unknown(before: Sequence[Candidate]) -> list[Candidate]:
    """Series of one sequence and grid at two moments, of which nothing tells contrast.

    A repeat, or before and after.
    """
    silent = [candidate for candidate in before if candidate.facts.contrast == "UNKNOWN" and candidate.usable]
    return [one for one in silent if any(_may_be_before_and_after(one, other) for other in silent if other is not one)]


def _may_be_before_and_after(one: Candidate, other: Candidate) -> bool:
    first, second = one.facts.moment, other.facts.moment
    if first is None or second is None or abs(first - second) < SAME_MOMENT_S:
        return False
    if one.stack is None or other.stack is None:
        return False
    return one.stack.size == other.stack.size and one.facts.is_twin_of(other.facts)
