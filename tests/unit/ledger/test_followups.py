"""What follows a stored result: written down with it, done once, by whoever is alive."""

from __future__ import annotations

from pathlib import Path

import pytest

from enhancement.errors import Problem
from enhancement.ledger.states import Code, State
from unit.ledger_support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "ledger.sqlite")


def _store(bench: Bench, study: str = "study") -> int:
    bench.enqueue(study)
    return bench.ledger.claims.finish(bench.claim(), State.STORED, result_uids=["1.2"], archive_ids={"abc": "1.2"}).id


class TestFollowups:
    def test_is_there_as_soon_as_the_result_is(self, bench: Bench) -> None:
        """A process that dies right after storing leaves it to the next one."""
        job_id = _store(bench)
        again = bench.open()
        assert again.followups.due() == [job_id]
        assert again.followups.series(job_id) == ["abc"]
        again.followups.done(job_id)
        assert bench.ledger.followups.due() == []

    def test_only_a_stored_result_has_one(self, bench: Bench) -> None:
        bench.enqueue()
        bench.ledger.claims.finish(bench.claim(), State.REJECTED, problem=Problem("GATE"))
        assert bench.ledger.followups.due() == []

    def test_the_partner_takes_over_what_was_left_behind(self, bench: Bench) -> None:
        """Not at once: the one that stored it is about to do it."""
        job_id = _store(bench)
        partner = bench.open("partner")
        assert partner.followups.due() == []
        bench.advance(61.0)
        assert partner.followups.due() == [job_id]

    def test_a_deleted_series_is_known_by_the_name_that_the_archive_gives_it(self, bench: Bench) -> None:
        """Also to a process that did not store it."""
        _store(bench)
        assert bench.open().followups.result("abc") == ("study", "1.2")
        assert bench.open().followups.result("of somebody else") is None

    def test_the_series_of_a_deleted_study_were_not_unwanted(self, bench: Bench) -> None:
        """The archive reports them deleted one by one before the study; sent again, it is done again."""
        _store(bench)
        bench.ledger.requests.result_deleted("study", "1.2")
        bench.ledger.requests.study_deleted("study")
        assert bench.enqueue().state is State.QUEUED

    def test_a_study_of_the_same_uids_keeps_its_result(self, bench: Bench) -> None:
        """It came under a wrong PatientID first, and that study was deleted."""
        _store(bench, "wrong")
        bench.enqueue("right", present={"1.2"}, expected=["1.2"])
        [job] = bench.ledger.requests.result_deleted("wrong", "1.2")
        assert job.study_id == "wrong"
        [kept] = bench.ledger.records.jobs(study_id="right")
        assert kept.state is State.STORED

    def test_what_was_withdrawn_stays_away_though_the_study_comes_back(self, bench: Bench) -> None:
        _store(bench)
        bench.ledger.requests.result_deleted("study", "1.2", code=Code.WITHDRAWN)
        bench.ledger.requests.study_deleted("study")
        assert bench.enqueue().state is State.CANCELLED
