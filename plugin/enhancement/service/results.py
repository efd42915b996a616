"""Stored results after they are stored: the audit record, superseded ones, and recall."""

from __future__ import annotations

import time
from typing import Any

import structlog

from enhancement.archive.orthanc_rest import OrthancArchive
from enhancement.errors import ArchiveError, LedgerError
from enhancement.service import audit
from enhancement.service.deliveries import Deliveries
from enhancement.service.ledger import Ledger
from enhancement.service.processing import Outcome
from enhancement.service.states import Code, Finished, JobRow, State
from enhancement.settings import Settings

log = structlog.get_logger("enhancement.results")


class Results:
    """Keeps the archive in step with the ledger."""

    def __init__(self, ledger: Ledger, archive: OrthancArchive, settings: Settings, deliveries: Deliveries) -> None:
        self._ledger = ledger
        self._archive = archive
        self._settings = settings
        self._deliveries = deliveries
        # Orthanc identifier -> SeriesInstanceUID of results stored by this process: a deletion names only the former.
        self._archive_ids: dict[str, str] = {}

    def stored(self, finished: Finished, outcome: Outcome) -> None:
        """After a job was stored; a fault here is logged and changes nothing for the job."""
        self._archive_ids.update({item.archive_id: item.series_instance_uid for item in outcome.published})
        job = finished.job
        self._deliveries.add(job.id, [item.archive_id for item in outcome.published])
        try:
            audit.attach(self._archive, job.study_id, {"job": job.id, **outcome.audit})
            if self._settings.output.label:
                self._archive.label(job.study_id, self._settings.output.label)
        except ArchiveError as error:
            log.warning("audit record or label not written", job=job.id, reason=error.message)
        if not self._settings.output.keep_superseded:
            kept = set(job.result_uids)
            for old in finished.superseded:
                self._remove(old, [uid for uid in old.result_uids if uid not in kept])

    def deleted(self, archive_id: str) -> None:
        """Orthanc deleted a series; if it was a result, it shall not come back by itself."""
        uid = self._archive_ids.pop(archive_id, None)
        if uid is not None:
            self._ledger.result_deleted(uid)

    def withdraw(self, job: JobRow, *, reason: str, by: str) -> dict[str, Any]:
        """Delete every result of a job, with a record of who and why.

        Raises
        ------
        LedgerError
            WRONG_STATE if the job has no result in the archive.
        """
        if job.state not in (State.STORED, State.SUPERSEDED):
            raise LedgerError(f"job {job.id} is {job.state} and has no result", code="WRONG_STATE")
        # The ledger first: the deletion of the series must find the job withdrawn already.
        for uid in job.result_uids:
            self._ledger.result_deleted(uid, code=Code.WITHDRAWN, by=by)
        removed = self._remove(job, list(job.result_uids))
        record = {
            "job": f"withdrawal of {job.id}",
            "withdrawn_at": time.time(),
            "by": by,
            "reason": reason,
            "model_digest": job.model_digest,
            "series": removed,
        }
        try:
            audit.attach(self._archive, job.study_id, record)
        except ArchiveError as error:
            log.warning("audit record not attached", job=job.id, reason=error.message)
        log.warning("withdrawn", job=job.id, by=by, series=removed)
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
