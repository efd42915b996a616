"""What happens to a result after it was stored: audit record, label, deliveries, and at last its withdrawal."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import structlog

from enhancement.archive.orthanc import OrthancArchive
from enhancement.dicom.reading.pixel_digest import pixel_digest
from enhancement.errors import ArchiveError, InputError, LedgerError
from enhancement.ledger.ledger import Ledger
from enhancement.ledger.states import Code, JobRow, State
from enhancement.service import audit
from enhancement.settings import Settings

log = structlog.get_logger("enhancement.results")


class Results:
    """Does the follow-ups of the ledger, and keeps the archive in step with it."""

    def __init__(self, ledger: Ledger, archive: OrthancArchive, settings: Settings) -> None:
        self._ledger = ledger
        self._archive = archive
        self._settings = settings
        self._reported: set[int] = set()

    def follow_up(self) -> None:
        """Do what is left to do after results were stored; what fails is tried again at the next call.

        Called after each stored job, every few seconds, and so after a kill between storing and following up.
        """
        for job_id in self._ledger.followups.due():
            job = self._ledger.records.job(job_id)
            try:
                self._follow_up(job)
            except ArchiveError as error:
                if error.status != 404 or self._archive.exists(f"/studies/{job.study_id}"):
                    if job_id not in self._reported:
                        log.warning("audit record or label not written yet", job=job.id, reason=error.reason)
                    self._reported.add(job_id)
                    continue
            self._ledger.followups.done(job_id)
            self._reported.discard(job_id)

    def _follow_up(self, job: JobRow) -> None:
        if job.state is State.STORED:
            series = self._ledger.followups.series(job.id)
            for destination in self._settings.delivery.destinations:
                self._ledger.deliveries.add(job.id, destination, series)
        if not self._settings.output.keep_superseded:
            self._remove_superseded(job)
        self._note_pixels(job)
        if job.state in (State.STORED, State.SUPERSEDED):
            audit.attach(self._archive, job.study_id, {"job": job.id, **job.audit})
            if self._settings.output.label:
                self._archive.label(job.study_id, self._settings.output.label)

    def _note_pixels(self, job: JobRow) -> None:
        """A digest of what was stored, by which a recall knows copies whose headers say nothing any more."""
        for archive_id, uid in self._ledger.followups.without_pixels(job.id):
            try:
                digest = pixel_digest(self._archive.instances(job.study_id, uid))
            except ArchiveError as error:
                if error.status != 404:
                    raise
            except InputError as error:
                log.warning("no digest of the pixels", job=job.id, code=error.code)
            else:
                self._ledger.followups.note_pixels(archive_id, digest)

    def _remove_superseded(self, job: JobRow) -> None:
        """Take what this job's result replaces out of the archive, or its own where a newer one was faster."""
        jobs = self._ledger.records.jobs(study_id=job.study_id)
        if not any(other.state is State.STORED and other.recipe == job.recipe for other in jobs):
            return
        kept = _held(jobs)
        for old in jobs:
            if old.state is State.SUPERSEDED and old.recipe == job.recipe:
                self._remove(old, [uid for uid in old.result_uids if uid not in kept])

    def deleted(self, archive_id: str) -> None:
        """Orthanc deleted a series; if it was a result, it shall not come back by itself."""
        if (found := self._ledger.followups.result(archive_id)) is not None:
            study_id, uid = found
            self._ledger.requests.result_deleted(study_id, uid)

    def withdraw(self, job: JobRow, *, reason: str, by: str, code: str = Code.WITHDRAWN) -> dict[str, Any]:
        """Delete every result of a job, with a record of who and why.

        Raises
        ------
        LedgerError
            WRONG_STATE if the job has no result in the archive.
        """
        if job.state not in (State.STORED, State.SUPERSEDED):
            raise LedgerError(f"job {job.id} is {job.state} and has no result", code="WRONG_STATE")
        # The ledger first: the deletion of the series must find the job withdrawn already.
        others = [other for other in self._ledger.records.jobs(study_id=job.study_id) if other.id != job.id]
        own = [uid for uid in job.result_uids if uid not in _held(others)]
        words = reason if code == Code.SOURCE_GONE else f"the result was removed by {by}"
        for uid in own:
            self._ledger.requests.result_deleted(job.study_id, uid, code=code, reason=words)
        removed = self._remove(job, own)
        record = {
            "job": f"withdrawal of {job.id}",
            "withdrawn_at": time.time(),
            "by": by,
            "code": code,
            "reason": reason,
            "model_digest": job.model_digest,
            "series": removed,
        }
        try:
            audit.attach(self._archive, job.study_id, record)
        except ArchiveError as error:
            log.warning("audit record not attached", job=job.id, reason=error.reason)
        log.warning("withdrawn", job=job.id, study=job.study_id, by=by, code=code, series=removed)
        return {"job": job.id, "study_id": job.study_id, "withdrawn": removed}

    def _remove(self, job: JobRow, uids: list[str]) -> list[str]:
        removed = []
        for uid in uids:
            try:
                if self._archive.withdraw(job.study_id, uid):
                    removed.append(uid)
            except ArchiveError as error:
                if error.status != 404:
                    raise
        return removed


def _held(jobs: Iterable[JobRow]) -> set[str]:
    """The series that stored results consist of; recipes of one study share the computed ADC map."""
    return {uid for job in jobs if job.state is State.STORED for uid in job.result_uids}
