"""Which diffusion series are used: one with b = 0 and b > 0, else those of one acquisition that hold them together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from enhancement.dicom.matching.candidates import Candidate, serves_alone, serves_together
from enhancement.dicom.matching.choices import Choices
from enhancement.dicom.matching.ranking import rank
from enhancement.dicom.reading.headers import text
from enhancement.dicom.reading.phase_encoding import polarity_of, same_way
from enhancement.settings import Role

# Volumes of one acquisition in series of their own follow each other; a second acquisition comes later.
_ONE_ACQUISITION_S = 1200.0
_CORRECTIONS = ("NORM", "DIS2D", "DIS3D", "ND")


def choose_diffusion(candidates: Sequence[Candidate], choices: Choices) -> None:
    """One series with b = 0 and b > 0 if there is one, else several of one acquisition."""
    all_of_it = [candidate for candidate in candidates if candidate.role is Role.DWI]
    fitting = [candidate for candidate in all_of_it if candidate.usable]
    if alone := [candidate for candidate in fitting if serves_alone(candidate)]:
        choices.choose(Role.DWI, alone)
        chosen = choices.chosen(Role.DWI)
        for candidate in fitting:
            if candidate not in alone and candidate.uid not in chosen:
                choices.say(candidate, "not chosen, another series holds b = 0 and b > 0 together")
        return
    if joined := _joined(all_of_it):
        choices.take(Role.DWI, joined, f"chosen, one acquisition in {len(joined)} series")
    elif pair := _pair(fitting):
        choices.take(Role.DWI, pair, "chosen, b = 0 and b > 0 in two series")
    chosen = choices.chosen(Role.DWI)
    for candidate in fitting:
        if candidate.uid not in chosen:
            why = "another is better" if chosen else "it has no partner with the other b-value, of the same distortion"
            choices.say(candidate, f"not chosen, {why}")


def _joined(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Three or more series of one number and name, volume after volume, as Siemens XA exports them."""
    groups: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if candidate.stack is not None and (number := text(candidate.facts.first, "SeriesNumber")):
            groups[number, candidate.facts.series_description].append(candidate)
    for group in sorted(groups.values(), key=len, reverse=True):
        first = group[0]
        together = tuple(candidate for candidate in group if candidate is first or _same_acquisition(candidate, first))
        if len(together) > 2 and _follow_each_other(together) and serves_together(together):
            return together
    return ()


def _follow_each_other(candidates: Sequence[Candidate]) -> bool:
    moments = [candidate.facts.moment for candidate in candidates if candidate.facts.moment is not None]
    return not moments or max(moments) - min(moments) <= _ONE_ACQUISITION_S


def _pair(fitting: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The best weighted series, and the b = 0 series of the same frame of reference that is most like it."""
    weighted = [candidate for candidate in fitting if max(candidate.facts.b_values, default=0) > 0]
    unweighted = [candidate for candidate in fitting if candidate.facts.b_values == (0.0,)]
    for leader in _ranked(weighted):
        partners = [candidate for candidate in unweighted if _same_acquisition(candidate, leader)]
        # The scanner's own word for the way comes before the names'.
        partners.sort(key=lambda partner: (polarity_of(partner.facts.first) is None, _apart_s(partner, leader)))
        if partners and not _one_of_several_directions(leader, weighted):
            return partners[0], leader
    return ()


def _apart_s(first: Candidate, second: Candidate) -> float:
    moments = first.facts.moment, second.facts.moment
    return 0.0 if moments[0] is None or moments[1] is None else abs(moments[0] - moments[1])


def _one_of_several_directions(leader: Candidate, weighted: Sequence[Candidate]) -> bool:
    """Whether series of the same number and b-value lie beside it.

    Then it is one direction, though it does not say so.
    """
    number = text(leader.facts.first, "SeriesNumber")
    alike = [
        other
        for other in weighted
        if text(other.facts.first, "SeriesNumber") == number
        and other.facts.series_description == leader.facts.series_description
        and other.facts.b_values == leader.facts.b_values
    ]
    return bool(number) and len(alike) > 1


def _ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    left, ordered = list(candidates), []
    while left:
        ranking = rank(left, Role.DWI)
        best = ranking.winner or ranking.equals[0]
        ordered.append(best)
        left.remove(best)
    return ordered


def _same_acquisition(first: Candidate, second: Candidate) -> bool:
    """Same frame of reference, grid, echo, corrections and phase encoding.

    Distorted alike, so their ratio means something.
    """
    a, b = first.facts, second.facts
    if text(a.first, "FrameOfReferenceUID") != text(b.first, "FrameOfReferenceUID"):
        return False
    if a.values("InPlanePhaseEncodingDirection") != b.values("InPlanePhaseEncodingDirection"):
        return False
    if not same_way(a.first, b.first):
        return False
    if any((word in a.image_type) != (word in b.image_type) for word in _CORRECTIONS):
        return False
    same_echo = a.values("EchoTime")[:1] == b.values("EchoTime")[:1]
    return same_echo and bool(first.stack and second.stack and first.stack.same_grid(second.stack))
