"""What a request means when the ledger already has a job for these very inputs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, auto

from enhancement.ledger.states import CancelReason, Code, JobRow, State


class Decision(Enum):
    """What becomes of the job.

    QUEUE: it is to be done, for the first time or once more. GO_ON: it waits or runs already. KEEP: it stays as it
    ended. ADOPT: its result is in the archive, and is only written down.
    """

    QUEUE = auto()
    GO_ON = auto()
    KEEP = auto()
    ADOPT = auto()


def decide(
    job: JobRow | None,
    *,
    manual: bool,
    force: bool,
    present: Collection[str] | None,
    expected: Sequence[str],
) -> Decision:
    """Whether this job has to be done (again).

    An automatic request repeats nothing that ended: a refusal or a dead letter would only end the same way, and what a
    person cancelled or withdrew stays so. What the archive lost with its study, or with a source, is done again when
    those are back.
    """
    if job is None:
        known = present is not None and len(expected) > 0 and set(expected) <= set(present)
        return Decision.ADOPT if known and not force else Decision.QUEUE
    if job.state is State.QUEUED:
        return Decision.GO_ON
    if job.state is State.RUNNING:
        stopped_by_person = job.cancel_requested == CancelReason.USER
        return Decision.KEEP if stopped_by_person and not manual else Decision.GO_ON
    if job.state is State.STORED:
        lost = present is not None and not set(job.result_uids) <= set(present)
        return Decision.QUEUE if force or lost else Decision.KEEP
    lost_with_inputs = job.state is State.CANCELLED and job.problem.code in (Code.STUDY_DELETED, Code.SOURCE_GONE)
    if job.state is State.SUPERSEDED or lost_with_inputs:
        return Decision.QUEUE
    return Decision.QUEUE if manual or force else Decision.KEEP
