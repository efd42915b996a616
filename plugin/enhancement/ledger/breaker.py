"""The circuit breaker: it pauses the queue when job after job fails for the same reason.

While it is open no job starts. After a pause one job is tried, and if that job is stored the others follow. The breaker
has no state of its own: it is read off the last attempts in the ledger. It therefore survives a restart, and it is the
same for every worker of one Orthanc. Another Orthanc on the same ledger has its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, select

from enhancement.ledger.scheduling import CLOCK_SLACK_S
from enhancement.ledger.schema import attempts, jobs
from enhancement.ledger.scope import Scope
from enhancement.ledger.states import State
from enhancement.settings import QueueSettings


class Circuit(StrEnum):
    """Which jobs are let through: CLOSED every one, HALF_OPEN one at a time, OPEN none."""

    CLOSED = "CLOSED"
    HALF_OPEN = "HALF_OPEN"
    OPEN = "OPEN"


@dataclass(frozen=True)
class Failure:
    """The end of one attempt; `code` is empty where it did not fail."""

    study_id: str
    code: str
    ended_at: float


@dataclass(frozen=True)
class Breaker:
    """What the last attempts say: how many in a row failed with `code`, and how much of the pause is left."""

    circuit: Circuit
    code: str = ""
    failures: int = 0
    retry_in_s: float = 0.0


def judge(history: Sequence[Failure], settings: QueueSettings, now: float) -> Breaker:
    """Open after `breaker_failures` attempts in a row failed with one code over at least two studies.

    One study that fails again and again is that study's trouble; its own attempts run out.
    """
    if not history or not history[0].code:
        return Breaker(Circuit.CLOSED)
    code = history[0].code
    streak = []
    for failure in history:
        if failure.code != code:
            break
        streak.append(failure)
    if len(streak) < settings.breaker_failures or len({failure.study_id for failure in streak}) < 2:
        return Breaker(Circuit.CLOSED, code, len(streak))
    waited = now - streak[0].ended_at
    clock_went_back = waited < -CLOCK_SLACK_S
    left = 0.0 if clock_went_back else max(0.0, settings.breaker_pause_seconds - waited)
    return Breaker(Circuit.OPEN if left else Circuit.HALF_OPEN, code, len(streak), left)


def read_breaker(connection: Connection, scope: Scope, now: float) -> Breaker:
    """What the last attempts of this Orthanc say."""
    limit = 4 * scope.queue.breaker_failures
    return judge(_history(connection, scope.archive, scope.instance, limit), scope.queue, now)


def _history(connection: Connection, archive: str, instance: str, limit: int) -> list[Failure]:
    """The last ended attempts of this instance, newest first. Refusals and cancellations count as no failure."""
    query = (
        select(jobs.c.study_id, attempts.c.code, attempts.c.outcome, attempts.c.ended_at)
        .join(jobs, jobs.c.id == attempts.c.job_id)
        .where(
            jobs.c.archive == archive,
            attempts.c.instance == instance,
            attempts.c.outcome.in_([State.STORED, State.FAILED, State.REJECTED]),
        )
        .order_by(attempts.c.id.desc())
        .limit(limit)
    )
    return [
        Failure(row.study_id, row.code if row.outcome == State.FAILED else "", row.ended_at)
        for row in connection.execute(query)
    ]
