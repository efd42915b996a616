"""The life of a job: asked for, claimed, ended, asked for again."""

from __future__ import annotations

from pathlib import Path

import pytest

from enhancement.errors import LedgerError, Problem
from enhancement.ledger.states import Code, Priority, Signal, State
from unit.ledger_support import RECIPE, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "ledger.sqlite")


class TestAsking:
    def test_asking_twice_makes_one_job(self, bench: Bench) -> None:
        """A double click, a resend and a restart all ask for the same row."""
        first, second = bench.enqueue(), bench.enqueue()
        assert first.id == second.id
        assert bench.ledger.records.counts().by_state[State.QUEUED] == 1

    def test_stored_job_is_not_done_again(self, bench: Bench) -> None:
        """Asking again for what is stored, automatically or by a click, is answered with the stored job."""
        stored = bench.store()
        assert bench.enqueue(priority=Priority.MANUAL).state is State.STORED
        assert bench.ledger.claims.claim("cpu") is None
        assert bench.enqueue(present={"1.2.3", "9"}).id == stored.id
        assert bench.ledger.claims.claim("cpu") is None

    def test_stored_job_whose_result_is_gone_is_done_again(self, bench: Bench) -> None:
        """The study was deleted and sent again while nobody listened."""
        bench.store()
        assert bench.enqueue(present={"9"}).state is State.QUEUED

    def test_force_does_it_again(self, bench: Bench) -> None:
        """A person may insist."""
        bench.store()
        assert bench.enqueue(force=True, priority=Priority.MANUAL).state is State.QUEUED

    def test_lost_ledger_adopts_what_is_stored(self, bench: Bench) -> None:
        """The archive holds the very series that this run would store: nothing is computed again."""
        job = bench.enqueue(expected=["1.2", "1.3"], present={"1.2", "1.3", "1.4"})
        assert (job.state, job.result_uids, job.origin) == (State.STORED, ("1.2", "1.3"), "adopted")

    def test_adopted_result_takes_the_place_of_the_stored_one(self, bench: Bench) -> None:
        """A job of half a series read the study when it was whole, and stored what the whole one's job would store."""
        first = bench.store(fingerprint="half", uid="1.2")
        job = bench.enqueue(fingerprint="whole", expected=["1.2"], present={"1.2"})
        assert job.state is State.STORED
        first = bench.ledger.records.job(first.id)
        assert (first.state, first.superseded_by, first.current) == (State.SUPERSEDED, job.id, False)

    def test_half_of_the_expected_results_is_no_result(self, bench: Bench) -> None:
        """One of two series is not the whole."""
        assert bench.enqueue(expected=["1.2", "1.3"], present={"1.2"}).state is State.QUEUED

    def test_rejected_job_is_repeated_by_hand_only(self, bench: Bench) -> None:
        """The same inputs would be refused again."""
        bench.enqueue()
        bench.ledger.claims.finish(bench.claim(), State.REJECTED, problem=Problem("GATE", "too few slices"))
        assert bench.enqueue().state is State.REJECTED
        assert bench.enqueue(priority=Priority.MANUAL).state is State.QUEUED

    def test_queue_has_an_end(self, tmp_path: Path) -> None:
        """What does not fit is refused with a code; it stays in the inbox."""
        bench = Bench(tmp_path / "l.sqlite", max_queued=2)
        bench.enqueue("a"), bench.enqueue("b")
        bench.ledger.inbox.notice("c")
        [arrival] = bench.ledger.inbox.waiting()
        with pytest.raises(LedgerError, match="2 jobs are waiting") as caught:
            bench.enqueue("c", arrival=arrival)
        assert caught.value.code == "QUEUE_FULL"
        assert [item.study_id for item in bench.ledger.inbox.waiting()] == ["c"]

    def test_refusal_without_a_job(self, bench: Bench) -> None:
        """An ambiguous study is refused at the look."""
        job = bench.ledger.requests.refuse(
            "study", RECIPE, "inputs", problem=Problem("AMBIGUOUS_MATCH", "two T1c", "choose")
        )
        assert (job.state, job.problem.code, job.problem.advice) == (State.REJECTED, "AMBIGUOUS_MATCH", "choose")


