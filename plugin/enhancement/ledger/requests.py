"""Requests: people and the archive ask for results, or take that back."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update

from enhancement.errors import NO_PROBLEM, LedgerError, Problem
from enhancement.ledger import rows
from enhancement.ledger import transitions as ending
from enhancement.ledger.followups import note_results
from enhancement.ledger.inbox import put_incomplete, remove_arrival, remove_incomplete, remove_study
from enhancement.ledger.reopening import Decision, decide
from enhancement.ledger.scheduling import order_at
from enhancement.ledger.schema import jobs
from enhancement.ledger.scope import Scope
from enhancement.ledger.sources import write_down
from enhancement.ledger.states import Arrival, CancelReason, Code, JobRow, Priority, Source, State


class Requests:
    """Asks for a result, refuses, cancels and retries; notes what was deleted from the archive."""

    def __init__(self, scope: Scope) -> None:
        self._database = scope.database
        self._archive = scope.archive
        self._queue = scope.queue
        self._clock = scope.clock
        self._ageing_s = scope.ageing_s

    def enqueue(
        self,
        study_id: str,
        recipe: str,
        fingerprint: str,
        *,
        priority: Priority = Priority.ROUTINE,
        origin: str = "stable",
        requested_by: str = "",
        model_digest: str = "",
        present: Collection[str] | None = None,
        expected: Sequence[str] = (),
        sources: Sequence[Source] = (),
        archive_ids: Mapping[str, str] | None = None,
        force: bool = False,
        arrival: Arrival | None = None,
    ) -> JobRow:
        """Ask for one result; asking again changes nothing.

        Earlier jobs of this study and recipe with other inputs give way: waiting ones become SUPERSEDED now, a running
        one is asked to stop, a stored one becomes SUPERSEDED when the new result is stored.

        Parameters
        ----------
        present : collection of str, optional
            The SeriesInstanceUIDs of our results that the study holds now, whole. A STORED job whose results are not
            all among them is opened again; without it the ledger's word is taken.
        expected : sequence of str
            The SeriesInstanceUIDs that this run will store, where they are known. If the ledger does not know the job
            but the study holds them all, the job is written down as STORED (the ledger was lost, the results were not,
            or the study is a copy of one that has them).
        sources : sequence of Source
            The series that this run will read.
        archive_ids : mapping
            The archive's identifier of each series of ours in the study -> SeriesInstanceUID.
        force : bool
            Do it again although it is stored.
        arrival : Arrival, optional
            What this answers; it leaves the inbox in the same transaction.

        Raises
        ------
        LedgerError
            QUEUE_FULL if nothing more may wait; the arrival then stays.
        """
        now = self._clock()
        key = {"archive": self._archive, "study_id": study_id, "recipe": recipe, "fingerprint": fingerprint}
        with self._database.write() as connection:
            rows.lock_study(connection, self._archive, study_id, recipe)
            found = connection.execute(select(jobs).filter_by(**key).with_for_update()).mappings().first()
            job = JobRow.of(found) if found else None
            manual = priority is Priority.MANUAL
            decision = decide(job, manual=manual, force=force, present=present, expected=expected)
            best = Priority(min(priority, job.priority)) if job and decision is Decision.GO_ON else priority
            values = self._asked(decision, job, best, manual, expected, now)
            if decision is Decision.QUEUE:
                self._refuse_if_full(connection)
                values |= {"origin": origin[:32], "requested_by": requested_by[:128], "model_digest": model_digest}
            elif job is None:
                values |= {"origin": "adopted", "requested_by": requested_by[:128], "model_digest": model_digest}
            job = self._write_current(connection, key, job, values, now)
            write_down(connection, self._archive, job.id, sources)
            if decision is Decision.ADOPT:
                held = {key: uid for key, uid in (archive_ids or {}).items() if uid in job.result_uids}
                note_results(connection, job, held)
            remove_incomplete(connection, self._archive, study_id, recipe)
            if arrival is not None:
                remove_arrival(connection, self._archive, arrival)
            return job

    def refuse(
        self,
        study_id: str,
        recipe: str,
        fingerprint: str,
        *,
        problem: Problem,
        missing: Sequence[str] | None = None,
        arrival: Arrival | None = None,
    ) -> JobRow:
        """Write down that these inputs were refused before there was a job, such as an ambiguous study.

        With `missing` the study is INCOMPLETE: reported with what it lacks until a later look finds it.
        """
        now = self._clock()
        key = {"archive": self._archive, "study_id": study_id, "recipe": recipe, "fingerprint": fingerprint}
        with self._database.write() as connection:
            rows.lock_study(connection, self._archive, study_id, recipe)
            found = connection.execute(select(jobs).filter_by(**key).with_for_update()).mappings().first()
            job = JobRow.of(found) if found else None
            if job is not None and job.state is State.RUNNING:
                return job
            values = {"state": State.REJECTED, "finished_at": now, "priority": Priority.ROUTINE, "queued_at": now}
            values |= {"order_at": now, "not_before": now} | rows.columns(problem)
            if job is None:
                values |= {"origin": arrival.origin if arrival else "stable", "model_digest": ""}
                values |= {"requested_by": arrival.requested_by if arrival else ""}
            job = self._write_current(connection, key, job, values, now)
            if missing is None:
                remove_incomplete(connection, self._archive, study_id, recipe)
            else:
                put_incomplete(connection, (self._archive, study_id, recipe), missing, problem.reason, now)
            if arrival is not None:
                remove_arrival(connection, self._archive, arrival)
            return job

    def cancel(self, job_id: int, *, by: str = "") -> JobRow:
        """Cancel a waiting job now, a running one at its next heartbeat; WRONG_STATE if it has ended."""
        now = self._clock()
        with self._database.write() as connection:
            job = rows.lock_job(connection, self._archive, job_id)
            reason = f"cancelled by {by}" if by else "cancelled"
            if job.state is State.RUNNING:
                return rows.modify(connection, job_id, {"cancel_requested": CancelReason.USER, "reason": reason})
            if job.state is not State.QUEUED:
                raise _wrong_state(job, "cancelled")
            values = {"state": State.CANCELLED, "finished_at": now, "updated_at": now}
            return rows.modify(connection, job_id, values | rows.columns(Problem(Code.CANCELLED, reason)))

    def retry(self, job_id: int, *, by: str = "") -> JobRow:
        """Queue an ended job again, with all its attempts, as asked for by hand; WRONG_STATE if it has not ended."""
        now = self._clock()
        with self._database.write() as connection:
            job = rows.lock_job(connection, self._archive, job_id)
            if job.state not in (State.FAILED, State.REJECTED, State.CANCELLED):
                raise _wrong_state(job, "tried again")
            if not job.current:
                raise LedgerError(f"job {job_id} is outdated: the study has newer inputs", code="WRONG_STATE")
            values = self._queued(now, Priority.MANUAL) | {"origin": "retry", "requested_by": by[:128]}
            return rows.modify(connection, job_id, values)

    def retry_all(self, code: str, *, by: str = "") -> int:
        """Queue again every job that failed for good with this code; return how many."""
        query = select(jobs.c.id).filter_by(archive=self._archive, state=State.FAILED, code=code, current=True)
        with self._database.read() as connection:
            job_ids = list(connection.execute(query.order_by(jobs.c.order_at)).scalars())
        for job_id in job_ids:
            self.retry(job_id, by=by)
        return len(job_ids)

    def study_deleted(self, study_id: str) -> list[JobRow]:
        """The archive deleted the study: nothing waits for it, a running job stops, its results are gone."""
        now = self._clock()
        words = rows.columns(Problem(Code.STUDY_DELETED, "the study was deleted from the archive"))
        with self._database.write() as connection:
            recipes = select(jobs.c.recipe).distinct().filter_by(archive=self._archive, study_id=study_id)
            for recipe in sorted(connection.execute(recipes).scalars()):
                rows.lock_study(connection, self._archive, study_id, recipe)
            remove_study(connection, self._archive, study_id)
            changed = []
            query = select(jobs).filter_by(archive=self._archive, study_id=study_id)
            for job in map(JobRow.of, connection.execute(query).mappings().all()):
                if job.state is State.RUNNING:
                    changed.append(rows.modify(connection, job.id, {"cancel_requested": CancelReason.STUDY_DELETED}))
                elif job.state is not State.CANCELLED or job.problem.code == Code.RESULT_DELETED:
                    # The series of a study that is deleted go first, as if a person had removed each.
                    values = {"state": State.CANCELLED, "finished_at": now, "updated_at": now}
                    changed.append(rows.modify(connection, job.id, values | words))
            return changed

    def result_deleted(
        self,
        study_id: str,
        series_instance_uid: str,
        *,
        code: str = Code.RESULT_DELETED,
        reason: str = "the result was removed",
    ) -> list[JobRow]:
        """A person removed this result of the study, or it was withdrawn: it comes back by hand alone.

        A study under a second PatientID holds series of the same UIDs; its own results are left alone. What was lost
        with a source (SOURCE_GONE) comes back with it.
        """
        now = self._clock()
        words = rows.columns(Problem(code, reason))
        ends = rows.HAVE_RESULTS if code != Code.RESULT_DELETED else (State.STORED,)
        changed = []
        with self._database.read() as connection:
            holding = rows.holding(connection, self._archive, series_instance_uid, study_id)
        for job in holding:
            with self._database.write() as connection:
                held = rows.lock_job(connection, self._archive, job.id)
                if held.state in ends:
                    values = {"state": State.CANCELLED, "finished_at": now, "updated_at": now}
                    changed.append(rows.modify(connection, job.id, values | words))
        return changed

    def _asked(
        self,
        decision: Decision,
        job: JobRow | None,
        priority: Priority,
        manual: bool,
        expected: Sequence[str],
        now: float,
    ) -> dict[str, Any]:
        """What a request writes into the row."""
        if decision is Decision.QUEUE:
            return self._queued(now, priority)
        if decision is Decision.ADOPT:
            adopted = {"state": State.STORED, "finished_at": now, "result_uids": list(expected)}
            return self._queued(now, priority) | adopted
        if decision is Decision.KEEP or job is None:
            return {}
        values: dict[str, Any] = {"priority": priority, "order_at": order_at(job.queued_at, priority, self._ageing_s)}
        if job.state is State.RUNNING:
            values["cancel_requested"] = None
        elif manual:
            values["not_before"] = now
        return values

    def _queued(self, now: float, priority: Priority) -> dict[str, Any]:
        return ending.queued_again(now, now) | {
            "priority": priority,
            "queued_at": now,
            "order_at": order_at(now, priority, self._ageing_s),
            "failures": 0,
            "crashes": 0,
            "finished_at": None,
            "superseded_by": None,
            **rows.columns(NO_PROBLEM),
        }

    def _write_current(
        self, connection: Connection, key: dict[str, str], job: JobRow | None, values: dict[str, Any], now: float
    ) -> JobRow:
        """Write the row of the study's newest inputs; whatever had that place gives way."""
        others = rows.siblings(connection, self._archive, key["study_id"], key["recipe"], job.id if job else None)
        gone = [other.id for other in others if rows.give_way(connection, other, now)]
        values = values | {"current": True, "updated_at": now}
        if values.get("state") is State.STORED:
            # Adopted: a job of earlier inputs read the study when it already was what it is now, and stored this.
            stored = [other.id for other in others if other.state is State.STORED]
            ended = {"state": State.SUPERSEDED, "code": Code.NEWER_INPUTS, "updated_at": now}
            connection.execute(update(jobs).where(jobs.c.id.in_(stored)).values(**ended))
            gone += stored
        if job is None:
            job = rows.create(connection, key | values | {"created_at": now})
        else:
            job = rows.modify(connection, job.id, values)
        if gone:
            connection.execute(update(jobs).where(jobs.c.id.in_(gone)).values(superseded_by=job.id))
        return job

    def _refuse_if_full(self, connection: Connection) -> None:
        query = select(func.count()).select_from(jobs).filter_by(archive=self._archive, state=State.QUEUED)
        if connection.execute(query).scalar_one() >= self._queue.max_queued:
            raise LedgerError(
                f"{self._queue.max_queued} jobs are waiting already",
                code="QUEUE_FULL",
                advice="Wait, cancel some, or raise Queue.MaxQueued.",
            )


def _wrong_state(job: JobRow, what: str) -> LedgerError:
    return LedgerError(f"job {job.id} is {job.state} and cannot be {what}", code="WRONG_STATE")
