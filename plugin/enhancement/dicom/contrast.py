"""Whether a series was made with contrast agent in the patient: by name, by header, by time."""

from __future__ import annotations

from collections.abc import Sequence

from enhancement.dicom.facts import SeriesFacts
from enhancement.dicom.headers import items, seconds_of_day, text
from enhancement.dicom.words import found_in
from enhancement.settings import MatchingSettings

_BOLUS = r"perf|\bdsc\b|\bdce\b|\bpwi\b|\bdynamic"
_NOT_BOLUS = r"\basl|asl\b|\bpcasl|\bpasl"


def decide_contrast(study: Sequence[SeriesFacts], settings: MatchingSettings) -> None:
    """Set `contrast` of every series to YES, NO or UNKNOWN.

    A mark in the description wins. Else the time of the injection decides, where the study tells it: from
    the header, from a bolus perfusion series, or from the first series that is certainly after contrast.
    Else the agent in the header decides, unless every T1-like series has it: technologists enter it
    once for the whole examination, and then it says nothing.
    """
    marks = {
        id(facts): facts.contrast_in_description(settings.contrast_marks, settings.no_contrast_marks) for facts in study
    }
    # A result of ours names the agent of its source and the hour at which it was computed: it tells no injection.
    acquired = [facts for facts in study if not facts.is_own_output and text(facts.first, "SyntheticData") != "YES"]
    injected_s = _injection_s(acquired, marks)
    agents = [facts.has_agent for facts in acquired if facts.images]
    agent_tells = any(agents) and not (all(agents) and len(agents) > 1 and injected_s is not None)
    for facts in study:
        mark = marks[id(facts)]
        if mark is None:
            mark = _by_time_or_agent(facts, injected_s, agent_tells)
        facts.contrast = "UNKNOWN" if mark is None else "YES" if mark else "NO"


def _by_time_or_agent(facts: SeriesFacts, injected_s: float | None, agent_tells: bool) -> bool | None:
    if injected_s is not None and facts.acquired_s is not None:
        if facts.acquired_s >= injected_s:
            return True
        return agent_tells and facts.has_agent
    return True if agent_tells and facts.has_agent else None


def _injection_s(study: Sequence[SeriesFacts], marks: dict[int, bool | None]) -> float | None:
    """Earliest moment, in seconds of the day, from which contrast is in the patient; None where nothing tells."""
    moments = []
    for facts in study:
        moments += [seconds for clock in _start_times(facts) if (seconds := seconds_of_day(clock)) is not None]
        if facts.acquired_s is None:
            continue
        bolus = any(found_in(_BOLUS, d) and not found_in(_NOT_BOLUS, d) for d in facts.descriptions[:2])
        if bolus or marks[id(facts)]:
            moments.append(facts.acquired_s)
    return min(moments, default=None)


def _start_times(facts: SeriesFacts) -> list[str]:
    found = [text(facts.first, "ContrastBolusStartTime")]
    for item in items(facts.first, "ContrastBolusAgentSequence"):
        phases = items(item, "ContrastAdministrationProfileSequence")
        found += [text(phase, "ContrastBolusStartTime") for phase in phases]
    return [clock for clock in found if clock]
