"""The courier: each result is sent once to each destination, by whichever Orthanc is alive."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError
from enhancement.service.courier import Courier
from enhancement.settings import DeliverySettings
from unit.ledger_support import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "ledger.sqlite")


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


class TestCourier:
    def _open(self, bench: Bench, sender: Sender, instance: str) -> Courier:
        settings = DeliverySettings(destinations=("pacs",), max_attempts=3)
        return Courier(bench.ledger.deliveries, OrthancArchive(sender), settings, instance=instance)

    def _of(self, bench: Bench, job_id: int) -> tuple[str, int]:
        [row] = bench.ledger.deliveries.of_job(job_id)
        return str(row.state), row.attempts

    def _pair(self, bench: Bench) -> tuple[int, Sender, Courier, Sender, Courier]:
        job_id = bench.store().id
        one, two = Sender(), Sender()
        first, second = self._open(bench, one, "a"), self._open(bench, two, "b")
        for ledger in (bench.ledger, bench.open("b")):
            ledger.deliveries.add(job_id, "pacs", ["abc"])
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
        assert self._of(bench, job_id) == ("DELIVERED", 0)

    def test_the_other_takes_over_when_the_first_is_silent(self, bench: Bench) -> None:
        job_id, one, first, two, second = self._pair(bench)
        first.step()
        bench.advance(400.0)
        second.step()
        bench.advance(400.0)
        second.step()
        assert (len(one.sent), len(two.sent)) == (1, 1)
        assert self._of(bench, job_id) == ("SENDING", 1)

    def test_a_clock_set_back_delays_nothing(self, bench: Bench) -> None:
        """By a day, between two attempts."""
        job_id, one, first, _two, _second = self._pair(bench)
        first.step()
        one.state = "Failure"
        bench.advance(5.0)
        first.step()
        assert self._of(bench, job_id) == ("WAITING", 1)
        bench.wall.advance(-86400.0)
        first.step()
        assert len(one.sent) == 2

    def test_is_given_up_in_the_end(self, bench: Bench) -> None:
        job_id, one, first, _two, _second = self._pair(bench)
        one.state = "Failure"
        for _ in range(6):
            first.step()
            bench.advance(600.0)
        assert self._of(bench, job_id) == ("FAILED", 3)
        assert bench.ledger.deliveries.counts() == {"pending": 0, "failed": 1}
