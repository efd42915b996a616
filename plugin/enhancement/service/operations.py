"""What people and programs may ask of the service; the routes are only its door."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from enhancement import __version__
from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError, EnhancementError, InputError, ModelError
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import IncompleteStudy, JobRow, Priority, State
from enhancement.service import recall
from enhancement.service.deliveries import Deliveries
from enhancement.service.follow_up import Results
from enhancement.service.health import Health
from enhancement.service.intake import Intake
from enhancement.service.models import Models
from enhancement.service.worker import Worker
from enhancement.settings import Settings

MAX_LISTED = 1000
EXPLAIN_AT_ONCE = 2
_INTERNAL = frozenset({"archive", "claim_id", "beat", "lease_s", "order_at", "audit", "instance"})


class Lookup(Protocol):
    """A short look at Orthanc from a callback, without an HTTP request to ourselves."""

    def get(self, uri: str) -> bytes: ...


class Operations:
    """One service, as seen from outside.

    Parameters
    ----------
    lookup : Lookup
        Orthanc through the SDK: callbacks use it where the answer is short, so that many callers at once cannot
        use up Orthanc's HTTP threads waiting for each other.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        ledger: Ledger,
        archive: OrthancArchive,
        lookup: Lookup,
        intake: Intake,
        engine: Models,
        workers: Sequence[Worker],
        results: Results,
        deliveries: Deliveries,
        health: Health,
    ) -> None:
        self.health = health
        self._settings = settings
        self._ledger = ledger
        self._archive = archive
        self._lookup = lookup
        self._intake = intake
        self._engine = engine
        self._workers = workers
        self._results = results
        self._deliveries = deliveries
        self._explaining = threading.BoundedSemaphore(EXPLAIN_AT_ONCE)
        self._started_at = time.time()

    def status(self) -> dict[str, Any]:
        """Light, reasons, queue, running jobs, model."""
        counts = self._ledger.records.counts()
        arrivals, incomplete = self._ledger.inbox.counts()
        breaker = self._ledger.records.circuit()
        return self.health.to_json() | {
            "version": __version__,
            "started_at": self._started_at,
            "automatic": self._settings.enabled and self._settings.automatic,
            "paused": self._ledger.marks.paused(),
            "deliveries": self._deliveries.counts(),
            "jobs": {str(state): count for state, count in counts.by_state.items()},
            "arrivals": arrivals,
            "incomplete": incomplete,
            # Up to this entry of Orthanc's log of changes, nothing can have been missed.
            "changes_reconciled": self._ledger.marks.last_change(self._ledger.instance),
            "oldest_queued_seconds": round(counts.oldest_queued_s, 1),
            "mean_job_seconds": round(counts.mean_attempt_s, 1),
            "circuit": {"state": str(breaker.circuit), "code": breaker.code, "retry_in_seconds": breaker.retry_in_s},
            "running": [running for worker in self._workers if (running := _running(worker))],
            "model": self._model(),
        }

    def jobs(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Jobs by study, state and number, the oldest first."""
        states = _states(query.get("state", ""))
        limit = _number(query.get("limit", "100"), 1, MAX_LISTED)
        offset = _number(query.get("offset", "0"), 0, 10**9)
        found = self._ledger.records.jobs(
            states=states, study_id=query.get("study") or None, limit=limit, offset=offset
        )
        return [self._job_json(job) for job in reversed(found)]

    def job(self, job_id: int) -> dict[str, Any]:
        """One job, with every attempt and its audit record."""
        job = self._ledger.records.job(job_id)
        attempts = [vars(attempt) for attempt in self._ledger.records.attempts(job_id)]
        return self._job_json(job) | {
            "attempt_list": attempts,
            "audit": job.audit,
            "deliveries": self._deliveries.of_job(job_id),
        }

    def study(self, study_id: str) -> dict[str, Any]:
        """What the study page shows: the newest job, or INCOMPLETE, NOTICED or NONE."""
        jobs = self._ledger.records.jobs(study_id=study_id, limit=20)
        current = next((job for job in jobs if job.current), jobs[0] if jobs else None)
        if any(arrival.study_id == study_id for arrival in self._ledger.inbox.waiting(limit=MAX_LISTED)):
            return {"study_id": study_id, "state": "NOTICED", "fraction": 0.0, "reason": "", "advice": ""}
        lacking = self._ledger.inbox.incomplete(study_id)
        if lacking and (current is None or current.state is State.REJECTED):
            return (self._job_json(current) if current else {"fraction": 0.0}) | _incomplete(lacking[0])
        if current is not None:
            return self._job_json(current)
        self._require_study(study_id)
        return {"study_id": study_id, "state": "NONE", "fraction": 0.0, "reason": "", "advice": ""}

    def incomplete(self) -> list[dict[str, Any]]:
        """Every study that lacks series that are needed: which, and since when; the longest waiting first."""
        return [_incomplete(study) for study in self._ledger.inbox.incomplete(limit=MAX_LISTED)]

    def start(self, study_id: str, priority: str, *, force: bool, user: str) -> dict[str, Any]:
        """Ask for one study by hand; asking twice is asking once."""
        if not self._settings.enabled:
            raise EnhancementError("Enhancement is switched off.", code="DISABLED", advice="Set Enabled to true.")
        names = {level.name.lower(): level for level in Priority}
        if priority.lower() not in names:
            raise InputError(f"priority must be one of {', '.join(names)}", code="PRIORITY")
        self._require_study(study_id)
        self._ledger.inbox.notice(
            study_id, priority=names[priority.lower()], origin="manual", requested_by=user, force=force
        )
        return {"study_id": study_id, "state": "NOTICED"}

    def cancel(self, job_id: int, user: str) -> dict[str, Any]:
        return self._job_json(self._ledger.requests.cancel(job_id, by=user))

    def cancel_study(self, study_id: str, user: str) -> dict[str, Any]:
        """Cancel whatever waits or runs for the study."""
        active = self._ledger.records.jobs(study_id=study_id, states=[State.QUEUED, State.RUNNING])
        for arrival in self._ledger.inbox.waiting(limit=MAX_LISTED):
            if arrival.study_id == study_id:
                self._ledger.inbox.done(arrival)
        return {"study_id": study_id, "cancelled": [self._ledger.requests.cancel(job.id, by=user).id for job in active]}

    def retry(self, job_id: int, user: str) -> dict[str, Any]:
        job = self._ledger.requests.retry(job_id, by=user)
        for worker in self._workers:
            worker.wake()
        return self._job_json(job)

    def retry_all(self, code: str, user: str) -> dict[str, Any]:
        """Queue every dead letter of one cause again, once the cause is mended."""
        retried = self._ledger.requests.retry_all(code, by=user)
        for worker in self._workers:
            worker.wake()
        return {"code": code, "retried": retried}

    def pause(self, user: str) -> dict[str, Any]:
        """Claim nothing more; running jobs end normally."""
        self._ledger.marks.pause(by=user)
        return {"paused": self._ledger.marks.paused()}

    def resume(self, _user: str) -> dict[str, Any]:
        self._ledger.marks.resume()
        return {"paused": None}

    def explain(self, study_id: str) -> dict[str, Any]:
        """Which series plays which role and why, without starting anything."""
        self._require_study(study_id)
        if not self._explaining.acquire(blocking=False):
            raise EnhancementError("Too many studies are being explained.", code="BUSY", advice="Ask again shortly.")
        try:
            study = self._intake.read(study_id)
        finally:
            self._explaining.release()
        explained: dict[str, Any] = {"study_id": study_id, **study.match.to_json()}
        return explained | {"own_series": sorted(study.own_series)}

    def settings_json(self) -> dict[str, Any]:
        """The settings in force; secrets are masked."""
        return self._settings.model_dump(mode="json", by_alias=True)

    def results(self, digest: str) -> dict[str, Any]:
        """Every series that a model made: those of the ledger's jobs, and what else the archive holds of it."""
        if not digest:
            raise InputError("name the model: ?model=DIGEST", code="MODEL_DIGEST")
        jobs = self._ledger.records.made_by(digest)
        known = {uid for job in jobs for uid in job.result_uids}
        others = recall.unlisted(self._archive, digest, known)
        return {"results": [self._job_json(job) for job in jobs], "unlisted": [vars(series) for series in others]}

    def withdraw(self, job_id: int, reason: str, user: str) -> dict[str, Any]:
        """Take the results of one job out of the archive."""
        return self._results.withdraw(self._ledger.records.job(job_id), reason=reason[:500], by=user)

    def withdraw_unlisted(self, series_id: str, digest: str, reason: str, user: str) -> dict[str, Any]:
        """Take a series of this model that the ledger does not know out of the archive."""
        return recall.withdraw_unlisted(self._archive, series_id, digest, reason=reason[:500], by=user)

    def _require_study(self, study_id: str) -> None:
        try:
            self._lookup.get(f"/studies/{study_id}")
        except ArchiveError as error:
            raise EnhancementError("There is no such study.", code="NO_SUCH_STUDY") from error

    def _model(self) -> dict[str, Any]:
        try:
            manifest = self._engine.manifest()
        except (ModelError, ImportError):
            return {}
        return {
            "name": manifest.name,
            "version": manifest.version,
            "recipe": manifest.recipe,
            "digest": manifest.digest,
            "folds": min(self._settings.model.folds, len(manifest.folds)),
            "mirrorings": self._settings.model.mirrorings,
            "devices": [worker.name for worker in self._workers],
        }

    def _job_json(self, job: JobRow) -> dict[str, Any]:
        values = {name: value for name, value in vars(job).items() if name not in _INTERNAL}
        for worker in self._workers:
            current = worker.current
            if job.state is State.RUNNING and current is not None and current[0].id == job.id:
                values["stage"], values["fraction"] = worker.progress
        return values | {"state": str(job.state), "priority": job.priority.name.lower()}


def _incomplete(study: IncompleteStudy) -> dict[str, Any]:
    return {
        "study_id": study.study_id,
        "state": "INCOMPLETE",
        "missing": list(study.missing),
        "since": study.since,
        "checked_at": study.checked_at,
        "reason": study.reason or f"the study has no series for {', '.join(study.missing)}",
        "advice": "Send the missing series; the study is then taken up by itself.",
    }


def _running(worker: Worker) -> dict[str, Any] | None:
    current = worker.current
    if current is None:
        return None
    job, since = current
    stage, fraction = worker.progress
    return {
        "job": job.id,
        "study_id": job.study_id,
        "device": worker.name,
        "stage": stage,
        "fraction": round(fraction, 3),
        "seconds": round(time.monotonic() - since, 1),
    }


def _states(text: str) -> list[State] | None:
    if not text:
        return None
    try:
        return [State(name.strip().upper()) for name in text.split(",")]
    except ValueError:
        raise InputError(f"state must be among {', '.join(State)}", code="STATE") from None


def _number(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or not low <= int(text) <= high:
        raise InputError(f"a number from {low} to {high} is needed", code="NUMBER")
    return int(text)
