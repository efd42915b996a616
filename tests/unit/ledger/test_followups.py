"""What follows a stored result: written down with it, done once, by whoever is alive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError
from enhancement.ledger.states import Code, State
from enhancement.service.deliveries import Deliveries
from enhancement.settings import DeliverySettings
from unit.ledger_support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "ledger.sqlite")


def _store(bench: Bench, study: str = "study") -> int:
    bench.enqueue(study)
    return bench.ledger.claims.finish(
        bench.claim(), State.STORED, result_uids=["1.2"], archive_ids={"abc": "1.2"}
    ).job.id


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
        bench.ledger.claims.finish(bench.claim(), State.REJECTED, code="GATE")
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
        assert bench.open().followups.result("abc") == "1.2"
        assert bench.open().followups.result("of somebody else") is None

    def test_the_series_of_a_deleted_study_were_not_unwanted(self, bench: Bench) -> None:
        """The archive reports them deleted one by one before the study; sent again, it is done again."""
        _store(bench)
        bench.ledger.requests.result_deleted("1.2")
        bench.ledger.requests.study_deleted("study")
        assert bench.enqueue().state is State.QUEUED

    def test_what_was_withdrawn_stays_away_though_the_study_comes_back(self, bench: Bench) -> None:
        _store(bench)
        bench.ledger.requests.result_deleted("1.2", code=Code.WITHDRAWN)
        bench.ledger.requests.study_deleted("study")
        assert bench.enqueue().state is State.CANCELLED


class Sender:
    """Orthanc's job engine, as far as a delivery asks it."""

    takes_archives = True

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.state = "Running"

    def post(self, uri: str, _body: bytes) -> bytes:
        self.sent.append(uri)
        return json.dumps({"ID": f"job-{len(self.sent)}"}).encode()

    def get(self, uri: str) -> bytes:
        number = uri.removeprefix("/jobs/job-")
        if not number.isdigit() or int(number) > len(self.sent):
            raise ArchiveError("no such job", status=404)
        return json.dumps({"State": self.state, "ErrorDescription": "refused"}).encode()

    def put(self, uri: str, body: bytes) -> bytes:
        raise NotImplementedError

    def delete(self, uri: str) -> None:
        raise NotImplementedError


class TestDeliveries:
    def _open(self, bench: Bench, sender: Sender, instance: str) -> Deliveries:
        settings = DeliverySettings(destinations=("pacs",), max_attempts=3)
        archive = OrthancArchive(sender)
        return Deliveries(bench.ledger.database, "default", archive, settings, instance=instance, clock=bench.wall)

    def _of(self, deliveries: Deliveries, job_id: int) -> tuple[str, int]:
        [row] = deliveries.of_job(job_id)
        return str(row["state"]), int(row["attempts"])

    def _pair(self, bench: Bench) -> tuple[int, Sender, Deliveries, Sender, Deliveries]:
        job_id = _store(bench)
        one, two = Sender(), Sender()
        first, second = self._open(bench, one, "a"), self._open(bench, two, "b")
        first.add(job_id, ["abc"])
        second.add(job_id, ["abc"])
        return job_id, one, first, two, second

    def test_two_orthancs_send_it_once(self, bench: Bench) -> None:
        """The other does not know the first one's job, and must not take that for a failure."""
        job_id, one, first, two, second = self._pair(bench)
        first.step()
        for _ in range(10):
            bench.advance(5.0)
            second.step()
            first.step()
        assert (one.sent, two.sent) == (["/modalities/pacs/store"], [])
        one.state = "Success"
        bench.advance(5.0)
        second.step()
        first.step()
        assert self._of(first, job_id) == ("DELIVERED", 0)

    def test_the_other_takes_over_when_the_first_is_silent(self, bench: Bench) -> None:
        job_id, one, first, two, second = self._pair(bench)
        first.step()
        bench.advance(400.0)
        second.step()
        bench.advance(400.0)
        second.step()
        assert (len(one.sent), len(two.sent)) == (1, 1)
        assert self._of(second, job_id) == ("SENDING", 1)

    def test_a_clock_set_back_delays_nothing(self, bench: Bench) -> None:
        """By a day, between two attempts."""
        job_id, one, first, _two, _second = self._pair(bench)
        first.step()
        one.state = "Failure"
        bench.advance(5.0)
        first.step()
        assert self._of(first, job_id) == ("WAITING", 1)
        bench.wall.advance(-86400.0)
        first.step()
        assert len(one.sent) == 2

    def test_is_given_up_in_the_end(self, bench: Bench) -> None:
        job_id, one, first, _two, _second = self._pair(bench)
        one.state = "Failure"
        for _ in range(6):
            first.step()
            bench.advance(600.0)
        assert self._of(first, job_id) == ("FAILED", 3)
