"""The work of scripts/enhance.py: the plugin's own pipeline, archive and writer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from enhancement.archive.folder import FolderArchive
from enhancement.dicom.writing.derived import adc_series, enhanced_series
from enhancement.dicom.writing.provenance import Provenance
from enhancement.errors import InputError
from enhancement.network.ensemble import Ensemble
from enhancement.network.weights import load_model
from enhancement.pipeline.enhance import (
    BrainExtractor,
    Enhancement,
    StudyImages,
    choose_brain_extractor,
    enhance,
    read_study,
)
from enhancement.pipeline.fingerprint import settings_that_matter
from enhancement.settings import Settings

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Done:
    """What was written, and how it went."""

    written: tuple[Path, ...]
    enhancement: Enhancement
    notes: tuple[str, ...]
    seconds: dict[str, float]


def enhance_volumes(
    volumes: Mapping[str, Path], output: Path, settings: Settings, root: Path, progress: Progress
) -> Done:
    """Volumes by role ("t1", "t1c", "flair", "adc") to one volume on the T1c's grid."""
    began = time.perf_counter()
    images = StudyImages(**{role: read_volume(path) for role, path in volumes.items()})
    seconds = {"reading": time.perf_counter() - began}
    result = enhance(images, *_engine(settings, root, seconds), settings, progress)
    began = time.perf_counter()
    output.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(result.t1c_pro, str(output), useCompression=True)
    seconds |= {**result.stage_seconds, "writing": time.perf_counter() - began}
    return Done((output,), result, result.warnings, seconds)


def enhance_study(study: Path, output: Path, settings: Settings, root: Path, progress: Progress) -> Done:
    """A folder of DICOM files to the derived series, each in a folder of its own."""
    archive = FolderArchive(study, output)
    progress("reading the study", 0.0)
    began = time.perf_counter()
    read = read_study(archive, "", settings)
    seconds = {"reading": time.perf_counter() - began}
    ensemble, extractor = _engine(settings, root, seconds)
    result = enhance(read.images, ensemble, extractor, settings, progress)
    began = time.perf_counter()
    manifest = ensemble.model.manifest
    provenance = Provenance(
        recipe=manifest.recipe,
        model_name=manifest.name,
        model_version=manifest.version,
        model_digest=manifest.digest,
        settings=settings_that_matter(settings, read.match.roles),  # the same study gets the same UIDs in Orthanc
        series_description=settings.output.series_description,
        adc_series_description=settings.output.adc_series_description,
        content_qualification=settings.output.content_qualification,
        missing_roles=result.missing_roles,
        warnings=(*read.notes, *result.warnings),
    )
    series = [enhanced_series(result.t1c_pro, read.t1c, read.others, provenance)]
    diffusion = read.others.get("DWI")
    if settings.output.store_adc and read.adc_computed and result.adc is not None and diffusion is not None:
        series.append(adc_series(result.adc, diffusion, provenance))
    written = tuple(Path(archive.publish("", instances).archive_id) for instances in series)
    seconds |= {**result.stage_seconds, "writing": time.perf_counter() - began}
    return Done(written, result, (*read.notes, *result.warnings), seconds)


def read_volume(path: Path) -> sitk.Image:
    """Read a scalar volume as float32.

    Raises
    ------
    InputError
        If ITK cannot read it, or it is not one three-dimensional volume.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path.name} cannot be read as a volume: {reason}", code="UNREADABLE_VOLUME") from None
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{path.name} was to be one scalar 3D volume, found another kind", code="NOT_A_VOLUME")
    return sitk.Cast(image, sitk.sitkFloat32)


def _engine(settings: Settings, root: Path, seconds: dict[str, float]) -> tuple[Ensemble, BrainExtractor]:
    began = time.perf_counter()
    model = settings.model
    ensemble = Ensemble(
        load_model(root / settings.model_weights / model.folder),
        device=model.devices[0],
        folds=model.folds,
        mirrorings=model.mirrorings,
        precision=model.precision,
        threads=model.threads,
    )
    extractor = choose_brain_extractor(settings, root, device=model.devices[0])
    seconds["loading the model"] = time.perf_counter() - began
    return ensemble, extractor
