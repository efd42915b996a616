"""The ledger on a real PostgreSQL server: the same model, real contention, kill -9, a server that goes away."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from enhancement.errors import LedgerError
from enhancement.ledger.states import State
from unit.ledger.test_machine import LedgerMachine
from unit.ledger_support import RECIPE, Bench
from unit.postgres_server import PostgresServer, find_binaries, postgres_server

pytestmark = pytest.mark.skipif(find_binaries() is None, reason="PostgreSQL is not installed")

WORKER = Path(__file__).parents[1] / "unit" / "ledger_worker.py"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


def _bench(server: PostgresServer, **queue: Any) -> Bench:
    """A ledger of its own on the shared server."""
    return Bench(server.url, archive_name=uuid.uuid4().hex, **queue)


def _worker(bench: Bench, name: str, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), bench.url, name, mode, bench.archive_name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_model(server: PostgresServer) -> None:
    """The state machine of the SQLite tests: two Orthancs on one ledger, whatever the order."""

    class PostgresMachine(LedgerMachine):
        def make_bench(self, **queue: Any) -> Bench:
            return _bench(server, **queue)

    run_state_machine_as_test(
        PostgresMachine,
        settings=settings(
            max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_one_request_from_many_places(server: PostgresServer) -> None:
    """Sixteen threads of two Orthancs ask for the same studies and inputs at once: one job each."""
    bench = _bench(server)
    ledgers = [bench.ledger, bench.open("other")]

    def ask(number: int) -> int:
        return ledgers[number % 2].requests.enqueue(f"study-{number % 4}", RECIPE, f"inputs-{number % 8 // 4}").id

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(160)))
    counts = bench.ledger.records.counts().by_state
    assert (counts[State.QUEUED], sum(counts.values())) == (4, 8)


def test_contending_processes_share_the_work(server: PostgresServer) -> None:
    """Two processes and sixty jobs: each is done once."""
    bench = _bench(server)
    for number in range(60):
        bench.enqueue(f"study-{number}")
    workers = [_worker(bench, name, "until-empty") for name in "ab"]
    done = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert len(done[0] + done[1]) == len(set(done[0] + done[1])) == 60
    assert bench.ledger.records.counts().by_state[State.STORED] == 60


def test_kills(server: PostgresServer) -> None:
    """Two workers, ten kills: in the end every job is stored exactly once, nothing waits, nothing runs."""
    bench = _bench(server)
    for number in range(40):
        bench.enqueue(f"study-{number}")
    for kill in range(5):
        workers = [_worker(bench, name, "until-empty") for name in "ab"]
        time.sleep(1.0 + 0.21 * kill)
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.communicate()
    assert _worker(bench, "a", "until-empty").communicate(timeout=120)[0] is not None
    assert _worker(bench, "b", "until-empty").communicate(timeout=120)[0] is not None
    counts = bench.ledger.records.counts().by_state
    assert (counts[State.STORED], sum(counts.values())) == (40, 40)


def test_server_that_goes_away(server: PostgresServer) -> None:
    """A call fails within seconds and says so without the password; when the server is back, work goes on."""
    bench = _bench(server)
    bench.enqueue()
    job = bench.claim()
    server.stop("immediate")
    started = time.monotonic()
    with pytest.raises(LedgerError) as caught:
        bench.ledger.claims.beat(job)
    assert caught.value.code == "LEDGER_UNREACHABLE"
    assert time.monotonic() - started < 5.0
    server.start()
    assert bench.ledger.claims.finish(job, State.STORED, result_uids=["1.2"]).state is State.STORED


def test_wait_for_a_lock_is_bounded(server: PostgresServer) -> None:
    """Somebody holds the row: give up after BusySeconds."""
    bench = _bench(server)
    job = bench.enqueue()
    impatient = bench.open(busy_seconds=0.3)
    with bench.ledger.database.write() as connection:
        connection.exec_driver_sql(f"SELECT id FROM enhancement_jobs WHERE id = {job.id} FOR UPDATE")
        started = time.monotonic()
        with pytest.raises(LedgerError) as caught:
            impatient.requests.cancel(job.id)
        assert caught.value.code == "LEDGER_BUSY"
        assert time.monotonic() - started < 3.0
    assert impatient.requests.cancel(job.id).state is State.CANCELLED


def test_processes_that_open_a_new_ledger_at_once(server: PostgresServer) -> None:
    """In an empty database: one creates the tables, the others wait for it."""
    subprocess.run(
        [str(find_binaries() / "psql"), server.url, "-q", "-c", "CREATE DATABASE fresh"],  # type: ignore[operator]
        check=True,
    )
    url = server.url.replace("/postgres?", "/fresh?")
    command = [sys.executable, str(WORKER), url, "a", "until-empty"]
    children = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(4)]
    assert [child.wait(60) for child in children] == [0] * 4