class TestNewInputs:
    def test_waiting_job_gives_way_at_once(self, bench: Bench) -> None:
        """Late slices arrive before the job ran: only the whole series is enhanced."""
        old = bench.enqueue(fingerprint="partial")
        new = bench.enqueue(fingerprint="whole")
        old = bench.ledger.records.job(old.id)
        assert (old.state, old.superseded_by, old.current) == (State.SUPERSEDED, new.id, False)
        assert bench.claim().id == new.id

    def test_stored_result_stays_until_the_new_one_is_stored(self, bench: Bench) -> None:
        """A reader never finds the study without a result in between."""
        old = bench.store(fingerprint="first", uid="1.1")
        bench.enqueue(fingerprint="second")
        assert bench.ledger.records.job(old.id).state is State.STORED
        finished = bench.ledger.claims.finish(bench.claim(), State.STORED, result_uids=["1.2"])
        assert bench.ledger.records.job(old.id).result_uids == ("1.1",)
        assert bench.ledger.records.job(old.id).superseded_by == finished.id

    def test_running_job_is_asked_to_stop(self, bench: Bench) -> None:
        """The outdated run ends as SUPERSEDED, the new inputs run after it, never beside it."""
        bench.enqueue(fingerprint="first")
        old = bench.claim()
        new = bench.enqueue(fingerprint="second")
        assert bench.ledger.claims.claim("other") is None
        assert bench.ledger.claims.beat(old) is Signal.CANCEL
        assert bench.ledger.claims.finish(old, State.CANCELLED).state is State.SUPERSEDED
        assert bench.claim().id == new.id

    def test_outdated_run_that_was_too_fast_to_stop(self, bench: Bench) -> None:
        """It stored its result before it noticed; the newer one supersedes it as ever."""
        bench.enqueue(fingerprint="first")
        old = bench.claim()
        bench.enqueue(fingerprint="second")
        assert bench.ledger.claims.finish(old, State.STORED, result_uids=["1.1"]).state is State.STORED
        finished = bench.ledger.claims.finish(bench.claim(), State.STORED, result_uids=["1.2"])
        assert bench.ledger.records.job(old.id).superseded_by == finished.id

    def test_outdated_run_does_not_push_the_newer_result_aside(self, bench: Bench) -> None:
        """The newer result was found in the archive while the outdated job still ran."""
        bench.enqueue(fingerprint="first")
        old = bench.claim()
        new = bench.enqueue(fingerprint="second", expected=["1.2"], present={"1.2"})
        finished = bench.ledger.claims.finish(old, State.STORED, result_uids=["1.1"])
        assert (finished.state, finished.superseded_by) == (State.SUPERSEDED, new.id)
        assert bench.ledger.records.job(new.id).state is State.STORED

    def test_outdated_run_does_not_come_back(self, bench: Bench) -> None:
        """Failed, stopped or dead: there are newer inputs."""
        bench.enqueue(fingerprint="first")
        old = bench.claim()
        bench.enqueue(fingerprint="second")
        assert bench.ledger.claims.release(old).state is State.SUPERSEDED

    def test_inputs_that_return(self, bench: Bench) -> None:
        """A series is deleted and sent again: the first inputs are the current ones again."""
        first = bench.store(fingerprint="first", uid="1.1")
        second = bench.store(fingerprint="second", uid="1.2")
        again = bench.store(fingerprint="first", uid="1.1")
        assert again.id == first.id
        assert bench.ledger.records.job(second.id).state is State.SUPERSEDED

    def test_inputs_that_return_before_the_others_ran(self, bench: Bench) -> None:
        """Nothing is left to do."""
        first = bench.store(fingerprint="first")
        bench.enqueue(fingerprint="second")
        assert bench.enqueue(fingerprint="first").id == first.id
        assert bench.ledger.claims.claim("cpu") is None
        assert bench.ledger.records.job(first.id).state is State.STORED

    def test_inputs_that_return_while_they_run(self, bench: Bench) -> None:
        """The request to stop is taken back."""
        bench.enqueue(fingerprint="first")
        job = bench.claim()
        bench.enqueue(fingerprint="second")
        bench.enqueue(fingerprint="first")
        assert bench.ledger.claims.beat(job) is Signal.CONTINUE


