"""A study as a recipe takes it: match the roles, read the series that play them, fit the ADC."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from pydicom.dataset import Dataset

from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.reading.adc_map import read_adc
from enhancement.dicom.reading.diffusion import DiffusionSeries, read_diffusion
from enhancement.dicom.reading.series import SeriesVolume, read_series
from enhancement.errors import InputError, MissingRole
from enhancement.imaging.preparation import StudyImages
from enhancement.pipeline.enhanced_copy import refuse_enhanced_copies
from enhancement.pipeline.study_adc import StudyAdc, study_adc
from enhancement.recipes.base import Recipe
from enhancement.settings import Role, Settings

_DIFFUSION = (Role.DWI, Role.ADC)
_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class StudySource(Protocol):
    """The part of an archive that reading needs."""

    def headers(self, study_id: str) -> list[Dataset]: ...
    def instances(self, study_id: str, series_instance_uid: str) -> list[Dataset]: ...


@dataclass(frozen=True)
class StudyInput:
    """A study as read.

    Attributes
    ----------
    images : StudyImages
    match : StudyMatch
        Which series plays which role, and why.
    reference : SeriesVolume
        The series that the result lies on.
    others : dict of role name to SeriesVolume or DiffusionSeries
        Every further series that the network sees.
    adc_computed : bool
        Whether the ADC was fitted here, and not made by the scanner.
    notes : tuple of str
        What was left out, which ADC map was taken, and why.
    """

    images: StudyImages
    match: StudyMatch
    reference: SeriesVolume
    others: dict[str, SeriesVolume | DiffusionSeries]
    adc_computed: bool
    notes: tuple[str, ...] = ()


def read_study(source: StudySource, study_id: str, recipe: Recipe, settings: Settings) -> StudyInput:
    """Read every series that the recipe takes, and fit the ADC or take the scanner's where that is better.

    Parameters
    ----------
    source : StudySource
        Any archive.
    study_id : str
        The archive's own name of the study.
    recipe : Recipe
    settings : Settings

    Raises
    ------
    InputError
        If a role that the recipe needs is missing or unreadable, or played by a copy of an enhanced series; others only
        where the settings require them.
    """
    headers = source.headers(study_id)
    found = recipe.judged(match(headers, settings.matching), settings.preprocessing)
    recipe.require(found, settings.preprocessing)

    def instances(role: Role) -> list[Dataset]:
        return [ds for uid in found.uids(role) for ds in source.instances(study_id, uid)]

    notes: list[str] = []
    volumes = _read_volumes(recipe, found, instances, notes)
    notes += refuse_enhanced_copies(volumes, recipe.needed, headers, partial(source.instances, study_id))
    adc = _read_adc(recipe, found, instances, notes)
    _require_usable(recipe, settings, {*volumes, *(_DIFFUSION if adc.adc is not None else ())}, notes)
    images = {str(role): volume.image for role, volume in volumes.items()}
    images |= {str(role): image for role, image in ((Role.ADC, adc.adc), (Role.DWI, adc.b0)) if image is not None}
    others = {str(role): volume for role, volume in volumes.items() if role is not recipe.reference}
    return StudyInput(
        images=images,
        match=found,
        reference=volumes[recipe.reference],
        others={**others, **adc.sources},
        adc_computed=adc.computed,
        notes=tuple(notes),
    )


def _read_volumes(
    recipe: Recipe, found: StudyMatch, instances: Callable[[Role], list[Dataset]], notes: list[str]
) -> dict[Role, SeriesVolume]:
    """Every series but diffusion, the reference first; one that may be missing may be unreadable too."""
    volumes: dict[Role, SeriesVolume] = {}
    for role in dict.fromkeys((recipe.reference, *recipe.inputs)):
        if role in _DIFFUSION:
            continue
        if role in recipe.needed:
            volumes[role] = _read_role(role, instances)
            continue
        read = _optional(partial(_read_role, role, instances), role in found.roles, notes)
        if read is not None:
            volumes[role] = read
    notes += [f"{role}: {note}" for role, volume in volumes.items() for note in volume.notes]
    return volumes


def _read_role(role: Role, instances: Callable[[Role], list[Dataset]]) -> SeriesVolume:
    return read_series(instances(role))


def _read_adc(
    recipe: Recipe, found: StudyMatch, instances: Callable[[Role], list[Dataset]], notes: list[str]
) -> StudyAdc:
    """The ADC, computed or the scanner's; none for a recipe that does not take it."""
    there = {role: role in found.roles and role in recipe.inputs for role in _DIFFUSION}
    diffusion = _optional(lambda: read_diffusion(instances(Role.DWI)), there[Role.DWI], notes)
    scanners = _optional(lambda: read_adc(instances(Role.ADC)), there[Role.ADC], notes)
    adc = study_adc(diffusion, scanners)
    notes += adc.notes
    return adc


def _optional(read: Callable[[], _T], there: bool, notes: list[str]) -> _T | None:
    """A series that may be missing may be unreadable too: the study then goes on without it, and says so."""
    if not there:
        return None
    try:
        return read()
    except InputError as error:
        _logger.warning("an optional series is left out: %s", error.reason)
        notes.append(error.reason)
        return None


def _require_usable(recipe: Recipe, settings: Settings, usable: set[Role], notes: Sequence[str]) -> None:
    """What is required was matched, but may have proved unreadable."""
    lacking = [role for role in recipe.required(settings.preprocessing) if role not in usable]
    if lacking:
        names = ["ADC" if role is Role.DWI else str(role) for role in lacking]
        why = f" ({'; '.join(notes)})" if notes else ""
        raise MissingRole(
            f"{' and '.join(names)} was needed, found no usable series{why}",
            code=f"MISSING_{names[0]}",
            advice="Where RequireFlair or RequireAdc asks for it, set that to false to go on without it.",
        )
