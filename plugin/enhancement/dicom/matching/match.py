"""Which series of a study plays which role, and why: rules first, then ranking, from headers alone.

What cannot be decided is held as ambiguous. An odd study raises nothing here; `StudyMatch.require` does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from enhancement.dicom.matching.candidates import Candidate, plan, serves_alone
from enhancement.dicom.matching.contrast import decide_contrast
from enhancement.dicom.matching.default_rules import DEFAULT_RULES
from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.matching.ranking import rank
from enhancement.dicom.matching.report import SeriesReport, StudyMatch
from enhancement.dicom.matching.rules import first_exclusion, first_roles, joined
from enhancement.dicom.reading.headers import text
from enhancement.settings import MatchingSettings, Role, Rule, Rules

_RANKED = (Role.T1, Role.T1C, Role.FLAIR, Role.T2, Role.ADC, Role.T1C_VFA)


@dataclass(frozen=True)
class _Verdict:
    """What rules say of one series: a role, none, or (`undecided`) several."""

    role: Role | None
    reason: str
    undecided: tuple[Role, ...] = ()


def match(
    headers: Sequence[Dataset],
    settings: MatchingSettings | None = None,
    *,
    required: Collection[Role] = (Role.T1, Role.T1C),
    wanted: Collection[Role] = (Role.FLAIR, Role.DWI),
) -> StudyMatch:
    """Match the series of one study to roles.

    Parameters
    ----------
    headers : sequence of Dataset
        Headers of all instances of the study, in any order; pixel data are not touched and need not be there.
    settings : MatchingSettings, optional
        Rules; the built-in ones by default.
    required, wanted : collection of Role
        For `missing` and `decision` of the result; every role is matched whatever is asked for. By default what
        amplification takes; `StudyMatch.judged` answers for another use.
    """
    settings = settings or MatchingSettings()
    rules = joined(settings.extra_rules, settings.rules or DEFAULT_RULES)
    study = [SeriesFacts(instances) for instances in _by_series(headers)]
    candidates = _classify(study, rules, settings)
    roles: dict[Role, str | tuple[str, ...]] = {}
    ambiguous: dict[Role, tuple[str, ...]] = {}
    reasons = {candidate.uid: _plain_reason(candidate) for candidate in candidates}
    for role in _RANKED:
        _choose(role, candidates, roles, ambiguous, reasons)
    _choose_diffusion(candidates, roles, ambiguous, reasons)
    found = StudyMatch(
        roles={role: roles[role] for role in Role if role in roles},
        missing=(),
        ambiguous=ambiguous,
        decision="",
        series=tuple(_report(candidate, reasons[candidate.uid]) for candidate in candidates),
    )
    return found.judged(required, wanted)


def _by_series(headers: Iterable[Dataset]) -> list[list[Dataset]]:
    """Instances by series; series in the order of their numbers, so that the order of arrival cannot matter."""
    found: dict[str, list[Dataset]] = {}
    for ds in headers:
        found.setdefault(text(ds, "SeriesInstanceUID"), []).append(ds)
    for instances in found.values():
        instances.sort(key=lambda ds: text(ds, "SOPInstanceUID"))
    return [found[uid] for uid in sorted(found, key=lambda uid: (_series_number(found[uid][0]), uid))]


def _series_number(ds: Dataset) -> int:
    number = text(ds, "SeriesNumber")
    return int(number) if number.isdecimal() else 1 << 31


def _classify(study: Sequence[SeriesFacts], rules: Rules, settings: MatchingSettings) -> list[Candidate]:
    decide_contrast(study, settings)
    candidates = []
    for facts in study:
        verdict = classify(facts, rules)
        stack, refusal = plan(facts, verdict.role)
        candidates.append(Candidate(facts, verdict.role, verdict.reason, stack, refusal))
    return candidates


def classify(facts: SeriesFacts, rules: Rules) -> _Verdict:
    """What the rules say of one series: its texts one after the other, then physics alone."""
    if not facts.images:
        return _Verdict(None, "not an MR image")
    for description in facts.descriptions or ("",):
        if (excluded := first_exclusion(rules, facts, description)) is not None:
            return _Verdict(None, f"none of ours: {excluded.name}")
        if found := first_roles(rules, facts, description, descriptive=True):
            return _verdict(facts, found)
    if found := first_roles(rules, facts, "", descriptive=False):
        return _verdict(facts, found)
    return _Verdict(None, "no rule fits")


def _verdict(facts: SeriesFacts, found: Sequence[tuple[Role, Rule]]) -> _Verdict:
    """The first role in the order of the rules; of a T1 also what tells of contrast."""
    role, rule = found[0]
    of_t1 = role in (Role.T1, Role.T1C, Role.T1C_VFA)
    given = "with" if facts.contrast == "YES" else "without"
    return _Verdict(role, f"{rule.name}; {given} contrast ({facts.contrast_reason})" if of_t1 else rule.name)


def _plain_reason(candidate: Candidate) -> str:
    if candidate.role is not None and candidate.refusal:
        return f"{candidate.reason}; cannot be read, {candidate.refusal}"
    return candidate.reason


def _choose(
    role: Role,
    candidates: Sequence[Candidate],
    roles: dict[Role, str | tuple[str, ...]],
    ambiguous: dict[Role, tuple[str, ...]],
    reasons: dict[str, str],
) -> None:
    """Rank the candidates of a role and write down who won, who lost and by what."""
    fitting = [candidate for candidate in candidates if candidate.role is role]
    usable = [candidate for candidate in fitting if candidate.usable]
    if not fitting:
        return
    # A role whose only series is broken is still played by it: reading it gives the refusal that says what is wrong.
    ranking = rank(usable or fitting, role)
    if ranking.winner is not None:
        roles[role] = ranking.winner.uid
        reasons[ranking.winner.uid] = f"chosen: {reasons[ranking.winner.uid]}"
    for equal in ranking.equals:
        reasons[equal.uid] += f"; held, nothing ranks it against {len(ranking.equals) - 1} other series"
    if ranking.equals:
        ambiguous[role] = tuple(equal.uid for equal in ranking.equals)
    for uid, criterion in ranking.lost_by.items():
        reasons[uid] += f"; not chosen, another series is better by: {criterion}"


def _choose_diffusion(
    candidates: Sequence[Candidate],
    roles: dict[Role, str | tuple[str, ...]],
    ambiguous: dict[Role, tuple[str, ...]],
    reasons: dict[str, str],
) -> None:
    """One series with b = 0 and b > 0 if there is one, else the two of one acquisition that hold them."""
    fitting = [candidate for candidate in candidates if candidate.role is Role.DWI and candidate.usable]
    alone = [candidate for candidate in fitting if serves_alone(candidate)]
    if alone:
        _choose(Role.DWI, alone, roles, ambiguous, reasons)
        chosen = set(roles.get(Role.DWI, "") if isinstance(roles.get(Role.DWI), tuple) else (roles.get(Role.DWI),))
        for candidate in fitting:
            if candidate not in alone and candidate.uid not in chosen:
                reasons[candidate.uid] += "; not chosen, another series holds b = 0 and b > 0 together"
        return
    pair = _diffusion_pair(fitting)
    if pair:
        roles[Role.DWI] = tuple(candidate.uid for candidate in pair)
        for candidate in pair:
            reasons[candidate.uid] = f"chosen, b = 0 and b > 0 in two series: {reasons[candidate.uid]}"
        return
    for candidate in fitting:
        reasons[candidate.uid] += "; not chosen, it has no partner with the other b-value"


def _diffusion_pair(fitting: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The best weighted series, and the b = 0 series of the same frame of reference that is most like it."""
    weighted = [candidate for candidate in fitting if max(candidate.facts.b_values, default=0) > 0]
    unweighted = [candidate for candidate in fitting if candidate.facts.b_values == (0.0,)]
    for leader in _ranked(weighted):
        partners = [candidate for candidate in unweighted if _same_acquisition(candidate, leader)]
        if partners:
            return partners[0], leader
    return ()


