"""Whether a series was made with contrast agent in the patient: by name, header and order of acquisition.

========================================================  ======
a mark in the description                                 +-2
the agent in the header, where not every series has it    +2
no agent, where a series of the same sequence has it      -1
acquired after or before the injection                    +-2
acquired after or before the first series with contrast   +-2
marked, and a series of that sequence lies earlier        +1
marked, and one that says "without" lies later            -2
========================================================  ======

Votes that cancel each other are a conflict, and the series is held for a person. An agent on every series was entered
once for the examination: it is believed only where nothing else tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from enhancement.dicom.matching.clock import SAME_MOMENT_S, Moments, moments_of
from enhancement.dicom.matching.doses import says_a_dose
from enhancement.dicom.matching.facts import SeriesFacts, Vote
from enhancement.dicom.matching.injection import injected_at
from enhancement.dicom.matching.marks import contrast_mark
from enhancement.settings import MatchingSettings


def decide_contrast(study: Sequence[SeriesFacts], settings: MatchingSettings) -> None:
    """Set `contrast` of every series to YES, NO, UNKNOWN or CONFLICT, with the votes and the reason in words."""
    marks = _marks(study, settings)
    clock = moments_of(study)
    evidence = _Evidence(study, marks, clock, injected_at(study, clock), _agent_tells(study))
    for facts in study:
        facts.moment = clock.get(id(facts))
        facts.votes = tuple(evidence.own_votes(facts))
    first = evidence.first_with_contrast()
    for facts in study:
        facts.votes += tuple(evidence.votes_of_order(facts, first))
        _conclude(facts)


def _conclude(facts: SeriesFacts) -> None:
    score = sum(vote.weight for vote in facts.votes)
    if not facts.votes:
        facts.contrast = "YES" if facts.has_agent else "UNKNOWN"
        facts.contrast_reason = "contrast agent in the header" if facts.has_agent else "nothing tells of contrast"
        return
    facts.contrast = "YES" if score > 0 else "NO" if score < 0 else "CONFLICT"
    told = [vote for vote in facts.votes if score == 0 or vote.weight * score > 0]
    facts.contrast_reason = (
        ", but ".join(vote.why for vote in told) if score == 0 else "; ".join(vote.why for vote in told)
    )


def _marks(study: Sequence[SeriesFacts], settings: MatchingSettings) -> dict[int, bool | None]:
    """What each description says; the protocol's name where it is silent, unless that is one for the whole study."""
    images = [facts for facts in study if facts.images]
    protocols = {facts.protocol for facts in images}
    shared = len(protocols) == 1 and len({facts.series_description for facts in images}) > 1
    found: dict[int, bool | None] = {}
    for facts in study:
        names = facts.descriptions[:1] if shared else facts.descriptions[:2]
        marks = (contrast_mark(name, settings.contrast_marks, settings.no_contrast_marks) for name in names)
        found[id(facts)] = next((mark for mark in marks if mark is not None), True if says_a_dose(names) else None)
    return found


def _agent_tells(study: Sequence[SeriesFacts]) -> bool:
    """Whether the agent in the header distinguishes series: not where every one of several has it."""
    agents = [facts.has_agent for facts in study if facts.images]
    return any(agents) and not (all(agents) and len(agents) > 1)


@dataclass(frozen=True)
class _Evidence:
    study: Sequence[SeriesFacts]
    marks: dict[int, bool | None]
    clock: Moments
    injected: float | None
    agent_tells: bool

    def own_votes(self, facts: SeriesFacts) -> list[Vote]:
        """Of the series by itself: its name, its agent, and the injection."""
        votes = []
        mark = self.marks[id(facts)]
        if mark is not None:
            votes.append(Vote("mark", 2 if mark else -2, "by its description"))
        if self.agent_tells and facts.has_agent:
            votes.append(Vote("agent", 2, "contrast agent in the header"))
        elif not facts.has_agent and self._twin(facts, lambda twin: twin.has_agent):
            votes.append(Vote("agent", -1, "no contrast agent in the header, which the same sequence has elsewhere"))
        moment = self.clock.get(id(facts))
        if self.injected is not None and moment is not None:
            after = moment >= self.injected
            votes.append(Vote("order", 2 if after else -2, f"acquired {'after' if after else 'before'} the injection"))
        return votes

    def first_with_contrast(self) -> float | None:
        """When the first acquired series began that is with contrast by its name or its agent."""
        certain = [
            self.clock[id(facts)]
            for facts in self.study
            if facts.is_acquired
            and id(facts) in self.clock
            and sum(vote.weight for vote in facts.votes) > 0
            and any(vote.source in ("mark", "agent") and vote.weight > 0 for vote in facts.votes)
        ]
        return min(certain, default=None)

    def votes_of_order(self, facts: SeriesFacts, first: float | None) -> list[Vote]:
        """Of where the series lies among the others."""
        moment = self.clock.get(id(facts))
        if moment is None:
            return []
        if self.marks[id(facts)]:
            return self._votes_of_twins(facts, moment)
        if first is None or abs(moment - first) < SAME_MOMENT_S:
            return []
        if moment > first:
            return [Vote("order", 2, "acquired after a series with contrast")]
        return [Vote("order", -2, "acquired before the first series with contrast")]

    def _votes_of_twins(self, facts: SeriesFacts, moment: float) -> list[Vote]:
        """Whether the order of a sequence's repeats fits to the mark of this one."""
        if self._twin(facts, lambda twin: not self.marks[id(twin)] and self._moment(twin, moment) < moment):
            return [Vote("order", 1, "the same sequence lies earlier without the mark")]
        if self._twin(facts, lambda twin: self.marks[id(twin)] is False and self._moment(twin, moment) > moment):
            return [Vote("order", -2, "the same sequence lies later, and says that it is without contrast")]
        return []

    def _moment(self, facts: SeriesFacts, otherwise: float) -> float:
        return self.clock.get(id(facts), otherwise)

    def _twin(self, facts: SeriesFacts, fits: Callable[[SeriesFacts], bool]) -> bool:
        return any(twin is not facts and fits(twin) and twin.is_twin_of(facts) for twin in self.study if twin.images)
