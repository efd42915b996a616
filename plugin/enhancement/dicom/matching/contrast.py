"""Whether a series was made with contrast agent in the patient: by name, by header, by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.matching.words import found_in
from enhancement.dicom.reading.headers import items, seconds_of_day, text
from enhancement.settings import MatchingSettings

_BOLUS = r"perf|\bdsc\b|\bdce\b|\bpwi\b|\bdynamic"
_NOT_BOLUS = r"\basl|asl\b|\bpcasl|\bpasl"


def decide_contrast(study: Sequence[SeriesFacts], settings: MatchingSettings) -> None:
    """Set `contrast` of every series to YES, NO or UNKNOWN.

    A mark in the description wins. Else the time of the injection decides, where the study tells it: from
    the header, from a bolus perfusion series, or from the first series that is certainly after contrast.
    Else the agent in the header decides. Where every series has it, a technologist entered it once for the
    whole examination, and time goes before it.
    """
    marks = {
        id(facts): facts.contrast_in_description(settings.contrast_marks, settings.no_contrast_marks) for facts in study
    }
    # A result of ours names the agent of its source and the hour at which it was computed: it tells no injection.
    acquired = [facts for facts in study if not facts.is_own_output and text(facts.first, "SyntheticData") != "YES"]
    injection = _Injection(_bolus_s(acquired), _first_marked_s(acquired, marks), _agent_tells(acquired))
    for facts in study:
        mark = marks[id(facts)]
        reason = "by its description"
        if mark is None:
            mark, reason = injection.judge(facts)
        facts.contrast = "UNKNOWN" if mark is None else "YES" if mark else "NO"
        facts.contrast_reason = reason


@dataclass(frozen=True)
class _Injection:
    """What a study tells of when contrast was given, in seconds of the day.

    `bolus_s` is the injection itself; `marked_s` the first series that says that it is after contrast, so
    that the injection was then or earlier.
    """

    bolus_s: float | None
    marked_s: float | None
    agent_tells: bool

    def judge(self, facts: SeriesFacts) -> tuple[bool | None, str]:
        """Whether a series whose description is silent was made with contrast, and by what one knows."""
        if facts.acquired_s is not None:
            if self.bolus_s is not None:
                after = facts.acquired_s >= self.bolus_s
                return after, f"acquired {'after' if after else 'before'} the injection"
            if self.marked_s is not None and facts.acquired_s >= self.marked_s:
                return True, "acquired after a series with contrast"
            if self.marked_s is not None and not (facts.has_agent and self.agent_tells):
                return False, "acquired before the first series with contrast"
        # With nothing but the agent to go by it is believed: a T1 that is none would be worse than none.
        return (True, "contrast agent in the header") if facts.has_agent else (None, "nothing tells of contrast")


def _agent_tells(study: Sequence[SeriesFacts]) -> bool:
    """Whether the agent in the header distinguishes series: not where every one of several has it."""
    agents = [facts.has_agent for facts in study if facts.images]
    return any(agents) and not (all(agents) and len(agents) > 1)


def _bolus_s(study: Sequence[SeriesFacts]) -> float | None:
    """When the agent was injected, by the header or by a perfusion series that followed the bolus."""
    moments = []
    for facts in study:
        moments += [seconds for clock in _start_times(facts) if (seconds := seconds_of_day(clock)) is not None]
        if facts.acquired_s is not None and _is_bolus(facts):
            moments.append(facts.acquired_s)
    return min(moments, default=None)


def _is_bolus(facts: SeriesFacts) -> bool:
    """Whether a series is perfusion by a bolus of contrast, not by labelled blood."""
    described = " ".join(facts.descriptions[:2])
    labelled = "ASL" in facts.image_type or found_in(_NOT_BOLUS, described)
    return found_in(_BOLUS, described) and not labelled


def _first_marked_s(study: Sequence[SeriesFacts], marks: dict[int, bool | None]) -> float | None:
    """When the first series was acquired that says that it is after contrast."""
    moments = [facts.acquired_s for facts in study if marks[id(facts)] and facts.acquired_s is not None]
    return min(moments, default=None)


def _start_times(facts: SeriesFacts) -> list[str]:
    found = [text(facts.first, "ContrastBolusStartTime")]
    for item in items(facts.first, "ContrastBolusAgentSequence"):
        phases = items(item, "ContrastAdministrationProfileSequence")
        found += [text(phase, "ContrastBolusStartTime") for phase in phases]
    return [clock for clock in found if clock]
