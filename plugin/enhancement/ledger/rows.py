"""The statements that every change of a job is made of. Each runs inside its caller's transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Text, cast, insert, select, text, update

from enhancement.errors import NO_PROBLEM, LedgerError, Problem
from enhancement.ledger.schema import attempts, jobs
from enhancement.ledger.states import CancelReason, Code, JobRow, State


def columns(problem: Problem) -> dict[str, Any]:
    """The columns that hold a problem; a code that is too long for its column is cut."""
    return problem.to_json() | {"code": problem.code[:64]}


# The states of jobs whose results are in the archive.
HAVE_RESULTS = (State.STORED, State.SUPERSEDED)

NO_CLAIM: dict[str, Any] = {
    "claim_id": None,
    "worker": None,
    "cancel_requested": None,
    "stage": "",
    "fraction": 0.0,
}
NEW_ROW: dict[str, Any] = NO_CLAIM | {
    "instance": None,
    "attempts": 0,
    "failures": 0,
    "crashes": 0,
    "lease_s": 0.0,
    "beat": 0,
    "result_uids": [],
    "audit": {},
    **columns(NO_PROBLEM),
}


def lock_study(connection: Connection, archive: str, study_id: str, recipe: str) -> None:
    """Let nobody else change this study's jobs until the transaction ends; on SQLite the writer is alone anyway."""
    if connection.dialect.name != "postgresql":
        return
    digest = hashlib.sha256(f"{archive}\0{study_id}\0{recipe}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def fetch(connection: Connection, archive: str, job_id: int) -> JobRow:
    """One job of this archive, or NO_SUCH_JOB."""
    row = connection.execute(select(jobs).filter_by(archive=archive, id=job_id)).mappings().first()
    if row is None:
        raise LedgerError(f"there is no job {job_id}", code="NO_SUCH_JOB")
    return JobRow.of(row)


def lock_job(connection: Connection, archive: str, job_id: int) -> JobRow:
    """One job of this archive, with its study locked, or NO_SUCH_JOB."""
    job = fetch(connection, archive, job_id)
    lock_study(connection, archive, job.study_id, job.recipe)
    return fetch(connection, archive, job_id)


def holding(connection: Connection, archive: str, series_instance_uid: str, study_id: str) -> list[JobRow]:
    """The study's jobs whose results, still in the archive as far as the ledger knows, include this series."""
    query = select(jobs).where(
        jobs.c.study_id == study_id,
        jobs.c.archive == archive,
        jobs.c.state.in_(HAVE_RESULTS),
        cast(jobs.c.result_uids, Text).contains(f'"{series_instance_uid}"', autoescape=True),
    )
    return [JobRow.of(row) for row in connection.execute(query).mappings()]


def modify(connection: Connection, job_id: int, values: Mapping[str, Any]) -> JobRow:
    """Change one row and return it."""
    statement = update(jobs).where(jobs.c.id == job_id).values(**values).returning(jobs)
    return JobRow.of(connection.execute(statement).mappings().one())


def create(connection: Connection, values: Mapping[str, Any]) -> JobRow:
    """Add one row and return it."""
    return JobRow.of(
        connection.execute(insert(jobs).values(**(NEW_ROW | dict(values))).returning(jobs)).mappings().one()
    )


def siblings(connection: Connection, archive: str, study_id: str, recipe: str, but: int | None) -> list[JobRow]:
    """The other jobs of one study and recipe."""
    query = select(jobs).filter_by(archive=archive, study_id=study_id, recipe=recipe).order_by(jobs.c.id)
    return [job for job in map(JobRow.of, connection.execute(query).mappings()) if job.id != but]


def give_way(connection: Connection, old: JobRow, now: float) -> bool:
    """Make room for newer inputs of the same study; return whether this job ended by it.

    A stored result stays until the newer one is stored, and a running job is asked to stop.
    """
    if old.state in (State.QUEUED, State.FAILED, State.REJECTED):
        ended = {"state": State.SUPERSEDED, "code": Code.NEWER_INPUTS, "finished_at": now}
        modify(connection, old.id, {"current": False, "updated_at": now} | ended)
        return True
    values: dict[str, Any] = {"current": False}
    if old.state is State.RUNNING and old.cancel_requested is None:
        values["cancel_requested"] = CancelReason.SUPERSEDED
    if old.current or len(values) > 1:
        modify(connection, old.id, values)
    return False


def end_attempt(
    connection: Connection, claim_id: str | None, now: float, outcome: str, problem: Problem = NO_PROBLEM
) -> None:
    """Close the attempt that this claim opened."""
    values = {"ended_at": now, "outcome": outcome} | columns(problem)
    connection.execute(update(attempts).where(attempts.c.claim_id == claim_id).values(**values))
