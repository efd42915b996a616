"""From a result to stored series: what they say of their making, storing them whole, and the record of it all."""

from __future__ import annotations

import functools
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from pydicom.dataset import Dataset

from enhancement import __version__
from enhancement.archive.base import Archive, PublishedSeries
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.writing.derived import adc_series, enhanced_series
from enhancement.dicom.writing.provenance import Provenance
from enhancement.dicom.writing.references import flatten
from enhancement.network.manifest import Manifest
from enhancement.pipeline.enhance import Enhancement
from enhancement.pipeline.fingerprint import settings_that_matter
from enhancement.pipeline.read import StudyInput
from enhancement.recipes.base import Recipe
from enhancement.settings import Settings


@dataclass(frozen=True)
class Outcome:
    """What was stored, and all that may be asked about it later.

    Attributes
    ----------
    published : tuple of PublishedSeries
        The enhanced series first.
    audit : dict
        JSON without patient data: from what, by what, how it went, and what came of it.
    stage_seconds : mapping of stage to seconds
    notes : tuple of str
        Sentences for people; none when there is nothing to say.
    """

    published: tuple[PublishedSeries, ...]
    audit: dict[str, Any]
    stage_seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def result_uids(self) -> tuple[str, ...]:
        return tuple(series.series_instance_uid for series in self.published)

    @property
    def note(self) -> str:
        """The notes in one line."""
        return "; ".join(self.notes)


def provenance_of(
    recipe: Recipe,
    manifest: Manifest,
    settings: Settings,
    study: StudyInput,
    result: Enhancement,
    superseded: str | None,
) -> Provenance:
    """All that the derived series say of their making."""
    return Provenance(
        recipe=recipe.name,
        reference=recipe.reference,
        model_name=manifest.name,
        model_version=manifest.version,
        model_digest=manifest.digest,
        settings=settings_that_matter(settings, recipe, study.match.roles),
        adc_series_description=settings.output.adc_series_description,
        content_qualification=settings.output.content_qualification,
        missing_roles=result.missing_roles,
        warnings=(*study.notes, *result.warnings),
        superseded_series_instance_uid=superseded,
    )


def derived_series(
    recipe: Recipe, settings: Settings, study: StudyInput, result: Enhancement, provenance: Provenance
) -> list[list[Dataset]]:
    """What is to be stored, in this order: the enhanced series last, so that its presence means that all is there."""
    enhanced = enhanced_series(result.image, study.reference, study.others, provenance, recipe.words)
    diffusion = study.others.get("DWI")
    if not settings.output.store_adc or not study.adc_computed or result.adc is None or diffusion is None:
        return [enhanced]
    return [adc_series(result.adc, diffusion, provenance), enhanced]


def store(archive: Archive, study_id: str, series: list[list[Dataset]]) -> tuple[PublishedSeries, ...]:
    """Store each series whole or not at all; the enhanced one comes first in the answer.

    Raises
    ------
    ArchiveError
        If one could not be stored; what was stored of it has then been removed again.
    """
    return tuple(archive.publish(study_id, instances) for instances in series)[::-1]


def audit_record(
    study: StudyInput,
    result: Enhancement,
    provenance: Provenance,
    published: tuple[PublishedSeries, ...],
    seconds: Mapping[str, float],
    started_at: float,
) -> dict[str, Any]:
    """From what, by what, how it went, and what came of it."""
    return {
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
        "inputs": {
            role: sorted({str(part.header.SeriesInstanceUID) for part in flatten(series.slices)})
            for role, series in {provenance.reference: study.reference, **study.others}.items()
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
        "results": [vars(series) for series in published[::-1]],
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
