"""Real processes on one SQLite ledger: contention, and kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import Signal, State
from enhancement.settings import LedgerSettings, QueueSettings

WORKER = Path(__file__).parents[1] / "ledger_worker.py"


def _open(path: Path, lease_s: float = 1.0) -> Ledger:
    settings = LedgerSettings(url=f"sqlite:///{path}", busy_seconds=10.0, synchronous="NORMAL")
    return Ledger(settings, QueueSettings(lease_seconds=lease_s, max_crashes=100), instance="test")


def _worker(path: Path, name: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), f"sqlite:///{path}", name, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_contending_processes_share_the_work(tmp_path: Path) -> None:
    """Three processes and sixty jobs: every job is done by exactly one of them, each of them ends cleanly."""
    path = tmp_path / "ledger.sqlite"
    ledger = _open(path, lease_s=60.0)
    for number in range(60):
        ledger.requests.enqueue(f"study-{number}", "recipe", "inputs")
    workers = [_worker(path, name, "until-empty") for name in "abc"]
    done = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0] * 3
    assert sorted(int(job) for jobs in done for job in jobs) == sorted(job.id for job in ledger.records.jobs(limit=100))
    assert ledger.records.counts().by_state[State.STORED] == 60
    assert all(len(ledger.records.attempts(job.id)) == 1 for job in ledger.records.jobs(limit=100))


def test_killed_process_loses_its_job(tmp_path: Path) -> None:
    """SIGKILL while it holds a job: after the lease another takes the job up, and the attempt is on record."""
    path = tmp_path / "ledger.sqlite"
    ledger = _open(path)
    asked = ledger.requests.enqueue("study", "recipe", "inputs")
    worker = _worker(path, "victim", "hold")
    assert worker.stdout is not None
    assert int(worker.stdout.readline()) == asked.id
    deadline = time.monotonic() + 1.5
    while time.monotonic() < deadline:
        assert ledger.claims.claim("cpu") is None, "its heartbeat keeps the lease"
        time.sleep(0.1)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    deadline = time.monotonic() + 10.0
    while (job := ledger.claims.claim("cpu")) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert job is not None
    assert (job.id, job.crashes, job.attempts) == (asked.id, 1, 2)
    assert ledger.claims.beat(job) is Signal.CONTINUE


def test_killed_again_and_again(tmp_path: Path) -> None:
    """Twelve kills at any moment, in the middle of writing too: in the end every job is stored, none is damaged."""
    path = tmp_path / "ledger.sqlite"
    ledger = _open(path)
    for number in range(30):
        ledger.requests.enqueue(f"study-{number}", "recipe", "inputs")
    for kill in range(12):
        worker = _worker(path, "victim", "until-empty")
        time.sleep(0.5 + 0.13 * (kill % 7))
        worker.kill()
        worker.communicate()
    worker = _worker(path, "victim", "until-empty")
    assert worker.communicate(timeout=120)[0] is not None
    counts = ledger.records.counts().by_state
    assert (counts[State.STORED], sum(counts.values())) == (30, 30)