class TestEnding:
    def test_failed_attempt_waits_and_is_repeated(self, bench: Bench) -> None:
        """Each attempt is on record with reason and advice."""
        bench.enqueue()
        job = bench.claim()
        job = bench.ledger.claims.finish(job, State.FAILED, problem=Problem("ARCHIVE", "no answer", "wait"))
        assert (job.state, job.failures, job.problem.reason) == (State.QUEUED, 1, "no answer")
        assert bench.ledger.claims.claim("cpu") is None
        bench.advance(16.0)
        assert bench.claim().attempts == 2
        [first, second] = bench.ledger.records.attempts(job.id)
        assert (first.outcome, first.problem.code, first.problem.advice) == (State.FAILED, "ARCHIVE", "wait")
        assert second.outcome is None

    def test_attempts_run_out(self, tmp_path: Path) -> None:
        """Then it is a dead letter, and only a person takes it up again."""
        bench = Bench(tmp_path / "l.sqlite", max_attempts=3, retry_initial_seconds=1.0)
        bench.enqueue()
        for _ in range(3):
            bench.advance(100.0)
            job = bench.ledger.claims.finish(bench.claim(), State.FAILED, problem=Problem("STAGE", "no"))
        assert job.state is State.FAILED
        assert bench.enqueue().state is State.FAILED
        job = bench.ledger.requests.retry(job.id, by="admin")
        assert (job.state, job.failures, job.priority, job.requested_by) == (State.QUEUED, 0, Priority.MANUAL, "admin")

    def test_final_failure_is_not_repeated(self, bench: Bench) -> None:
        """Altered weights do not heal."""
        bench.enqueue()
        assert (
            bench.ledger.claims.finish(bench.claim(), State.FAILED, problem=Problem("X"), final=True).state
            is State.FAILED
        )

    def test_dead_letters_of_one_cause_are_requeued_together(self, bench: Bench) -> None:
        """After the weights were installed again."""
        for study in "abc":
            bench.enqueue(study)
            bench.ledger.claims.finish(
                bench.claim(), State.FAILED, problem=Problem("WEIGHTS_MISMATCH" if study != "c" else "X"), final=True
            )
        assert bench.ledger.requests.retry_all("WEIGHTS_MISMATCH") == 2
        assert sorted(job.study_id for job in bench.ledger.records.jobs(states=[State.QUEUED])) == ["a", "b"]

    def test_clean_stop_counts_no_attempt(self, bench: Bench) -> None:
        """Orthanc stops: the job is back in the queue at once."""
        bench.enqueue()
        job = bench.ledger.claims.release(bench.claim())
        assert (job.state, job.failures, job.crashes) == (State.QUEUED, 0, 0)
        assert bench.claim().id == job.id

    def test_only_the_holder_ends_a_job(self, bench: Bench) -> None:
        """A worker that was written off cannot end the job of its successor."""
        bench.enqueue()
        stale = bench.claim()
        bench.ledger.claims.release(stale)
        bench.claim()
        assert bench.ledger.claims.beat(stale) is Signal.LOST
        with pytest.raises(LedgerError) as caught:
            bench.ledger.claims.finish(stale, State.STORED)
        assert caught.value.code == "LEASE_LOST"

    def test_audit_and_results_are_kept(self, bench: Bench) -> None:
        """The ledger holds the audit record besides the study's attachment."""
        bench.enqueue(model_digest="abc")
        job = bench.claim()
        job = bench.ledger.claims.finish(job, State.STORED, result_uids=["1.2", "1.3"], audit={"versions": {"x": 1}})
        assert job.audit == {"versions": {"x": 1}}
        assert [row.id for row in bench.ledger.records.made("abc")] == [job.id]


class TestPeople:
    def test_cancel_while_waiting(self, bench: Bench) -> None:
        """It stays cancelled when the study becomes stable again, and comes back by hand."""
        job = bench.ledger.requests.cancel(bench.enqueue().id, by="reader")
        assert (job.state, job.problem.reason) == (State.CANCELLED, "cancelled by reader")
        assert bench.enqueue().state is State.CANCELLED
        assert bench.enqueue(priority=Priority.MANUAL).state is State.QUEUED

    def test_cancel_while_running(self, bench: Bench) -> None:
        """The worker learns it from its next heartbeat."""
        bench.enqueue()
        job = bench.claim()
        bench.ledger.requests.cancel(job.id, by="reader")
        assert bench.ledger.claims.beat(job) is Signal.CANCEL
        ended = bench.ledger.claims.finish(job, State.CANCELLED)
        assert (ended.state, ended.problem.code) == (State.CANCELLED, Code.CANCELLED)

    def test_cancel_what_has_ended(self, bench: Bench) -> None:
        """Refused with the state."""
        job = bench.store()
        with pytest.raises(LedgerError, match="is STORED") as caught:
            bench.ledger.requests.cancel(job.id)
        assert caught.value.code == "WRONG_STATE"

    def test_unknown_job(self, bench: Bench) -> None:
        """A number out of nowhere, or of another archive on the same database."""
        job = bench.enqueue()
        other = bench.open(archive_name="elsewhere")
        for ledger, number in ((bench.ledger, 999), (other, job.id)):
            with pytest.raises(LedgerError) as caught:
                ledger.records.job(number)
            assert caught.value.code == "NO_SUCH_JOB"

    def test_pause_and_resume(self, bench: Bench) -> None:
        """Written down: a restart does not resume."""
        bench.enqueue()
        bench.ledger.marks.pause(by="admin", reason="update")
        assert bench.open().claims.claim("cpu") is None
        assert bench.ledger.marks.paused() == {"by": "admin", "reason": "update"}
        bench.ledger.marks.resume()
        assert bench.claim().state is State.RUNNING


