"""The light: the worst of all parts, and each part's own problem."""

from __future__ import annotations

from enhancement.errors import Problem
from enhancement.service.health import Health, Light

BUSY = Problem("LEDGER_BUSY", "the ledger is busy", "Try again.")
OPEN = Problem("NO_AUTHENTICATION", "Remote access is allowed without a password.")


def test_is_green_while_nothing_is_wrong() -> None:
    assert Health().to_json() == {"light": "green", "problems": [], "state": "green", "reasons": []}


def test_is_as_bad_as_the_worst_part_which_comes_first() -> None:
    health = Health()
    health.report("doors", Light.YELLOW, OPEN)
    health.report("ledger", Light.RED, BUSY)
    answer = health.to_json()
    assert answer["light"] == "red"
    assert answer["problems"][0] == {"part": "ledger", "light": "red", **BUSY.to_json()}
    assert [problem["part"] for problem in answer["problems"]] == ["ledger", "doors"]


def test_is_mended_part_by_part() -> None:
    health = Health()
    health.report("doors", Light.YELLOW, OPEN)
    health.report("ledger", Light.RED, BUSY)
    health.clear("ledger")
    assert health.light() is Light.YELLOW
    health.clear("doors")
    assert health.light() is Light.GREEN


def test_says_what_is_news() -> None:
    """The same problem again is none; another one, or a worse light, is."""
    health = Health()
    assert health.report("ledger", Light.YELLOW, BUSY)
    assert not health.report("ledger", Light.YELLOW, BUSY)
    assert health.report("ledger", Light.RED, BUSY)
    assert health.report("ledger", Light.RED, OPEN)
