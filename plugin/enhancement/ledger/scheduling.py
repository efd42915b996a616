"""Which job goes next: four classes of priority, and waiting that lifts a job by one class after another."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, or_

from enhancement.ledger.schema import jobs
from enhancement.ledger.states import Priority, State

# A stored time that lies further in the future than this was written before the clock was set back.
CLOCK_SLACK_S = 60.0


def order_at(queued_at: float, priority: Priority, ageing_s: float) -> float:
    """The sort key of a waiting job: smaller goes first.

    Each class below MANUAL starts `ageing_s` later in line. A job therefore gains one class for every `ageing_s`
    that it waits, nothing starves, and the key never changes while it waits, so that an index can sort by it.

    Parameters
    ----------
    queued_at : float, seconds since 1970
        When it began to wait.
    ageing_s : float, seconds
        Waiting that is worth one class.

    Examples
    --------
    >>> order_at(100.0, Priority.MANUAL, 60.0)
    100.0
    >>> order_at(100.0, Priority.ROUTINE, 60.0)
    220.0
    """
    return queued_at + int(priority) * ageing_s


def eligible(archive: str, now: float) -> ColumnElement[bool]:
    """The condition on a job to be claimed now.

    A backoff ends at `not_before`. When the clock is set back, the row appears to have been updated in the
    future; then the backoff is over, because nobody knows how much of it has passed.
    """
    other = jobs.alias("other")
    running = exists().where(
        other.c.archive == jobs.c.archive,
        other.c.study_id == jobs.c.study_id,
        other.c.recipe == jobs.c.recipe,
        other.c.state == State.RUNNING,
    )
    return and_(
        jobs.c.archive == archive,
        jobs.c.state == State.QUEUED,
        or_(jobs.c.not_before <= now, jobs.c.updated_at > now + CLOCK_SLACK_S),
        ~running,
    )
