"""How an attempt ends: functions that say what each kind of end writes into the job's row."""

from __future__ import annotations

from typing import Any

from enhancement.errors import Problem
from enhancement.ledger.retry import backoff_s, crash_backoff_s
from enhancement.ledger.rows import NO_CLAIM, columns
from enhancement.ledger.states import CancelReason, Code, JobRow, State
from enhancement.settings import QueueSettings

DIED = Problem(Code.WORKER_DIED, "the process that worked on it ended or fell silent")

_STOPPED = {
    CancelReason.USER: (State.CANCELLED, Code.CANCELLED),
    CancelReason.SUPERSEDED: (State.SUPERSEDED, Code.NEWER_INPUTS),
    CancelReason.STUDY_DELETED: (State.CANCELLED, Code.STUDY_DELETED),
}


def queued_again(not_before: float, now: float) -> dict[str, Any]:
    """Back in the queue."""
    return NO_CLAIM | {"state": State.QUEUED, "not_before": not_before, "updated_at": now}


def stopped(job: JobRow, now: float) -> dict[str, Any]:
    """The job was stopped on request. The state depends on who asked."""
    state, code = _STOPPED[CancelReason(job.cancel_requested or CancelReason.USER)]
    return _final(state, now) | {"code": code}


def ended(
    job: JobRow,
    state: State,
    problem: Problem,
    *,
    final: bool,
    queue: QueueSettings,
    now: float,
) -> dict[str, Any]:
    """What the holder's word about its attempt writes into the row."""
    words = columns(problem)
    if state in (State.STORED, State.REJECTED):
        return _final(state, now) | words | {"fraction": 1.0 if state is State.STORED else job.fraction}
    if state is State.CANCELLED:
        return stopped(job, now) | ({"reason": problem.reason} if problem.reason else {})
    if state is not State.FAILED:
        raise ValueError(f"an attempt cannot end as {state}")
    if job.cancel_requested:
        return stopped(job, now)
    failures = job.failures + 1
    if final or failures >= queue.max_attempts:
        return _final(State.FAILED, now) | words | {"failures": failures}
    return queued_again(now + backoff_s(failures, queue), now) | words | {"failures": failures}


def died(job: JobRow, queue: QueueSettings, now: float) -> dict[str, Any]:
    """The holder fell silent. The job is tried again, until it is suspected of bringing the process down."""
    if job.cancel_requested:
        return stopped(job, now)
    crashes = job.crashes + 1
    words = columns(DIED) | {"crashes": crashes}
    if crashes >= queue.max_crashes:
        advice = "Look in Orthanc's log for how the process ended; then try the job again."
        return _final(State.FAILED, now) | words | {"advice": advice}
    return queued_again(now + crash_backoff_s(crashes, queue), now) | words


def _final(state: State, now: float) -> dict[str, Any]:
    return NO_CLAIM | {"state": state, "finished_at": now, "updated_at": now}
