"""Order, waits, leases and the circuit breaker, under clocks that obey."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enhancement.errors import Problem
from enhancement.ledger.breaker import Circuit, Failure, judge
from enhancement.ledger.retry import backoff_s, crash_backoff_s
from enhancement.ledger.states import Code, Priority, Signal, State
from enhancement.settings import QueueSettings
from unit.ledger_support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "ledger.sqlite")


class TestOrder:
    def test_classes(self, bench: Bench) -> None:
        """Manual before STAT before routine before backfill, whatever came first."""
        for priority in reversed(Priority):
            bench.enqueue(priority.name, priority=priority)
            bench.advance(1.0)
        assert [bench.claim().study_id for _ in Priority] == ["MANUAL", "STAT", "ROUTINE", "BACKFILL"]

    def test_first_come_first_served_within_a_class(self, bench: Bench) -> None:
        """By the time of asking."""
        for study in "cab":
            bench.enqueue(study)
            bench.advance(1.0)
        assert [bench.claim().study_id for _ in range(3)] == ["c", "a", "b"]

    def test_waiting_lifts_a_job(self, tmp_path: Path) -> None:
        """After three spans of ageing the backfill goes before a new manual job: nothing starves."""
        bench = Bench(tmp_path / "l.sqlite", ageing_minutes=10.0)
        bench.enqueue("old", priority=Priority.BACKFILL)
        bench.advance(3 * 600.0 - 1.0)
        bench.enqueue("early", priority=Priority.MANUAL)
        bench.advance(2.0)
        bench.enqueue("late", priority=Priority.MANUAL)
        assert [bench.claim().study_id for _ in range(3)] == ["early", "old", "late"]

    def test_click_lifts_a_waiting_job(self, bench: Bench) -> None:
        """Asking by hand for a job that waits moves it to the front; asking again by machine moves nothing back."""
        bench.enqueue("first"), bench.enqueue("second")
        bench.enqueue("second", priority=Priority.MANUAL)
        bench.enqueue("second")
        assert bench.claim().study_id == "second"


class TestBackoff:
    @given(failures=st.integers(1, 60))
    def test_grows_and_is_bounded(self, failures: int) -> None:
        """Doubling from the first wait, jitter of half of it at most, never above the limit and its jitter."""
        settings = QueueSettings(retry_initial_seconds=8.0, retry_max_seconds=100.0)
        wait = backoff_s(failures, settings)
        assert min(100.0, 8.0 * 2 ** (failures - 1)) <= wait <= min(100.0, 8.0 * 2 ** (failures - 1)) + 4.0

    def test_first_crash_is_free(self) -> None:
        """Power fails; whoever comes back for more waits."""
        settings = QueueSettings(retry_initial_seconds=8.0)
        assert crash_backoff_s(1, settings) == 0.0
        assert crash_backoff_s(2, settings) >= 8.0

    def test_clock_set_back_does_not_hold_a_job(self, bench: Bench) -> None:
        """A backoff of seconds must not become one of a day."""
        bench.enqueue()
        bench.ledger.claims.finish(bench.claim(), State.FAILED, problem=Problem("ARCHIVE"))
        bench.wall.advance(-86400.0)
        assert bench.claim().attempts == 2


class TestLease:
    def test_silent_holder_loses_the_job(self, bench: Bench) -> None:
        """Another process watches the counter for the length of the lease, then takes the job back."""
        bench.enqueue()
        job = bench.claim()
        other = bench.open("other")
        assert other.claims.claim("gpu") is None
        bench.advance(29.0)
        assert other.claims.claim("gpu") is None
        bench.advance(2.0)
        taken = other.claims.claim("gpu")
        assert taken is not None
        assert (taken.id, taken.crashes, taken.instance) == (job.id, 1, "other")
        assert bench.ledger.claims.beat(job) is Signal.LOST
        [first, _] = bench.ledger.records.attempts(job.id)
        assert (first.outcome, first.problem.code) == (State.FAILED, Code.WORKER_DIED)

    def test_heartbeat_keeps_it(self, bench: Bench) -> None:
        """As long as the counter moves."""
        bench.enqueue()
        job = bench.claim()
        other = bench.open("other")
        for _ in range(10):
            assert other.claims.claim("gpu") is None
            bench.advance(20.0)
            assert bench.ledger.claims.beat(job, "ensemble", 0.5) is Signal.CONTINUE
        assert bench.ledger.records.job(job.id).stage == "ensemble"

    @pytest.mark.parametrize("step", [-86400.0, 86400.0])
    def test_wall_clock_takes_no_part(self, bench: Bench, step: float) -> None:
        """A clock set forward ends no living lease; one set back keeps no dead one."""
        bench.enqueue()
        job = bench.claim()
        other = bench.open("other")
        assert other.claims.claim("gpu") is None
        bench.wall.advance(step)
        assert other.claims.claim("gpu") is None
        assert bench.ledger.claims.beat(job) is Signal.CONTINUE
        assert other.claims.claim("gpu") is None
        bench.monotonic.advance(31.0)
        assert other.claims.claim("gpu") is not None

    def test_restarted_orthanc_takes_its_own_jobs_back_at_once(self, bench: Bench) -> None:
        """It knows that the process that held them is gone; another Orthanc's job is left alone."""
        bench.enqueue("mine"), bench.enqueue("theirs")
        mine = bench.claim()
        theirs = bench.open("other").claims.claim("gpu")
        restarted = bench.open()
        assert [job.id for job in restarted.claims.recover(mine=True)] == [mine.id]
        assert theirs is not None
        assert restarted.records.job(theirs.id).state is State.RUNNING

    def test_job_that_kills_its_process_ends_as_a_dead_letter(self, tmp_path: Path) -> None:
        """It must not bring the archive down for ever."""
        bench = Bench(tmp_path / "l.sqlite", max_crashes=3, retry_initial_seconds=1.0)
        bench.enqueue()
        for _ in range(3):
            bench.advance(100.0)
            bench.claim()
            [job] = bench.open().claims.recover(mine=True)
        assert (job.state, job.problem.code, job.crashes) == (State.FAILED, Code.WORKER_DIED, 3)

    def test_cancelled_job_of_a_dead_process_is_cancelled(self, bench: Bench) -> None:
        """Nobody was left to hear it."""
        bench.enqueue()
        job = bench.claim()
        bench.ledger.requests.cancel(job.id)
        [ended] = bench.ledger.claims.recover(mine=True)
        assert ended.state is State.CANCELLED


