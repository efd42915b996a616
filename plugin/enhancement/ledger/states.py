"""The words of the ledger: states, priorities, and the rows that it hands out.

::

    arrival ──> QUEUED ──> RUNNING ──> STORED ──> SUPERSEDED      (newer inputs have a stored result)
      │           ^  │        ├──────> REJECTED                   (these inputs cannot be processed)
      │           │  │        ├──────> FAILED                     (attempts used up: a person has to look)
      │           └──┼────────┘  later, after a failed attempt or a dead process
      v              └──────────────> CANCELLED
    INCOMPLETE

INCOMPLETE is not a state of a job. A study whose required series are not there yet has no inputs, hence no
fingerprint and no job; it is a condition of the study, reported beside the jobs and gone with the next look.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum
from typing import Any

from sqlalchemy import RowMapping

from enhancement.errors import Problem


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    STORED = "STORED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"
    SUPERSEDED = "SUPERSEDED"
    CANCELLED = "CANCELLED"


class Priority(IntEnum):
    """Who goes first; smaller is sooner."""

    MANUAL = 0
    STAT = 1
    ROUTINE = 2
    BACKFILL = 3


class Signal(StrEnum):
    """What the holder of a claim learns from its heartbeat."""

    CONTINUE = "CONTINUE"
    CANCEL = "CANCEL"
    LOST = "LOST"


class CancelReason(StrEnum):
    """Why a running job is asked to stop."""

    USER = "user"
    SUPERSEDED = "superseded"
    STUDY_DELETED = "study-deleted"


class Code(StrEnum):
    """The codes that the ledger itself gives a job; errors bring their own."""

    WORKER_DIED = "WORKER_DIED"
    STUDY_DELETED = "STUDY_DELETED"
    RESULT_DELETED = "RESULT_DELETED"
    WITHDRAWN = "WITHDRAWN"
    CANCELLED = "CANCELLED"
    NEWER_INPUTS = "NEWER_INPUTS"
    SOURCE_GONE = "SOURCE_GONE"


@dataclass(frozen=True)
class JobRow:
    """One job: one study, recipe and inputs. Times are seconds since 1970 (UTC); no field holds patient data."""

    id: int
    archive: str
    study_id: str
    recipe: str
    fingerprint: str
    model_digest: str
    state: State
    current: bool
    priority: Priority
    origin: str
    requested_by: str
    created_at: float
    queued_at: float
    order_at: float
    not_before: float
    updated_at: float
    finished_at: float | None
    attempts: int
    failures: int
    crashes: int
    claim_id: str | None
    worker: str | None
    instance: str | None
    lease_s: float
    beat: int
    beat_at: float | None
    stage: str
    fraction: float
    cancel_requested: str | None
    problem: Problem
    result_uids: tuple[str, ...]
    superseded_by: int | None
    audit: dict[str, Any]

    @classmethod
    def of(cls, row: RowMapping) -> JobRow:
        """The row as the database returned it."""
        values = _values(cls, row)
        values["state"] = State(values["state"])
        values["priority"] = Priority(values["priority"])
        values["current"] = bool(values["current"])
        values["result_uids"] = tuple(values["result_uids"] or ())
        values["audit"] = dict(values["audit"] or {})
        return cls(**values)


@dataclass(frozen=True)
class AttemptRow:
    """One attempt at a job. `outcome` is a `State`, RELEASED after a clean stop, or None while it runs."""

    number: int
    worker: str
    instance: str
    started_at: float
    ended_at: float | None
    outcome: str | None
    problem: Problem

    @classmethod
    def of(cls, row: RowMapping) -> AttemptRow:
        """The row as the database returned it."""
        return cls(**_values(cls, row))


@dataclass(frozen=True)
class Arrival:
    """A study that has to be looked at, for one recipe or, with none named, for those that are made of every study.

    `revision` grows with every new reason to look.
    """

    study_id: str
    recipe: str
    priority: Priority
    origin: str
    requested_by: str
    force: bool
    noticed_at: float
    looks: int
    revision: int


@dataclass(frozen=True)
class Source:
    """One series that a job reads: the archive's identifier, its UID, and how many instances it had."""

    archive_id: str
    series_instance_uid: str
    instances: int


@dataclass(frozen=True)
class IncompleteStudy:
    """A study that lacks series which are needed: which, and since when."""

    study_id: str
    recipe: str
    missing: tuple[str, ...]
    reason: str
    since: float
    checked_at: float


def _values(kind: type[JobRow] | type[AttemptRow], row: RowMapping) -> dict[str, Any]:
    """The values of a row's class. The three columns of its problem become one value."""
    values = {field.name: row[field.name] for field in fields(kind) if field.name != "problem"}
    return values | {"problem": Problem(row["code"], row["reason"], row["advice"])}
