"""Evaluating rules that are data. Nothing in a rule file can run code."""

from __future__ import annotations

from collections.abc import Sequence

from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.matching.words import found_in
from enhancement.settings import Condition, Role, Rule, Rules

DESCRIPTION = "Description"


def fits(rule: Rule, facts: SeriesFacts, description: str) -> bool:
    """Whether every condition of the rule holds, and none of its exclusions."""
    return all(holds(condition, facts, description) for condition in rule.all) and not any(
        holds(condition, facts, description) for condition in rule.none
    )


def holds(condition: Condition, facts: SeriesFacts, description: str) -> bool:
    """Whether one condition holds; what is absent satisfies nothing but Absent."""
    values = (
        ((description,) if description else ()) if condition.keyword == DESCRIPTION else facts.values(condition.keyword)
    )
    if condition.present:
        return bool(values)
    if condition.absent:
        return not values
    if condition.matches is not None:
        return any(found_in(condition.matches, value) for value in ("\\".join(values), *values) if value)
    if condition.equals is not None:
        return any(_same(value, condition.equals) for value in values)
    if condition.any_of is not None:
        return any(_same(value, wanted) for value in values for wanted in condition.any_of)
    return any(_within(value, condition) for value in values)


def _number(value: str | float) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _same(value: str, wanted: str | float) -> bool:
    if isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    found = _number(value)
    return found is not None and abs(found - wanted) <= 1e-6 * max(1.0, abs(wanted))


def _within(value: str, condition: Condition) -> bool:
    found = _number(value)
    if found is None:
        return False
    if condition.at_least is not None:
        return found >= condition.at_least
    return condition.at_most is not None and found <= condition.at_most


def is_descriptive(rule: Rule) -> bool:
    """Whether a rule reads the description; such rules are tried before those of physics alone."""
    return any(condition.keyword in (DESCRIPTION, "SeriesDescription", "ProtocolName") for condition in rule.all)


def first_exclusion(rules: Rules, facts: SeriesFacts, description: str) -> Rule | None:
    """The first rule that says that the series is none of ours."""
    return next((rule for rule in rules.exclude if fits(rule, facts, description)), None)


def first_roles(rules: Rules, facts: SeriesFacts, description: str, *, descriptive: bool) -> list[tuple[Role, Rule]]:
    """Per role the first rule that fits, of the descriptive rules or of the others."""
    found = []
    for role, candidates in rules.roles.items():
        rule = next((r for r in candidates if is_descriptive(r) == descriptive and fits(r, facts, description)), None)
        if rule is not None:
            found.append((role, rule))
    return found


def joined(first: Rules, second: Rules) -> Rules:
    """The rules of `first` before those of `second`."""
    roles: dict[Role, Sequence[Rule]] = {}
    for role in (*first.roles, *second.roles):
        roles[role] = (*first.roles.get(role, ()), *second.roles.get(role, ()))
    return Rules(exclude=(*first.exclude, *second.exclude), roles={role: tuple(found) for role, found in roles.items()})
