"""Ledgers for tests: a file of their own, clocks that obey."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import JobRow, State
from enhancement.settings import LedgerSettings, QueueSettings

RECIPE = "t1c-pro"


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Bench:
    """A ledger on a file, and others on the same file, under one wall clock and one monotonic clock."""

    def __init__(self, url: str | Path, *, archive_name: str = "default", **queue: Any) -> None:
        self.url = url if isinstance(url, str) else f"sqlite:///{url}"
        self.queue = QueueSettings(**({"retry_initial_seconds": 10.0, "lease_seconds": 30.0} | queue))
        self.archive_name = archive_name
        self.wall = Clock()
        self.monotonic = Clock(1000.0)
        self.ledger = self.open()

    def open(self, instance: str = "orthanc", **settings: Any) -> Ledger:
        return Ledger(
            # NORMAL: no fsync at every commit; what it may lose at a power cut is not what these tests are about.
            LedgerSettings(url=self.url, **({"synchronous": "NORMAL", "archive_name": self.archive_name} | settings)),
            self.queue,
            instance=instance,
            clock=self.wall,
            monotonic=self.monotonic,
        )

    def advance(self, seconds: float) -> None:
        self.wall.advance(seconds)
        self.monotonic.advance(seconds)

    def enqueue(self, study: str = "study", fingerprint: str = "inputs", **words: Any) -> JobRow:
        return self.ledger.requests.enqueue(study, RECIPE, fingerprint, **words)

    def claim(self) -> JobRow:
        job = self.ledger.claims.claim("cpu")
        assert job is not None, "nothing to claim"
        return job

    def store(self, study: str = "study", fingerprint: str = "inputs", uid: str = "1.2.3") -> JobRow:
        self.enqueue(study, fingerprint)
        return self.ledger.claims.finish(self.claim(), State.STORED, result_uids=[uid])
