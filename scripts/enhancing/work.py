"""The work of scripts/enhance.py: the plugin's own pipeline on a folder, or on volumes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import SimpleITK as sitk

from enhancement.archive.folder import FolderArchive
from enhancement.errors import InputError
from enhancement.pipeline.enhance import enhance
from enhancement.pipeline.networks import load_networks
from enhancement.pipeline.run import run
from enhancement.progress import Progress
from enhancement.recipes.offer import offered
from enhancement.settings import Settings


@dataclass(frozen=True)
class Done:
    """What was written, and how it went."""

    written: tuple[Path, ...]
    predictions: int
    missing_roles: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: dict[str, float]


def enhance_volumes(
    volumes: Mapping[str, Path], output: Path, recipe: str, settings: Settings, root: Path, progress: Progress
) -> Done:
    """Volumes by role ("T1", "T1C", "FLAIR", "ADC") to one volume on the reference's grid.

    Raises
    ------
    InputError
        If the reference is not among them.
    """
    chosen = offered(settings).named(recipe)
    if chosen.reference not in volumes:
        raise InputError(f"a {chosen.reference} volume was needed, found {', '.join(volumes)}", code="MISSING_VOLUME")
    began = time.perf_counter()
    images = {role: read_volume(path) for role, path in volumes.items()}
    seconds = {"reading": time.perf_counter() - began}
    began = time.perf_counter()
    networks = load_networks(chosen, settings, root)
    seconds["loading the model"] = time.perf_counter() - began
    result = enhance(images, chosen, networks, settings, progress)
    began = time.perf_counter()
    output.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(result.image, str(output), useCompression=True)
    seconds |= {**result.stage_seconds, "writing": time.perf_counter() - began}
    return Done((output,), result.predictions, result.missing_roles, result.warnings, seconds)


def enhance_study(study: Path, output: Path, recipe: str, settings: Settings, root: Path, progress: Progress) -> Done:
    """A folder of DICOM files to the derived series, each in a folder of its own; the same UIDs as in Orthanc."""
    load = partial(load_networks, settings=settings, root=root)
    outcome = run(FolderArchive(study, output), "", recipe, settings, load, progress)
    return Done(
        tuple(Path(series.archive_id) for series in outcome.published),
        outcome.audit["predictions"],
        tuple(outcome.audit["missing_roles"]),
        outcome.notes,
        dict(outcome.stage_seconds),
    )


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
