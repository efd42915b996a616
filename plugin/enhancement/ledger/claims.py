"""Claims: a worker takes a job, keeps it by heartbeats, and ends it; what a dead worker held is taken back."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import Connection, exc, insert, select, update

from enhancement.errors import NO_PROBLEM, LedgerError, Problem
from enhancement.ledger import followups, rows
from enhancement.ledger import transitions as ending
from enhancement.ledger.breaker import Circuit, read_breaker
from enhancement.ledger.leases import LeaseWatch
from enhancement.ledger.marks import read_mark
from enhancement.ledger.scheduling import eligible
from enhancement.ledger.schema import attempts, jobs
from enhancement.ledger.scope import Scope
from enhancement.ledger.states import Code, JobRow, Signal, State

log = structlog.get_logger("enhancement.ledger")


class Claims:
    """The side of the ledger that a worker sees.

    Parameters
    ----------
    watch : LeaseWatch
        Tells which holders have fallen silent.
    """

    def __init__(self, scope: Scope, watch: LeaseWatch) -> None:
        self._scope = scope
        self._database = scope.database
        self._archive = scope.archive
        self._instance = scope.instance
        self._queue = scope.queue
        self._clock = scope.clock
        self._watch = watch

    def claim(self, worker: str, lease_s: float | None = None) -> JobRow | None:
        """Take the next job, or None when there is none, the queue is paused or the circuit is open.

        The caller keeps the lease alive by `beat` (or `service.hold.Hold`) and ends it by `finish` or `release`.

        Parameters
        ----------
        worker : str
            Who works, for people to read: a device, a node.
        lease_s : float, seconds
            How long a silent holder keeps the job; `Queue.LeaseSeconds` by default.
        """
        self.recover()
        now = self._clock()
        with self._database.read() as connection:
            waiting = connection.execute(select(jobs.c.id).where(eligible(self._archive, now)).limit(1)).first()
            if (
                waiting is None
                or read_mark(connection, self._archive, "paused")
                or not self._circuit_lets(connection, now)
            ):
                return None
        try:
            with self._database.write() as connection:
                query = select(jobs).where(eligible(self._archive, now)).order_by(jobs.c.order_at, jobs.c.id).limit(1)
                found = connection.execute(query.with_for_update(skip_locked=True, of=jobs)).mappings().first()
                return self._start(connection, JobRow.of(found), worker, lease_s, now) if found else None
        except exc.IntegrityError:
            # Another process took another job of the same study in between.
            return None

    def beat(self, job: JobRow, stage: str = "", fraction: float = 0.0) -> Signal:
        """Say that the holder lives and how far it is (0..1); learn whether to go on."""
        now = self._clock()
        values: dict[str, Any] = {"beat": jobs.c.beat + 1, "beat_at": now, "updated_at": now}
        if stage:
            values |= {"stage": stage[:64], "fraction": min(1.0, max(0.0, fraction))}
        mine = (jobs.c.id == job.id, jobs.c.claim_id == job.claim_id, jobs.c.state == State.RUNNING)
        with self._database.write() as connection:
            found = connection.execute(
                update(jobs).where(*mine).values(**values).returning(jobs.c.cancel_requested)
            ).first()
        if found is None:
            return Signal.LOST
        return Signal.CANCEL if found.cancel_requested else Signal.CONTINUE

    def finish(
        self,
        job: JobRow,
        state: State,
        *,
        problem: Problem = NO_PROBLEM,
        result_uids: Sequence[str] = (),
        archive_ids: Mapping[str, str] | None = None,
        audit: Mapping[str, Any] | None = None,
        final: bool = False,
    ) -> JobRow:
        """End the attempt.

        STORED supersedes the earlier stored result of the study, and writes down what is to be done afterwards
        (`followups`), with `archive_ids`: the archive's identifier of each stored series -> its UID. FAILED queues
        the job again after a pause until its attempts are used up, or ends it at once if `final`. REJECTED ends it.
        CANCELLED ends it in the state that whoever asked for it meant.

        Raises
        ------
        LedgerError
            LEASE_LOST if the job is no longer this holder's; what was stored is then found and kept by the next one.
        """
        now = self._clock()
        with self._database.write() as connection:
            rows.lock_study(connection, self._archive, job.study_id, job.recipe)
            held = self._held(connection, job)
            values = ending.ended(held, state, problem, final=final, queue=self._queue, now=now)
            if audit is not None:
                values["audit"] = dict(audit)
            if state is State.STORED:
                values["result_uids"] = list(result_uids)
                newer = self._stored_newer(connection, held)
                if newer is None:
                    self._supersede_stored(connection, held, now)
                else:
                    values |= {"state": State.SUPERSEDED, "code": Code.NEWER_INPUTS, "superseded_by": newer.id}
            self._release_place(connection, held, values, now)
            outcome = State.FAILED if state is State.FAILED else values["state"]
            rows.end_attempt(connection, held.claim_id, now, outcome, problem)
            ended = rows.modify(connection, held.id, values)
            if state is State.STORED:
                followups.write_down(connection, held, archive_ids or {}, now)
            return ended

    def release(self, job: JobRow) -> JobRow:
        """Put the job back unharmed, because Orthanc stops; no attempt is counted."""
        now = self._clock()
        with self._database.write() as connection:
            rows.lock_study(connection, self._archive, job.study_id, job.recipe)
            held = self._held(connection, job)
            values = ending.stopped(held, now) if held.cancel_requested else ending.queued_again(now, now)
            self._release_place(connection, held, values, now)
            rows.end_attempt(connection, held.claim_id, now, "RELEASED")
            return rows.modify(connection, held.id, values)

    def recover(self, *, mine: bool = False) -> list[JobRow]:
        """Take back the jobs whose holder is silent; with `mine`, also all that this Orthanc held before it restarted.

        Returns
        -------
        list of JobRow
            What became of them: QUEUED, or FAILED after `Queue.MaxCrashes`.
        """
        with self._database.read() as connection:
            query = select(jobs).filter_by(archive=self._archive, state=State.RUNNING)
            running = [JobRow.of(row) for row in connection.execute(query).mappings()]
        silent = self._watch.expired(running)
        if mine:
            silent = [job for job in running if job.instance == self._instance or job in silent]
        return [back for job in silent if (back := self._take_back(job)) is not None]

    def _circuit_lets(self, connection: Connection, now: float) -> bool:
        breaker = read_breaker(connection, self._scope, now)
        if breaker.circuit is not Circuit.HALF_OPEN:
            return breaker.circuit is Circuit.CLOSED
        query = select(jobs.c.id).filter_by(archive=self._archive, instance=self._instance, state=State.RUNNING)
        return connection.execute(query.limit(1)).first() is None

    def _start(self, connection: Connection, job: JobRow, worker: str, lease_s: float | None, now: float) -> JobRow:
        claim_id = uuid.uuid4().hex
        who = {"claim_id": claim_id, "worker": worker[:128], "instance": self._instance[:128]}
        attempt = {"job_id": job.id, "number": job.attempts + 1, "started_at": now} | rows.columns(NO_PROBLEM)
        connection.execute(insert(attempts).values(**attempt, **who))
        return rows.modify(
            connection,
            job.id,
            who
            | {"state": State.RUNNING, "attempts": job.attempts + 1, "stage": "starting", "fraction": 0.0, "beat": 0}
            | {"beat_at": now, "updated_at": now, "cancel_requested": None}
            | {"lease_s": self._queue.lease_seconds if lease_s is None else lease_s},
        )

    def _held(self, connection: Connection, job: JobRow) -> JobRow:
        mine = {"id": job.id, "claim_id": job.claim_id, "state": State.RUNNING}
        found = connection.execute(select(jobs).filter_by(**mine).with_for_update()).mappings().first()
        if found is None:
            raise LedgerError(f"job {job.id} is no longer held by this worker", code="LEASE_LOST")
        return JobRow.of(found)

    def _stored_newer(self, connection: Connection, job: JobRow) -> JobRow | None:
        """The stored result of newer inputs, which an outdated job must not push aside."""
        others = rows.siblings(connection, self._archive, job.study_id, job.recipe, job.id)
        stored = [other for other in others if other.state is State.STORED and other.current]
        return stored[0] if stored and not job.current else None

    def _supersede_stored(self, connection: Connection, job: JobRow, now: float) -> None:
        others = rows.siblings(connection, self._archive, job.study_id, job.recipe, job.id)
        values = {"state": State.SUPERSEDED, "superseded_by": job.id, "updated_at": now, "current": False}
        for old in others:
            if old.state is State.STORED:
                rows.modify(connection, old.id, values)

    def _release_place(self, connection: Connection, job: JobRow, values: dict[str, Any], now: float) -> None:
        """An outdated job must not go back into the queue beside the newer one."""
        if not job.current and values["state"] is State.QUEUED:
            values |= {"state": State.SUPERSEDED, "code": Code.NEWER_INPUTS, "finished_at": now}

    def _take_back(self, job: JobRow) -> JobRow | None:
        now = self._clock()
        with self._database.write() as connection:
            rows.lock_study(connection, self._archive, job.study_id, job.recipe)
            unchanged = {"id": job.id, "claim_id": job.claim_id, "beat": job.beat, "state": State.RUNNING}
            found = connection.execute(select(jobs).filter_by(**unchanged).with_for_update()).mappings().first()
            if found is None:
                return None
            held = JobRow.of(found)
            values = ending.died(held, self._queue, now)
            self._release_place(connection, held, values, now)
            rows.end_attempt(connection, held.claim_id, now, State.FAILED, ending.DIED)
            log.warning("job taken back", job=held.id, worker=held.worker, state=str(values["state"]))
            return rows.modify(connection, held.id, values)
