"""A claimed job worked on in this process: is there room, then the pipeline, then whose job it was."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from enhancement.archive.orthanc import OrthancArchive
from enhancement.errors import ArchiveError, OutOfMemory
from enhancement.ledger.states import JobRow
from enhancement.progress import Progress
from enhancement.service.models import Models
from enhancement.settings import Settings

if TYPE_CHECKING:
    from enhancement.pipeline.publish import Outcome

MEGABYTE = 1 << 20


def check_room(settings: Settings, storage: Path) -> None:
    """Refuse to begin where the end would fail.

    Raises
    ------
    ArchiveError
        DISK_FULL.
    OutOfMemory
        Below `Limits.MinFreeMemoryMegabytes`.
    """
    free_mb = shutil.disk_usage(storage).free // MEGABYTE
    if free_mb < settings.limits.min_free_disk_megabytes:
        raise ArchiveError(
            f"{settings.limits.min_free_disk_megabytes} MB of free disk are needed, {free_mb} MB are left",
            code="DISK_FULL",
            advice="Free space on Orthanc's disk; the job is tried again.",
        )
    available_mb = psutil.virtual_memory().available // MEGABYTE
    if available_mb < settings.limits.min_free_memory_megabytes:
        raise OutOfMemory(
            f"{settings.limits.min_free_memory_megabytes} MB of free memory are needed, {available_mb} MB are left"
        )


def process(
    job: JobRow,
    archive: OrthancArchive,
    models: Models,
    settings: Settings,
    progress: Progress,
    *,
    superseded: str | None = None,
) -> Outcome:
    """Run the job's recipe on its study; the audit record then says whose job it was, too.

    Raises
    ------
    EnhancementError
        As `pipeline.run.run`.
    """
    # Imported here because torch and all it brings must not delay Orthanc's start.
    from enhancement.pipeline.run import run

    outcome = run(archive, job.study_id, job.recipe, settings, models.load, progress, superseded=superseded)
    return replace(outcome, audit=_of_job(job) | outcome.audit)


def _of_job(job: JobRow) -> dict[str, Any]:
    """Who or what started it, and which attempt it was."""
    return {
        "origin": job.origin,
        "requested_by": job.requested_by,
        "attempt": job.attempts,
        "worker": job.worker,
        "fingerprint": job.fingerprint,
    }