def _ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    left, ordered = list(candidates), []
    while left:
        ranking = rank(left, Role.DWI)
        best = ranking.winner or ranking.equals[0]
        ordered.append(best)
        left.remove(best)
    return ordered


def _same_acquisition(first: Candidate, second: Candidate) -> bool:
    """Same frame of reference, same grid, same phase encoding: distorted alike, so their ratio means something."""
    a, b = first.facts, second.facts
    if text(a.first, "FrameOfReferenceUID") != text(b.first, "FrameOfReferenceUID"):
        return False
    if a.values("InPlanePhaseEncodingDirection") != b.values("InPlanePhaseEncodingDirection"):
        return False
    same_echo = a.values("EchoTime")[:1] == b.values("EchoTime")[:1]
    return same_echo and bool(first.stack and second.stack and first.stack.same_grid(second.stack))


def _report(candidate: Candidate, reason: str) -> SeriesReport:
    stack = candidate.stack
    return SeriesReport(
        series_instance_uid=candidate.uid,
        series_description=candidate.facts.series_description,
        role=candidate.role,
        reason=reason,
        b_values=candidate.facts.b_values,
        frames=candidate.facts.frame_count,
        spacing_mm=stack.spacing_mm if stack else (),
        size=stack.size if stack else (),
        usable=candidate.usable,
    )
