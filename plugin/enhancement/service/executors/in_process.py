"""One job from the study's series to the stored result: the way that an administrator would describe it."""

from __future__ import annotations

import functools
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from pydicom.dataset import Dataset

from enhancement import __version__
from enhancement.archive.base import PublishedSeries
from enhancement.archive.orthanc import OrthancArchive
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.writing.derived import adc_series, enhanced_series
from enhancement.dicom.writing.provenance import Provenance
from enhancement.dicom.writing.references import flatten
from enhancement.errors import ArchiveError, OutOfMemory
from enhancement.ledger.states import JobRow
from enhancement.pipeline.fingerprint import settings_that_matter
from enhancement.service.models import Models
from enhancement.settings import Settings

if TYPE_CHECKING:
    from enhancement.network.manifest import Manifest
    from enhancement.pipeline.enhance import Enhancement, StudyInput

Progress = Callable[[str, float], None]

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Outcome:
    """What a job stored, and all that may be asked about it later.

    `audit` is JSON without patient data; `note` is the sentence that the job carries, empty when there is
    nothing to say.
    """

    published: tuple[PublishedSeries, ...]
    audit: dict[str, Any]
    stage_seconds: Mapping[str, float]
    note: str = ""

    @property
    def result_uids(self) -> tuple[str, ...]:
        return tuple(series.series_instance_uid for series in self.published)


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
    engine: Models,
    settings: Settings,
    progress: Progress,
    *,
    superseded: str | None = None,
) -> Outcome:
    """Read the study, enhance it, and store the whole result or nothing.

    Parameters
    ----------
    progress : callable
        Stage and fraction of the whole; what it raises (cancelled, stopping, timed out) stops the work there.
    superseded : str, optional
        SeriesInstanceUID of the result that this one replaces.

    Raises
    ------
    EnhancementError
        Of any kind; nothing of this job is then in the archive that was not there before.
    """
    # Imported here because torch, SimpleITK and all they bring must not delay Orthanc's start.
    from enhancement.pipeline.enhance import enhance, read_study

    began, started_at = time.monotonic(), time.time()
    progress("loading the model", 0.0)
    ensemble, brain_extractor = engine.load()
    progress("reading the study", 0.01)
    study = read_study(archive, job.study_id, settings)
    read_s = time.monotonic() - began
    result = enhance(study.images, ensemble, brain_extractor, settings, progress)
    progress("writing the series", 0.97)
    began = time.monotonic()
    provenance = _provenance(ensemble.model.manifest, settings, study, result, superseded)
    series = _series(study, result, provenance, settings)
    progress("storing the series", 0.98)
    # The last moment at which a cancellation is heeded: from here on the result is stored whole.
    published = tuple(archive.publish(job.study_id, instances) for instances in series)
    seconds = {"reading": read_s, **result.stage_seconds, "storing": time.monotonic() - began}
    notes = (*study.notes, *result.warnings)
    audit = _audit(job, settings, study, result, provenance, published, seconds, started_at)
    return Outcome(published[::-1], audit, seconds, "; ".join(notes))


def _provenance(
    manifest: Manifest, settings: Settings, study: StudyInput, result: Enhancement, superseded: str | None
) -> Provenance:
    return Provenance(
        recipe=manifest.recipe,
        model_name=manifest.name,
        model_version=manifest.version,
        model_digest=manifest.digest,
        settings=settings_that_matter(settings, study.match.roles),
        series_description=settings.output.series_description,
        adc_series_description=settings.output.adc_series_description,
        content_qualification=settings.output.content_qualification,
        missing_roles=result.missing_roles,
        warnings=(*study.notes, *result.warnings),
        superseded_series_instance_uid=superseded,
    )


def _series(study: StudyInput, result: Enhancement, provenance: Provenance, settings: Settings) -> list[list[Dataset]]:
    """What is stored, in this order: the enhanced series last, so that its presence means that all is there."""
    enhanced = enhanced_series(result.t1c_pro, study.t1c, study.others, provenance)
    diffusion = study.others.get("DWI")
    if not settings.output.store_adc or not study.adc_computed or result.adc is None or diffusion is None:
        return [enhanced]
    return [adc_series(result.adc, diffusion, provenance), enhanced]


def _audit(
    job: JobRow,
    settings: Settings,
    study: StudyInput,
    result: Enhancement,
    provenance: Provenance,
    published: tuple[PublishedSeries, ...],
    seconds: Mapping[str, float],
    started_at: float,
) -> dict[str, Any]:
    """Who or what started it, from what, by what, how it went, and what came of it."""
    return {
        "origin": job.origin,
        "requested_by": job.requested_by,
        "attempt": job.attempts,
        "worker": job.worker,
        "started_at": started_at,
        "finished_at": time.time(),
        "software": __version__,
        "versions": _versions(),
        "recipe": provenance.recipe,
        "model": {
            "name": provenance.model_name,
            "version": provenance.model_version,
            "digest": provenance.model_digest,
        },
        "settings": dict(provenance.settings),
        "fingerprint": job.fingerprint,
        "inputs": {
            role: sorted({str(part.header.SeriesInstanceUID) for part in flatten(series.slices)})
            for role, series in {"T1C": study.t1c, **study.others}.items()
        },
        "missing_roles": list(result.missing_roles),
        "matching": {"decision": study.match.decision, "reasons": _reasons(study.match)},
        "checks": [
            {key: value for key, value in vars(check).items() if isinstance(value, str | int | float | None)}
            for check in result.checks
        ],
        "warnings": list(provenance.warnings),
        "predictions": result.predictions,
        "stage_seconds": {name: round(value, 3) for name, value in seconds.items()},
        "superseded": provenance.superseded_series_instance_uid,
        "results": [vars(series) for series in published],
    }


@functools.cache
def _versions() -> dict[str, str]:
    """Of what computes pixels here; a package that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for package in ("torch", "SimpleITK", "numpy", "scipy", "pydicom"):
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _reasons(found: StudyMatch) -> dict[str, dict[str, str | None]]:
    """Why each series was taken or not; without its description, which is free text of the site."""
    return {
        report.series_instance_uid: {"role": None if report.role is None else str(report.role), "reason": report.reason}
        for report in found.series
    }
