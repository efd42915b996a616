"""What people and programs may ask of the service: one method for each route of `web.routes`.

A method takes the route's parameters by name, and `user` if it changes something. It returns JSON, or an `Answer` where
the status is not the route's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from enhancement import __version__
from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import NO_PROBLEM, ArchiveError, EnhancementError, ModelError, Problem
from enhancement.host.messages import Answer, problem_answer
from enhancement.ledger.deliveries import DeliveryRow
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import AttemptRow, IncompleteStudy, JobRow, Priority, State
from enhancement.recipes.base import Recipe
from enhancement.recipes.offer import Offer
from enhancement.service import audit
from enhancement.service.follow_up import Results
from enhancement.service.health import Health, Light
from enhancement.service.intake import Intake
from enhancement.service.models import Models
from enhancement.service.recall import Recall
from enhancement.service.worker import Worker
from enhancement.settings import Settings

log = structlog.get_logger("enhancement.operations")

MAX_LISTED = 1000
EXPLAIN_AT_ONCE = 2
_INTERNAL = frozenset({"archive", "claim_id", "beat", "lease_s", "order_at", "audit", "instance"})


class Lookup(Protocol):
    """Asks Orthanc something short from within a callback, without an HTTP request to ourselves."""

    def get(self, uri: str) -> bytes: ...


class Operations:
    """The service, as seen from outside.

    Parameters
    ----------
    lookup : Lookup
        Orthanc through the SDK. Callbacks use it for short answers. Through HTTP, many callers at once would use up
        Orthanc's HTTP threads, each waiting for another.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        ledger: Ledger,
        archive: OrthancArchive,
        lookup: Lookup,
        intake: Intake,
        models: Models,
        recipes: Offer,
        workers: Sequence[Worker],
        results: Results,
        health: Health,
    ) -> None:
        self._health = health
        self._settings = settings
        self._ledger = ledger
        self._archive = archive
        self._lookup = lookup
        self._intake = intake
        self._models = models
        self._recipes = recipes
        self._workers = workers
        self._results = results
        self._recall = Recall(ledger, archive)
        self._explaining = threading.BoundedSemaphore(EXPLAIN_AT_ONCE)
        self._started_at = time.time()

    def status(self) -> dict[str, Any]:
        """The light with its problems, the queue, the running jobs, and the recipes with their models."""
        counts = self._ledger.records.counts()
        arrivals, incomplete = self._ledger.inbox.counts()
        breaker = self._ledger.records.circuit()
        return self._health.to_json() | {
            "version": __version__,
            "started_at": self._started_at,
            "automatic": self._settings.enabled and self._settings.automatic,
            "paused": self._ledger.marks.paused(),
            "deliveries": self._ledger.deliveries.counts(),
            "jobs": {str(state): count for state, count in counts.by_state.items()},
            "arrivals": arrivals,
            "incomplete": incomplete,
            # Up to this entry of Orthanc's log of changes, nothing can have been missed.
            "changes_reconciled": self._ledger.marks.last_change(self._ledger.instance),
            "oldest_queued_seconds": round(counts.oldest_queued_s, 1),
            "mean_job_seconds": round(counts.mean_attempt_s, 1),
            "breaker": {
                "circuit": str(breaker.circuit),
                "code": breaker.code,
                "failures": breaker.failures,
                "retry_in_seconds": breaker.retry_in_s,
            },
            "running": [running for worker in self._workers if (running := _running(worker))],
            "recipes": [self._recipe_json(recipe) for recipe in self._recipes.recipes.values()],
        }

    def health(self) -> Answer:
        """The light alone: 200, or 503 when it is red, for a load balancer or a monitor."""
        return Answer(503 if self._health.light() is Light.RED else 200, self._health.to_json())

    def jobs(self, *, study: str, state: Sequence[State], limit: int, offset: int) -> dict[str, Any]:
        """The jobs that were changed last, the oldest of them first."""
        found = self._ledger.records.jobs(states=state or None, study_id=study or None, limit=limit, offset=offset)
        return {"jobs": [self._job_json(job) for job in reversed(found)]}

    def job(self, job_id: int) -> dict[str, Any]:
        """One job, with each of its attempts, its deliveries and its audit record."""
        job = self._ledger.records.job(job_id)
        attempts = [_row_json(attempt) for attempt in self._ledger.records.attempts(job_id)]
        return self._job_json(job) | {
            "attempt_list": attempts,
            "audit": job.audit,
            "deliveries": [_delivery_json(row) for row in self._ledger.deliveries.of_job(job_id)],
        }

    def study(self, study_id: str) -> dict[str, Any]:
        """The study's newest job, rather one under way; or its state is NOTICED, INCOMPLETE or NONE."""
        jobs = self._ledger.records.jobs(study_id=study_id, limit=20)
        newest = [job for job in jobs if job.current] or jobs[:1]
        under_way = [job for job in newest if job.state in (State.QUEUED, State.RUNNING)]
        current = next(iter(under_way or newest), None)
        if any(arrival.study_id == study_id for arrival in self._ledger.inbox.waiting(limit=MAX_LISTED)):
            return _without_job(study_id, "NOTICED")
        lacking = self._ledger.inbox.incomplete(study_id)
        if lacking and (current is None or current.state is State.REJECTED):
            if current is None:
                return {"fraction": 0.0} | _incomplete_json(lacking[0])
            return self._job_json(current) | _incomplete_json(lacking[0], code=current.problem.code)
        if current is not None:
            return self._job_json(current)
        self._require_study(study_id)
        return _without_job(study_id, "NONE")

    def incomplete(self) -> dict[str, Any]:
        """The studies that lack a series that is needed: which one, and since when; the longest waiting first."""
        return {"studies": [_incomplete_json(study) for study in self._ledger.inbox.incomplete(limit=MAX_LISTED)]}

    def start(self, study_id: str, *, recipe: str, priority: Priority, force: bool, user: str) -> dict[str, Any]:
        """Ask for one study by hand; asking twice is asking once."""
        if not self._settings.enabled:
            advice = "Set ContrastEnhancement.Enabled to true."
            raise EnhancementError("Enhancement is switched off.", code="DISABLED", advice=advice)
        if recipe:
            self._recipes.named(recipe)
        self._require_study(study_id)
        self._ledger.inbox.notice(
            study_id, recipe=recipe, priority=priority, origin="manual", requested_by=user, force=force
        )
        return _without_job(study_id, "NOTICED")

    def cancel(self, job_id: int, *, user: str) -> dict[str, Any]:
        """Cancel a job that waits or runs."""
        return self._job_json(self._ledger.requests.cancel(job_id, by=user))

    def cancel_study(self, study_id: str, *, user: str) -> dict[str, Any]:
        """Cancel whatever waits or runs for one study."""
        active = self._ledger.records.jobs(study_id=study_id, states=[State.QUEUED, State.RUNNING])
        for arrival in self._ledger.inbox.waiting(limit=MAX_LISTED):
            if arrival.study_id == study_id:
                self._ledger.inbox.done(arrival)
        return {"study_id": study_id, "cancelled": [self._ledger.requests.cancel(job.id, by=user).id for job in active]}

    def retry(self, job_id: int, *, user: str) -> dict[str, Any]:
        """Queue a job that failed, was refused or was cancelled again."""
        job = self._ledger.requests.retry(job_id, by=user)
        for worker in self._workers:
            worker.wake()
        return self._job_json(job)

    def retry_all(self, *, code: str, user: str) -> dict[str, Any]:
        """Queue every job that failed for one cause again, once the cause is mended."""
        retried = self._ledger.requests.retry_all(code, by=user)
        for worker in self._workers:
            worker.wake()
        return {"code": code, "retried": retried}

    def pause(self, *, user: str) -> dict[str, Any]:
        """Start no further job, also after a restart; those that run end normally."""
        self._ledger.marks.pause(by=user)
        return {"paused": self._ledger.marks.paused()}

    def resume(self, *, user: str) -> dict[str, Any]:
        """Start jobs again after a pause."""
        log.warning("resumed", by=user)
        self._ledger.marks.resume()
        return {"paused": None}

    def audit(self, study_id: str) -> dict[str, Any] | Answer:
        """The study's audit record; also at `/studies/{id}/attachments/enhancement-audit/data`."""
        self._require_study(study_id)
        _, record = audit.read(self._lookup, study_id, self._archive.audit_numbers)
        if not record["records"]:
            return problem_answer(404, Problem("NO_AUDIT", "This study has no audit record."))
        return record

    def explain(self, study_id: str) -> dict[str, Any]:
        """Which series plays which role and why, without starting anything."""
        self._require_study(study_id)
        if not self._explaining.acquire(blocking=False):
            raise EnhancementError("Too many studies are being explained.", code="BUSY", advice="Ask again shortly.")
        try:
            study = self._intake.read(study_id)
        finally:
            self._explaining.release()
        preprocessing = self._settings.preprocessing
        judged = {name: recipe.judged(study.match, preprocessing) for name, recipe in self._recipes.recipes.items()}
        explained: dict[str, Any] = {"study_id": study_id, **judged[self._recipes.default.name].to_json()}
        decisions = {name: found.decision for name, found in judged.items()}
        return explained | {"own_series": sorted(study.own_series), "recipes": decisions}

    def settings(self) -> dict[str, Any]:
        """The settings in force, with every default; passwords are masked."""
        return self._settings.model_dump(mode="json", by_alias=True)

    def results(self, *, model: str, since: int, limit: int) -> dict[str, Any]:
        """Every series that a model made: those of the ledger's jobs, and what else the archive holds of it."""
        listed = self._recall.listed(model) if since == 0 else []
        found = self._recall.search(model, since=since, limit=limit or None).to_json()
        found["counts"]["results"] = len(listed)
        return {"results": [vars(job) for job in listed], **found}

    def withdraw(self, job_id: int, *, reason: str, user: str) -> dict[str, Any]:
        """Delete the results of one job from the archive, with a record of who and why on the study."""
        return self._results.withdraw(self._ledger.records.job(job_id), reason=reason[:500], by=user)

    def withdraw_unlisted(self, series_id: str, *, model: str, reason: str, user: str) -> dict[str, Any]:
        """Delete one series that this model made and that no job of the ledger lists."""
        return self._recall.withdraw(series_id, model, reason=reason[:500], by=user)

    def _require_study(self, study_id: str) -> None:
        try:
            self._lookup.get(f"/studies/{study_id}")
        except ArchiveError as error:
            raise EnhancementError("There is no such study.", code="NO_SUCH_STUDY") from error

    def _recipe_json(self, recipe: Recipe) -> dict[str, Any]:
        told = {"name": recipe.name, "title": recipe.title, "enabled": recipe.name in self._recipes.enabled}
        try:
            manifest = self._models.manifest(recipe)
        except (ModelError, ImportError):
            return told | {"model": {}}
        model = {
            "name": manifest.name,
            "version": manifest.version,
            "digest": manifest.digest,
            "folds": min(self._settings.model.folds, len(manifest.folds)),
            "mirrorings": self._settings.model.mirrorings,
            "devices": [worker.name for worker in self._workers],
        }
        return told | {"model": model}

    def _job_json(self, job: JobRow) -> dict[str, Any]:
        values = {name: value for name, value in _row_json(job).items() if name not in _INTERNAL}
        for worker in self._workers:
            current = worker.current
            if job.state is State.RUNNING and current is not None and current[0].id == job.id:
                values["stage"], values["fraction"] = worker.progress
        return values | {"state": str(job.state), "priority": job.priority.name.lower()}


def _row_json(row: JobRow | AttemptRow) -> dict[str, Any]:
    """A row of the ledger, with its problem's code, reason and advice beside the other values."""
    values = dict(vars(row))
    del values["problem"]
    return values | row.problem.to_json()


def _delivery_json(row: DeliveryRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("destination", "state", "attempts", "reason")}


def _without_job(study_id: str, state: str) -> dict[str, Any]:
    return {"study_id": study_id, "state": state, "fraction": 0.0, **NO_PROBLEM.to_json()}


def _incomplete_json(study: IncompleteStudy, code: str = "INCOMPLETE") -> dict[str, Any]:
    problem = Problem(
        code,
        study.reason or f"the study has no series for {', '.join(study.missing)}",
        "Send the missing series; the study is then taken up by itself.",
    )
    return {
        "study_id": study.study_id,
        "state": "INCOMPLETE",
        "missing": list(study.missing),
        "since": study.since,
        "checked_at": study.checked_at,
        **problem.to_json(),
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
