"""Which series of a study plays which role, and why: rules first, then ranking, from headers alone.

What cannot be decided is held as ambiguous. An odd study raises nothing here; `StudyMatch.require` does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from enhancement.dicom.matching.candidates import Candidate, plan
from enhancement.dicom.matching.certainty import certainty_of
from enhancement.dicom.matching.choices import Choices
from enhancement.dicom.matching.contrast import decide_contrast
from enhancement.dicom.matching.default_rules import DEFAULT_RULES
from enhancement.dicom.matching.diffusion_choice import choose_diffusion
from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.matching.low_dose import with_low_doses
from enhancement.dicom.matching.report import SeriesReport, StudyMatch
from enhancement.dicom.matching.rules import first_exclusion, first_roles, joined
from enhancement.dicom.matching.t1_choice import choose_t1_and_t1c
from enhancement.dicom.reading.headers import text
from enhancement.settings import MatchingSettings, Role, Rule, Rules

_RANKED = (Role.FLAIR, Role.T2, Role.ADC, Role.T1C_VFA, Role.T1C_LOW)
# Below this many series a study says nothing of what its scanner calls derived.
_FEWEST_TO_TELL = 3


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
    choices = Choices({candidate.uid: _plain_reason(candidate) for candidate in candidates})
    pair = choose_t1_and_t1c(candidates, choices)
    for role in _RANKED:
        choices.choose(role, [candidate for candidate in candidates if candidate.role is role])
    choose_diffusion(candidates, choices)
    found = StudyMatch(
        roles={role: choices.roles[role] for role in Role if role in choices.roles},
        missing=(),
        ambiguous=choices.ambiguous,
        decision="",
        series=tuple(_report(candidate, choices.reasons[candidate.uid]) for candidate in candidates),
        holds=choices.holds,
        pair=None if pair is None else certainty_of(pair, candidates, choices.reasons),
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
    _believe_derived(study)
    decide_contrast(study, settings)
    candidates = []
    for facts in study:
        verdict = classify(facts, rules)
        stack, refusal, notes = plan(facts, verdict.role)
        candidates.append(Candidate(facts, verdict.role, verdict.reason, stack, refusal, notes))
    return with_low_doses(_copies_counted(candidates))


def _believe_derived(study: Sequence[SeriesFacts]) -> None:
    """A word that every series of a study has tells nothing: some scanners and exports call all DERIVED."""
    kinds = [text(facts.first, "ImageType").upper() for facts in study if facts.images]
    told = [kind for kind in kinds if kind and "LOCALIZER" not in kind]
    if len(told) >= _FEWEST_TO_TELL and all(kind.startswith("DERIVED") for kind in told):
        for facts in study:
            facts.derived_tells = False


def _copies_counted(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Each with the number of earlier series that are the same acquisition on the same grid.

    Copies share the frame of reference, which no two examinations do: a series of another patient that was merged into
    the study may have the same protocol, grid and even clock. Without a frame of reference nothing passes for a copy.
    """
    by_moment: dict[tuple[object, ...], int] = defaultdict(int)
    counted = []
    for candidate in candidates:
        facts, stack = candidate.facts, candidate.stack
        frame = text(facts.first, "FrameOfReferenceUID")
        if candidate.role is None or facts.moment is None or stack is None or not frame:
            counted.append(candidate)
            continue
        key = (candidate.role, frame, round(facts.moment), facts.sequence, stack.size, stack.origin, stack.spacing_mm)
        counted.append(replace(candidate, copies_before=by_moment[key]))
        by_moment[key] += 1
    return counted


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
    given = {"YES": "with contrast", "CONFLICT": "contrast undecided"}.get(facts.contrast, "without contrast")
    return _Verdict(role, f"{rule.name}; {given} ({facts.contrast_reason})" if of_t1 else rule.name)


def _plain_reason(candidate: Candidate) -> str:
    if candidate.role is not None and candidate.refusal:
        return f"{candidate.reason}; cannot be read, {candidate.refusal}"
    return "; ".join((candidate.reason, *candidate.notes))


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
