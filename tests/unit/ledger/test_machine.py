"""The ledger against a model of it: whatever is done in whatever order, by whichever of two Orthancs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from enhancement.errors import NO_PROBLEM, LedgerError, Problem
from enhancement.ledger.states import JobRow, Priority, Signal, State
from unit.ledger_support import RECIPE, Bench

STUDIES = st.sampled_from(["a", "b", "c"])
INPUTS = st.sampled_from(["1", "2"])
ENDED = (State.REJECTED, State.FAILED, State.CANCELLED)


class LedgerMachine(RuleBasedStateMachine):
    """Two Orthancs share a ledger; `holders` is the model: who may still end which claim."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.bench = self.make_bench(
            max_attempts=3, max_crashes=4, breaker_failures=1000, lease_seconds=30, ageing_minutes=10
        )
        self.ledgers = [self.bench.ledger, self.bench.open("other")]
        self.holders: dict[int, str] = {}
        self.asked: set[str] = set()
        self.wanted: dict[str, str] = {}

    def make_bench(self, **queue: Any) -> Bench:
        self.folder = tempfile.TemporaryDirectory()
        return Bench(Path(self.folder.name) / "ledger.sqlite", **queue)

    def teardown(self) -> None:
        for ledger in self.ledgers:
            ledger.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(study=STUDIES, inputs=INPUTS, who=st.integers(0, 1), priority=st.sampled_from(list(Priority)))
    def ask(self, study: str, inputs: str, who: int, priority: Priority) -> None:
        job = self.ledgers[who].requests.enqueue(study, RECIPE, inputs, priority=priority)
        assert job.current
        self.asked.add(study)
        self.wanted[study] = inputs
        if priority is Priority.MANUAL:
            assert job.state in (State.QUEUED, State.RUNNING, State.STORED)

    @rule(study=STUDIES, inputs=INPUTS, who=st.integers(0, 1))
    def look_at_what_is_stored(self, study: str, inputs: str, who: int) -> None:
        """The archive holds the result of these inputs, whatever the ledger knows."""
        self.ledgers[who].requests.enqueue(study, RECIPE, inputs, present={f"2.{inputs}"}, expected=[f"2.{inputs}"])
        self.asked.add(study)
        self.wanted[study] = inputs

    @rule(target=held, who=st.integers(0, 1))
    def claim(self, who: int) -> object:
        job = self.ledgers[who].claims.claim("worker")
        if job is None:
            return multiple()
        assert self.holders.get(job.id) is None, "claimed while another holds it"
        assert job.claim_id is not None
        self.holders[job.id] = job.claim_id
        return job

    @rule(job=held, state=st.sampled_from([State.STORED, State.FAILED, State.REJECTED, State.CANCELLED]))
    def finish(self, job: JobRow, state: State) -> None:
        words = {"result_uids": [f"1.{job.id}"], "problem": Problem("X") if state is State.FAILED else NO_PROBLEM}
        if self.holders.get(job.id) == job.claim_id:
            self.bench.ledger.claims.finish(job, state, **words)
            del self.holders[job.id]
        else:
            with pytest.raises(LedgerError, match="no longer held"):
                self.bench.ledger.claims.finish(job, state, **words)

    @rule(job=held)
    def release(self, job: JobRow) -> None:
        if self.holders.get(job.id) == job.claim_id:
            self.bench.ledger.claims.release(job)
            del self.holders[job.id]

    @rule(job=held)
    def beat(self, job: JobRow) -> None:
        lost = self.bench.ledger.claims.beat(job, "stage", 0.5) is Signal.LOST
        assert lost == (self.holders.get(job.id) != job.claim_id)

    @rule(job=held)
    def die(self, job: JobRow) -> None:
        """The holder is gone; everybody else's heart beats on."""
        for ledger in self.ledgers:
            ledger.claims.recover()
        for _ in range(2):
            self.bench.advance(16.0)
            for other in self.running():
                if other.id != job.id or self.holders.get(job.id) != job.claim_id:
                    self.bench.ledger.claims.beat(other)
            for ledger in self.ledgers:
                ledger.claims.recover()
        if self.holders.get(job.id) == job.claim_id:
            assert self.bench.ledger.records.job(job.id).claim_id != job.claim_id
            del self.holders[job.id]

    @rule(who=st.integers(0, 1))
    def restart(self, who: int) -> None:
        """kill -9 and a new process under the same name."""
        name = "orthanc" if who == 0 else "other"
        mine = [job.id for job in self.running() if job.instance == name]
        self.ledgers[who].close()
        self.ledgers[who] = self.bench.open(name)
        if who == 0:
            self.bench.ledger = self.ledgers[0]
        self.ledgers[who].claims.recover(mine=True)
        for job_id in mine:
            self.holders.pop(job_id, None)

    @rule(study=STUDIES)
    def cancel(self, study: str) -> None:
        for job in self.current(study):
            if job.state in (State.QUEUED, State.RUNNING):
                self.bench.ledger.requests.cancel(job.id)

    @rule(study=STUDIES)
    def retry(self, study: str) -> None:
        for job in self.current(study):
            if job.state in ENDED:
                assert self.bench.ledger.requests.retry(job.id).state is State.QUEUED

    @rule(study=STUDIES)
    def delete_study(self, study: str) -> None:
        self.bench.ledger.requests.study_deleted(study)

    @rule(seconds=st.sampled_from([1.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.bench.wall.advance(seconds)

    @rule(seconds=st.sampled_from([-86400.0, 86400.0]))
    def step_clock(self, seconds: float) -> None:
        self.bench.wall.advance(seconds)

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every study that was asked for has exactly one current row, and it is the one of the newest inputs."""
        for study in self.asked:
            [job] = self.current(study)
            assert job.fingerprint == self.wanted[study]

    @invariant()
    def one_of_each(self) -> None:
        for state in (State.RUNNING, State.STORED, State.QUEUED):
            studies = [job.study_id for job in self.bench.ledger.records.jobs(states=[state], limit=1000)]
            assert len(studies) == len(set(studies)), f"two {state} rows of one study"

    @invariant()
    def running_rows_are_the_held_ones(self) -> None:
        assert {job.id: job.claim_id for job in self.running()} == self.holders

    def running(self) -> list[JobRow]:
        return self.bench.ledger.records.jobs(states=[State.RUNNING], limit=1000)

    def current(self, study: str) -> list[JobRow]:
        return [job for job in self.bench.ledger.records.jobs(study_id=study) if job.current]


LedgerMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedgerMachine = LedgerMachine.TestCase
