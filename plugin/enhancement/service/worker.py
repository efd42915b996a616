"""The worker: one thread for each device, which claims a job, does it, and says how it ended.

No job can end the thread. Whatever a job raises becomes the job's state and its problem.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import (
    ArchiveError,
    Cancelled,
    EnhancementError,
    InputError,
    JobTimeout,
    LedgerError,
    OutOfMemory,
    Problem,
    WeightsMismatch,
    WeightsMissing,
)
from enhancement.host.base import THREAD_NAME
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import JobRow, State
from enhancement.recipes.offer import Offer
from enhancement.service.executors.in_process import check_room, process
from enhancement.service.health import Health, Light
from enhancement.service.hold import Hold
from enhancement.service.models import Models
from enhancement.settings import Settings

if TYPE_CHECKING:
    from enhancement.pipeline.publish import Outcome

log = structlog.get_logger("enhancement.worker")

IDLE_S = 1.0
LEDGER_RETRY_S = 5.0
STUCK_FACTOR = 1.5

# Errors that no second try can mend: a person has to act, then retry by hand.
_FINAL = (WeightsMissing, WeightsMismatch)
_GONE = frozenset({"STUDY_GONE", "SOURCE_GONE", "SERIES_GONE"})


class _Interrupted(SystemExit):
    """Ends the job under way because Orthanc stops. No `except Exception` catches it."""


class Worker:
    """Works through the ledger's jobs on one device.

    Parameters
    ----------
    storage : Path
        Orthanc's storage folder; without room there a job does not begin.
    stored : callable
        Told of every stored result, after the ledger has it.
    """

    def __init__(
        self,
        name: str,
        *,
        ledger: Ledger,
        archive: OrthancArchive,
        models: Models,
        recipes: Offer,
        settings: Settings,
        health: Health,
        stop: threading.Event,
        storage: Path,
        stored: Callable[[Outcome], None],
    ) -> None:
        self.name = name
        self.current: tuple[JobRow, float] | None = None
        self.progress: tuple[str, float] = ("", 0.0)
        self._ledger = ledger
        self._archive = archive
        self._models = models
        self._recipes = recipes
        self._settings = settings
        self._health = health
        self._stop = stop
        self._storage = storage
        self._stored = stored
        self._wake = threading.Event()
        self._thread = self._make_thread()

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There may be a new job."""
        self._wake.set()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread ended in time."""
        self._wake.set()
        if self._thread.ident is not None:  # never started where enhancement is switched off
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def interrupt(self) -> None:
        """End the job under way wherever it is, as soon as the thread is back in Python.

        For a stop that does not wait: registration and the networks ask for it only every few seconds. A job may be
        ended anywhere, since Orthanc may be killed anywhere.
        """
        if self.current is not None and self._thread.is_alive():
            ident = ctypes.c_ulong(self._thread.ident or 0)
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(_Interrupted))

    def supervise(self) -> None:
        """Replace a thread that died; report one that no longer comes back to us."""
        if not self._thread.is_alive() and not self._stop.is_set() and self._thread.ident is not None:
            log.error("worker thread died and is replaced", worker=self.name)
            self.current = None
            self._thread = self._make_thread()
            self._thread.start()
        current = self.current
        limit = self._settings.limits.job_seconds * STUCK_FACTOR
        part = f"worker {self.name}"
        if current is not None and time.monotonic() - current[1] > limit:
            reason = f"job {current[0].id} has run for more than {limit:.0f} s and does not react"
            advice = "Restart Orthanc; the job is taken up again."
            self._health.report(part, Light.RED, Problem("WORKER_STUCK", reason, advice))
        else:
            self._health.clear(part)

    def _make_thread(self) -> threading.Thread:
        return threading.Thread(target=self._run, name=f"{THREAD_NAME}-{self.name}", daemon=True)

    def _run(self) -> None:
        if self._settings.preload:
            self._preload()
        while not self._stop.is_set():
            try:
                job = self._ledger.claims.claim(self.name)
                self._health.clear("ledger")
                if job is not None:
                    self._work(job)
                else:
                    self._wake.wait(IDLE_S)
                    self._wake.clear()
            except LedgerError as error:
                self._health.report("ledger", Light.RED, error.problem)
                self._stop.wait(LEDGER_RETRY_S)
            except Exception as error:  # the worker's last frame: nothing may end the thread
                log.error("worker fault", worker=self.name, error=type(error).__name__, exc_info=True)
                self._stop.wait(LEDGER_RETRY_S)

    def _preload(self) -> None:
        for name in self._recipes.enabled:
            try:
                self._models.load(self._recipes.named(name))
            except Exception as error:  # reported as red by the models; every job will say it again
                log.warning("weights not ready", recipe=name, error=type(error).__name__, reason=str(error))

    def _work(self, job: JobRow) -> None:
        structlog.contextvars.bind_contextvars(job=job.id, study=job.study_id)
        started = time.monotonic()
        self.current, self.progress = (job, started), ("starting", 0.0)
        try:
            with Hold(self._ledger.claims, job, stop=self._stop) as hold:
                self._attempt(job, hold, started)
        finally:
            self.current = None
            structlog.contextvars.clear_contextvars()

    def _attempt(self, job: JobRow, hold: Hold, started: float) -> None:
        deadline = started + self._settings.limits.job_seconds

        def progress(stage: str, fraction: float) -> None:
            self.progress = (stage, fraction)
            hold.progress(stage, fraction)
            if time.monotonic() > deadline:
                raise JobTimeout(
                    f"the job was still in stage {stage!r} after {self._settings.limits.job_seconds:.0f} s"
                )

        try:
            check_room(self._settings, self._storage)
            outcome = process(
                job, self._archive, self._models, self._settings, progress, superseded=self._superseded(job)
            )
            hold.finish(
                State.STORED,
                result_uids=outcome.result_uids,
                archive_ids={series.archive_id: series.series_instance_uid for series in outcome.published},
                audit=outcome.audit,
                problem=Problem(reason=outcome.note),
            )
        except Cancelled as error:
            self._cancelled(job, hold, error)
        except _Interrupted:
            self._ledger.claims.release(job)
        except EnhancementError as error:
            self._ended_badly(job, hold, error)
        except MemoryError:
            self._ended_badly(job, hold, OutOfMemory("this machine has no memory left for the job"))
        except Exception as error:  # a fault of ours or of a library: tried again, then a dead letter
            log.error("unexpected fault", error=type(error).__name__, exc_info=True)
            advice = "See the traceback in Orthanc's log; report it as a fault."
            words = f"unexpected {type(error).__name__} in stage {self.progress[0]!r}"
            self._ended_badly(job, hold, EnhancementError(words, advice=advice))
        else:
            seconds = round(time.monotonic() - started, 1)
            log.warning("stored", seconds=seconds, results=list(outcome.result_uids), note=outcome.note)
            self._stored(outcome)

    def _superseded(self, job: JobRow) -> str | None:
        """The enhanced series that the study holds from other inputs, another model or other settings."""
        stored = self._ledger.records.jobs(study_id=job.study_id, states=[State.STORED])
        return next((old.result_uids[0] for old in stored if old.recipe == job.recipe and old.result_uids), None)

    def _study_is_gone(self, job: JobRow) -> bool:
        return not self._archive.exists(f"/studies/{job.study_id}")

    def _cancelled(self, job: JobRow, hold: Hold, error: Cancelled) -> None:
        if error.code == "LEASE_LOST":
            log.warning("lease lost", reason=error.reason)
        elif error.code == "STOPPING":
            self._ledger.claims.release(job)
        else:
            hold.finish(State.CANCELLED)
            log.warning("cancelled")

    def _ended_badly(self, job: JobRow, hold: Hold, error: EnhancementError) -> None:
        """Write down the end; what the reader of job and log gets is one sentence and one advice."""
        if error.code == "LEASE_LOST":
            # The ledger was replaced, or another worker has the job. What was stored is found by the next look.
            log.warning("lease lost", reason=error.reason)
            return
        if isinstance(error, ArchiveError) and error.code in _GONE and self._study_is_gone(job):
            self._ledger.requests.study_deleted(job.study_id)
            hold.finish(State.CANCELLED)
            log.warning("study deleted while its job ran")
            return
        refused = isinstance(error, InputError)
        final = isinstance(error, _FINAL)
        ended = hold.finish(State.REJECTED if refused else State.FAILED, final=final, problem=error.problem)
        log.warning("refused" if refused else "failed", state=str(ended.state), **error.problem.to_json())
