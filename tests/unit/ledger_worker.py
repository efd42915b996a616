"""A process that works on a ledger: ``ledger_worker.py URL NAME hold | until-empty``; prints the jobs it holds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugin"))

from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import State
from enhancement.service.hold import Hold
from enhancement.settings import LedgerSettings, QueueSettings

WORK_S = 0.02


def main(url: str, name: str, mode: str, archive: str = "default") -> None:
    settings = LedgerSettings(url=url, busy_seconds=10.0, synchronous="NORMAL", archive_name=archive)
    queue = QueueSettings(lease_seconds=1.0, max_crashes=100, retry_initial_seconds=0.0, breaker_failures=1000)
    ledger = Ledger(settings, queue, instance=name)
    ledger.claims.recover(mine=True)
    waits = 0
    while waits < 20:
        job = ledger.claims.claim(name)
        if job is None:
            waits += 1
            time.sleep(0.05)
            continue
        waits = 0
        sys.stdout.write(f"{job.id}\n")
        sys.stdout.flush()
        with Hold(ledger.claims, job) as hold:
            while mode == "hold":
                hold.progress("holding", 0.5)
                time.sleep(0.1)
            time.sleep(WORK_S)
            hold.finish(State.STORED, result_uids=[f"1.2.{job.id}"])


if __name__ == "__main__":
    main(*sys.argv[1:])
