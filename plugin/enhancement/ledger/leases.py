"""Leases: who works on a job, and how others learn that nobody does any more.

A holder raises a counter in the row. Everybody else watches that counter with their own monotonic clock: a lease
has ended when its counter stood still for the lease's length. No wall clock takes part, so a clock that is set
forward or back neither ends a living lease nor keeps a dead one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import structlog
from tenacity import Retrying, retry_if_exception, stop_after_delay, stop_any, stop_when_event_set, wait_exponential

from enhancement.errors import Cancelled, LedgerError
from enhancement.ledger.states import Finished, JobRow, Signal, State

_PASSING = frozenset({"LEDGER_BUSY", "LEDGER_FULL", "LEDGER_UNREACHABLE", "LEDGER_UNWRITABLE"})

if TYPE_CHECKING:
    from enhancement.ledger.ledger import Ledger

log = structlog.get_logger("enhancement.ledger")


class LeaseWatch:
    """Remember when each running job's counter was last seen to move."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[str | None, int, float]] = {}
        self._lock = threading.Lock()

    def expired(self, running: Iterable[JobRow]) -> list[JobRow]:
        """The jobs among all running ones whose holder has been silent for the length of its lease."""
        now = self._clock()
        silent = []
        seen = {}
        with self._lock:
            for job in running:
                claim_id, beat, since = self._seen.get(job.id, (None, -1, now))
                if (claim_id, beat) != (job.claim_id, job.beat):
                    since = now
                seen[job.id] = (job.claim_id, job.beat, since)
                if now - since >= job.lease_s:
                    silent.append(job)
            self._seen = seen
        return silent


class Hold:
    """Keep a claimed job's lease alive from a thread of its own, for as long as the claiming thread lives.

    Use it as a context around the work, and call `progress` from it::

        with Hold(ledger, job) as hold:
            enhance(..., progress=hold.progress)

    A worker thread that died without leaving the context stops the heartbeat, and the job is taken up again.
    A ledger that cannot be reached for a while is tried again; the lease may then be lost, which `progress`
    and `Ledger.finish` notice.
    """

    def __init__(self, ledger: Ledger, job: JobRow, *, stop: threading.Event | None = None) -> None:
        self.signal = Signal.CONTINUE
        self._ledger = ledger
        self._job = job
        self._stop = stop or threading.Event()
        self._done = threading.Event()
        self._owner = threading.current_thread()
        self._progress = ("", 0.0)
        self._thread = threading.Thread(target=self._keep, name=f"lease-{job.id}", daemon=True)

    def __enter__(self) -> Hold:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5.0)

    def progress(self, stage: str, fraction: float) -> None:
        """Report where the work is; the heartbeat writes it down.

        Raises
        ------
        Cancelled
            With code CANCELLED, LEASE_LOST (another worker has the job) or STOPPING (Orthanc stops).
        """
        self._progress = (stage, fraction)
        if self._stop.is_set():
            raise Cancelled("Orthanc stops; the job goes on after the next start", code="STOPPING")
        if self.signal is Signal.LOST:
            raise Cancelled("another worker has taken this job over", code="LEASE_LOST")
        if self.signal is Signal.CANCEL:
            raise Cancelled("the job was cancelled")

    def finish(self, state: State, *, patience_s: float = 300.0, **words: Any) -> Finished:
        """`Ledger.finish`, tried again while the ledger is locked, full or out of reach and the lease is alive."""
        patient = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_any(stop_after_delay(patience_s), stop_when_event_set(self._stop)),
            wait=wait_exponential(multiplier=0.2, max=5.0),
            reraise=True,
        )
        finished: Finished = patient(self._ledger.finish, self._job, state, **words)
        self._done.set()
        return finished

    def _keep(self) -> None:
        # A cancellation should be felt within two seconds; a lease must survive a few beats that fail.
        interval = min(2.0, self._job.lease_s / 4)
        while not self._done.wait(interval) and self._owner.is_alive():
            try:
                self.signal = self._ledger.beat(self._job, *self._progress)
            except LedgerError as error:
                log.warning("no heartbeat", job=self._job.id, code=error.code)
            if self.signal is Signal.LOST:
                return


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, LedgerError) and error.code in _PASSING