class TestDeletion:
    def test_study_deleted_while_it_waits(self, bench: Bench) -> None:
        """Nothing waits for what is gone."""
        bench.ledger.inbox.notice("study")
        bench.enqueue()
        bench.ledger.requests.study_deleted("study")
        assert bench.ledger.claims.claim("cpu") is None
        assert bench.ledger.inbox.waiting() == []

    def test_study_deleted_while_it_runs_and_sent_again(self, bench: Bench) -> None:
        """The running job stops; the study that came back is enhanced."""
        bench.enqueue()
        job = bench.claim()
        bench.ledger.requests.study_deleted("study")
        assert bench.ledger.claims.beat(job) is Signal.CANCEL
        assert bench.ledger.claims.finish(job, State.CANCELLED).problem.code == Code.STUDY_DELETED
        assert bench.enqueue().state is State.QUEUED

    def test_study_deleted_after_it_was_stored_and_sent_again(self, bench: Bench) -> None:
        """Its result went with it, and is made again."""
        bench.store()
        bench.ledger.requests.study_deleted("study")
        assert bench.enqueue().state is State.QUEUED

    def test_result_removed_by_a_person(self, bench: Bench) -> None:
        """It does not come back by itself."""
        bench.store(uid="1.5")
        [job] = bench.ledger.requests.result_deleted("study", "1.5")
        assert (job.state, job.problem.code) == (State.CANCELLED, Code.RESULT_DELETED)
        assert bench.enqueue(present=set()).state is State.CANCELLED
        assert bench.enqueue(priority=Priority.MANUAL).state is State.QUEUED


class TestInbox:
    def test_arrival_survives_until_it_is_answered(self, bench: Bench) -> None:
        """Looking twice at a study is one arrival; its answer removes it."""
        bench.ledger.inbox.notice("study")
        bench.ledger.inbox.notice("study", priority=Priority.MANUAL, origin="manual", requested_by="reader")
        [arrival] = bench.open().inbox.waiting()
        assert (arrival.priority, arrival.origin, arrival.requested_by) == (Priority.MANUAL, "manual", "reader")
        bench.enqueue(arrival=arrival)
        assert bench.ledger.inbox.waiting() == []

    def test_reason_that_comes_during_the_look_is_not_lost(self, bench: Bench) -> None:
        """A late series arrives between reading the headers and writing the job."""
        bench.ledger.inbox.notice("study")
        [arrival] = bench.ledger.inbox.waiting()
        bench.ledger.inbox.notice("study")
        bench.enqueue(arrival=arrival)
        assert len(bench.ledger.inbox.waiting()) == 1

    def test_incomplete_study_is_reported_until_it_is_complete(self, bench: Bench) -> None:
        """With what is missing, and since when."""
        problem = Problem("MISSING_ROLE", "no contrast-enhanced T1")
        for missing in (["T1C"], ["T1C", "T1"]):
            bench.advance(60.0)
            bench.ledger.requests.refuse("study", RECIPE, "inputs", problem=problem, missing=missing)
        [study] = bench.ledger.inbox.incomplete()
        assert (study.missing, study.checked_at - study.since) == (("T1C", "T1"), 60.0)
        bench.enqueue()
        assert bench.ledger.inbox.incomplete() == []

    def test_postponed_look(self, bench: Bench) -> None:
        """The archive did not answer: later."""
        bench.ledger.inbox.notice("study")
        [arrival] = bench.ledger.inbox.waiting()
        bench.ledger.inbox.postpone(arrival, 30.0)
        assert bench.ledger.inbox.waiting() == []
        bench.advance(31.0)
        assert bench.ledger.inbox.waiting()[0].looks == 1
