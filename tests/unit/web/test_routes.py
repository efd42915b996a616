"""The list of routes: each fits the operation that it is bound to."""

from __future__ import annotations

import inspect
import re

import pytest
from pydantic import ValidationError

from enhancement.ledger.states import Priority, State
from enhancement.web.access import Right
from enhancement.web.routes import PLACEHOLDERS, ROUTES, ListJobs, Route, Start

EXAMPLES = {"study_id": "-".join(["0a1b2c3d"] * 5), "series_id": "-".join(["0a1b2c3d"] * 5), "job_id": "17"}


def _name(route: Route) -> str:
    return f"{route.method} {route.path}"


@pytest.mark.parametrize("route", ROUTES, ids=_name)
class TestRoute:
    def test_its_operation_takes_what_it_passes(self, route: Route) -> None:
        """Placeholders, query, body, and the user of a POST: all of them, and nothing else is asked for."""
        passed = {*re.findall(r"\{(\w+)\}", route.path), *route.query.model_fields, *route.body.model_fields}
        passed |= {"user"} if route.method == "POST" else set()
        taken = set(inspect.signature(route.operation).parameters) - {"self"}
        assert passed == taken

    def test_it_says_what_it_does(self, route: Route) -> None:
        assert route.summary.endswith(".")

    def test_no_other_takes_its_path(self, route: Route) -> None:
        path = "/enhancement" + route.path.format(**EXAMPLES)
        assert [_name(other) for other in ROUTES if other.method == route.method and other.pattern.fullmatch(path)] == [
            _name(route)
        ]

    def test_whoever_may_only_read_changes_nothing(self, route: Route) -> None:
        assert route.method == "GET" or route.right is not Right.READ


def test_placeholders_take_no_other_path() -> None:
    """Neither a slash nor an empty identifier."""
    for name, (pattern, kind) in PLACEHOLDERS.items():
        assert re.fullmatch(pattern, EXAMPLES[name])
        kind(EXAMPLES[name])
        assert not any(re.fullmatch(pattern, text) for text in ("", "a/b", "..", "-1"))


def test_priority_is_named_as_people_write_it() -> None:
    assert Start.model_validate({}).priority is Priority.MANUAL
    assert Start.model_validate({"priority": "Stat"}).priority is Priority.STAT
    with pytest.raises(ValidationError, match="manual, stat, routine, backfill"):
        Start.model_validate({"priority": "now"})


def test_states_are_listed_with_commas() -> None:
    assert ListJobs.model_validate({}).state == ()
    assert ListJobs.model_validate({"state": "queued, FAILED"}).state == (State.QUEUED, State.FAILED)
    with pytest.raises(ValidationError, match="QUEUED, RUNNING, STORED"):
        ListJobs.model_validate({"state": "DROP"})