class TestBreaker:
    def _fail(self, bench: Bench, study: str, code: str = "WEIGHTS_MISSING") -> None:
        bench.enqueue(study)
        bench.ledger.claims.finish(bench.claim(), State.FAILED, problem=Problem(code))

    def test_opens_and_lets_one_try_after_the_pause(self, tmp_path: Path) -> None:
        """Five studies fail for one reason: stop, wait, try one, go on when it works."""
        bench = Bench(tmp_path / "l.sqlite", breaker_failures=5, breaker_pause_seconds=60.0, retry_initial_seconds=1e3)
        for study in "abcde":
            self._fail(bench, study)
        bench.enqueue("f"), bench.enqueue("g")
        breaker = bench.ledger.records.circuit()
        assert (breaker.circuit, breaker.code, breaker.failures) == (Circuit.OPEN, "WEIGHTS_MISSING", 5)
        assert bench.ledger.claims.claim("cpu") is None
        assert bench.open().claims.claim("cpu") is None, "a restart does not close it"
        bench.advance(61.0)
        probe = bench.claim()
        assert bench.ledger.claims.claim("second device") is None
        bench.ledger.claims.finish(probe, State.STORED)
        assert bench.ledger.records.circuit().circuit is Circuit.CLOSED
        assert bench.claim().study_id == "g"

    def test_failed_try_opens_it_again(self, tmp_path: Path) -> None:
        """For another pause."""
        bench = Bench(tmp_path / "l.sqlite", breaker_failures=2, breaker_pause_seconds=60.0, retry_initial_seconds=1e3)
        self._fail(bench, "a"), self._fail(bench, "b")
        bench.advance(61.0)
        self._fail(bench, "c")
        assert bench.ledger.records.circuit().circuit is Circuit.OPEN

    def test_other_orthanc_goes_on(self, tmp_path: Path) -> None:
        """One node's broken device is not the other's."""
        bench = Bench(tmp_path / "l.sqlite", breaker_failures=2, retry_initial_seconds=1e3)
        self._fail(bench, "a"), self._fail(bench, "b")
        bench.enqueue("c")
        assert bench.ledger.claims.claim("cpu") is None
        assert bench.open("other").claims.claim("cpu") is not None

    def test_one_bad_study_or_different_codes_open_nothing(self) -> None:
        """The breaker is for what all studies share."""
        settings = QueueSettings(breaker_failures=3)
        one_study = [Failure("a", "STAGE", 0.0)] * 5
        assert judge(one_study, settings, 1.0).circuit is Circuit.CLOSED
        mixed = [Failure(study, code, 0.0) for study, code in (("a", "X"), ("b", "Y"), ("c", "X"))]
        assert judge(mixed, settings, 1.0).circuit is Circuit.CLOSED

    def test_clock_set_back_does_not_keep_it_open(self) -> None:
        """The last failure seems to lie in the future: try."""
        settings = QueueSettings(breaker_failures=2)
        failures = [Failure("a", "X", 90000.0), Failure("b", "X", 89000.0)]
        assert judge(failures, settings, 0.0).circuit is Circuit.HALF_OPEN
