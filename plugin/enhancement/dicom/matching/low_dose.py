"""Which series after contrast had only a part of the dose: by name, by the dose in the header, or by two injections.

It is never guessed: one series after contrast, of which nothing tells the dose, is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from enhancement.dicom.matching.candidates import Candidate
from enhancement.dicom.matching.doses import says_low_dose
from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.matching.injection import start_times
from enhancement.dicom.reading.headers import items, number, text
from enhancement.settings import Role

# Of the other series' dose: two halves are 0.5, and 0.025 of 0.1 mmol/kg is 0.25.
_PART = 0.6
_LOW_MMOL_KG = 0.04
_MMOL_ML = {"gadobutrol": 1.0, "gadovist": 1.0, "gadavist": 1.0, "gadoter": 0.5, "dotarem": 0.5, "clariscan": 0.5,
            "prohance": 0.5, "gadoteridol": 0.5, "multihance": 0.5,
            "gadobenate": 0.5, "magnevist": 0.5, "omniscan": 0.5,
            "elucirem": 0.5, "vueway": 0.5, "gadopiclenol": 0.5}  # fmt: skip


def with_low_doses(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, those of a part of the dose with the role T1C_LOW."""
    after = [candidate for candidate in candidates if candidate.role is Role.T1C]
    found = []
    for candidate in candidates:
        why = _why_low(candidate, after) if candidate.role is Role.T1C else ""
        found.append(replace(candidate, role=Role.T1C_LOW, reason=f"{candidate.reason}; {why}") if why else candidate)
    return found


def _why_low(candidate: Candidate, after: Sequence[Candidate]) -> str:
    facts = candidate.facts
    if says_low_dose(facts.descriptions[:2]):
        return "a part of the dose, by its description"
    if (dose := _mmol_kg(facts)) is not None and dose <= _LOW_MMOL_KG:
        return f"a part of the dose, {dose:.3f} mmol/kg by its header"
    for other in after:
        if other is candidate or not _earlier(facts, other.facts):
            continue
        own, others = dose_ml(facts), dose_ml(other.facts)
        if own and others and own <= _PART * others:
            return f"a part of the dose, {own:g} of {others:g} ml by its header"
        if facts.is_twin_of(other.facts) and _injected_between(facts, other.facts):
            return "a part of the dose, a second injection followed it"
    return ""


def _earlier(first: SeriesFacts, second: SeriesFacts) -> bool:
    return first.moment is not None and second.moment is not None and first.moment < second.moment


def dose_ml(facts: SeriesFacts) -> float | None:
    """What the header says was given up to then, in ml of undiluted agent; None where it says nothing."""
    found = [number(facts.first, "ContrastBolusTotalDose"), number(facts.first, "ContrastBolusVolume")]
    for agent in items(facts.first, "ContrastBolusAgentSequence"):
        found += [number(item, "ContrastBolusVolume") for item in items(agent, "ContrastAdministrationProfileSequence")]
    return next((dose for dose in found if dose and dose > 0), None)


def _mmol_kg(facts: SeriesFacts) -> float | None:
    """Dose per body weight, where volume, weight and an agent of known strength are in the header."""
    volume, weight = dose_ml(facts), number(facts.first, "PatientWeight")
    agent = text(facts.first, "ContrastBolusAgent").casefold()
    strength = next((found for name, found in _MMOL_ML.items() if name in agent), None)
    if not volume or not weight or weight < 3 or strength is None:
        return None
    return volume * strength / weight


def _injected_between(first: SeriesFacts, second: SeriesFacts) -> bool:
    """Whether the headers name an injection before the first series and another between the two."""
    earlier, later = start_times(first), start_times(second)
    if not earlier or not later or first.moment is None or second.moment is None:
        return False
    since = (max(later) - min(earlier)) % 86400.0
    return (
        0 < since <= second.moment - first.moment + 3600.0
        and first.moment % 86400.0 <= max(later)
        and max(later) not in earlier
    )
