"""When contrast was injected, as far as a study tells.

By the header, or by a perfusion series that followed the bolus.
"""

from __future__ import annotations

from collections.abc import Sequence

from enhancement.dicom.matching.clock import Moments
from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.matching.words import found_in
from enhancement.dicom.reading.headers import items, seconds_of_day, text

_SUSCEPTIBILITY = r"perf|\bdsc\b|\bpwi\b|\bppi\b|灌注|灌流|관류|перфуз\w*"
_DYNAMIC = r"\bdce\b|\bdynamic|\bdyn\b|perf|permeab\w*|\bk ?trans\b|动态|動態|ダイナミック"
# Words alone are no injection: labelled blood, maps of T1 before the bolus, diffusion without coherence.
_NOT_BOLUS = (
    r"\basl|asl\b|\b(?:p|pc|ps|v|d|t)?casl\b|\bpasl|label|\bivim\b|\bvfa\b|\bflip|\bfa ?\d|\d ?deg\b"
    r"|\bt1 ?-?map|mapping"
    r"|\bbaseline\b|\bpre\b|\btest\b|\bcalib|\bdti|\bdwi|diff|\bbold\b|\bvaso\b|\brcb[vf]\b|\bcb[vf]\b|\bmtt\b|\bttp\b|\btmax\b"
)
_FEWEST_REPEATS = 8
# Echo time of the images of a bolus; that of labelled blood is shorter.
_BOLUS_ECHO_MS = 20.0
_DAY_S = 86400.0


def injected_at(study: Sequence[SeriesFacts], clock: Moments) -> float | None:
    """The moment of the first injection on the scale of `clock`; None where nothing tells it."""
    acquired = [facts for facts in study if facts.is_acquired and id(facts) in clock]
    if not acquired:
        return None
    moments = [clock[id(facts)] for facts in acquired if is_bolus(facts)]
    first, last = min(clock[id(facts)] for facts in acquired), max(clock[id(facts)] for facts in acquired)
    for facts in acquired:
        for seconds in start_times(facts):
            started = _near(seconds, clock[id(facts)])
            # A start before the first or after the last image was written by hand, or by an anonymiser.
            if first < started < last:
                moments.append(started)
    return min(moments, default=None)


def is_bolus(facts: SeriesFacts) -> bool:
    """Whether a series shows a bolus of contrast pass: by its name, and by how it was acquired."""
    described = " ".join(facts.descriptions[:2])
    if not facts.is_acquired or found_in(_NOT_BOLUS, described) or facts.is_labelled or facts.is_diffusion:
        return False
    planar = "EP" in facts.values("ScanningSequence")
    if planar:
        return found_in(_SUSCEPTIBILITY, described) and _echo_ms(facts) >= _BOLUS_ECHO_MS
    return found_in(_DYNAMIC, described) and facts.repeats >= _FEWEST_REPEATS


def _echo_ms(facts: SeriesFacts) -> float:
    """The echo time; where it is not given, that of a bolus."""
    found = facts.values("EchoTime")[:1]
    try:
        return float(found[0]) if found else _BOLUS_ECHO_MS
    except ValueError:
        return _BOLUS_ECHO_MS


def start_times(facts: SeriesFacts) -> list[float]:
    """Seconds of the day at which the header says that contrast was started; 000000 is no time."""
    found = [text(facts.first, "ContrastBolusStartTime")]
    for item in items(facts.first, "ContrastBolusAgentSequence"):
        phases = items(item, "ContrastAdministrationProfileSequence")
        found += [text(phase, "ContrastBolusStartTime") for phase in phases]
    return [seconds for clock in found if (seconds := seconds_of_day(clock))]


def _near(seconds: float, moment: float) -> float:
    """A time of the day on the day that brings it nearest to a moment."""
    started = moment - moment % _DAY_S + seconds
    return min((started - _DAY_S, started, started + _DAY_S), key=lambda at: abs(at - moment))
