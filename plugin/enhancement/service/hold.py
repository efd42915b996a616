"""A worker's hold on the job that it claimed."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import structlog
from tenacity import Retrying, retry_if_exception, stop_after_delay, stop_any, stop_when_event_set, wait_exponential

from enhancement.errors import Cancelled, LedgerError
from enhancement.ledger.claims import Claims
from enhancement.ledger.states import JobRow, Signal, State

log = structlog.get_logger("enhancement.worker")

# Faults of the ledger that may be over in a moment.
_PASSING = frozenset({"LEDGER_BUSY", "LEDGER_FULL", "LEDGER_UNREACHABLE", "LEDGER_UNWRITABLE"})


class Hold:
    """Keeps a claimed job's lease alive from a thread of its own.

    Use it as a context around the work, and report progress to it::

        with Hold(ledger.claims, job) as hold:
            enhance(..., progress=hold.progress)

    The heartbeat stops when the working thread dies, even if it never leaves the context. The job is then taken up
    again. A heartbeat that fails, because the ledger is out of reach, is tried again. The lease may be lost meanwhile;
    `progress` and `finish` then say so.
    """

    def __init__(self, claims: Claims, job: JobRow, *, stop: threading.Event | None = None) -> None:
        self.signal = Signal.CONTINUE
        self._claims = claims
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

    def finish(self, state: State, *, patience_s: float = 300.0, **words: Any) -> JobRow:
        """`Claims.finish`, tried again while the ledger is locked, full or out of reach and the lease is alive."""
        patient = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_any(stop_after_delay(patience_s), stop_when_event_set(self._stop)),
            wait=wait_exponential(multiplier=0.2, max=5.0),
            reraise=True,
        )
        ended: JobRow = patient(self._claims.finish, self._job, state, **words)
        self._done.set()
        return ended

    def _keep(self) -> None:
        # A cancellation should be felt within two seconds; a lease must survive a few beats that fail.
        interval = min(2.0, self._job.lease_s / 4)
        while not self._done.wait(interval) and self._owner.is_alive():
            try:
                self.signal = self._claims.beat(self._job, *self._progress)
            except LedgerError as error:
                log.warning("no heartbeat", job=self._job.id, code=error.code)
            if self.signal is Signal.LOST:
                return


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, LedgerError) and error.code in _PASSING
