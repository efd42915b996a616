"""Errors state a problem: code, reason, advice."""

from __future__ import annotations

import inspect

import pytest

from enhancement import errors
from enhancement.errors import EnhancementError, JobTimeout, Problem, StageError

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, EnhancementError)]


@pytest.mark.parametrize("kind", TREE)
def test_every_error_has_a_code_of_its_own(kind: type[EnhancementError]) -> None:
    """Stable and upper case, so that a program can tell it from others."""
    others = {other.default_code for other in TREE if other is not kind}
    assert kind("what was found").code not in others
    assert kind.default_code.replace("_", "").isupper()


def test_the_problem_is_what_was_raised() -> None:
    error = EnhancementError("two T1c were found", code="AMBIGUOUS", advice="Choose one.")
    assert error.problem == Problem("AMBIGUOUS", "two T1c were found", "Choose one.")
    assert error.problem.to_json() == {"code": "AMBIGUOUS", "reason": "two T1c were found", "advice": "Choose one."}
    assert (error.code, error.reason, str(error)) == ("AMBIGUOUS", "two T1c were found", "two T1c were found")


def test_an_advice_is_the_class_own_unless_one_is_given() -> None:
    """Also where there is none to give."""
    assert "JobSeconds" in JobTimeout("it ran for an hour").problem.advice
    assert JobTimeout("it ran for an hour", advice="").problem.advice == ""
    assert issubclass(JobTimeout, StageError)
