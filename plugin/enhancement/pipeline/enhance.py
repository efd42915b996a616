"""The method, top to bottom.

Read the series, compute the ADC, find the brain, register, resample once, normalise, predict, bound the prediction by
what was measured, return to the T1c's grid, hold the result against the gate. Bône et al., Invest Radiol 2022, with the
changes that the modules name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.reading.adc_map import read_adc
from enhancement.dicom.reading.diffusion import DiffusionSeries, read_diffusion
from enhancement.dicom.reading.series import SeriesVolume, read_series
from enhancement.errors import InputError, MissingRole
from enhancement.imaging.atlas import to_image
from enhancement.imaging.brain.extraction import (
    BrainExtractor,
    BuiltInExtractor,
    NativeExtractor,
    StrippedInput,
    UnlessStripped,
)
from enhancement.imaging.gate import checks as quality
from enhancement.imaging.gate.checks import Check
from enhancement.imaging.intensity import BrainStatistics, from_unit
from enhancement.imaging.measured_enhancement import limit_to_measured, measured_enhancement
from enhancement.imaging.native_grid import to_native_grid
from enhancement.imaging.preparation import NetworkInput, Stopwatch, StudyImages, prepare
from enhancement.network.brain_extractor import load_brain_network
from enhancement.network.ensemble import Ensemble
from enhancement.network.hd_bet import is_installed, load_hd_bet
from enhancement.network.weights import Model
from enhancement.pipeline.study_adc import study_adc
from enhancement.settings import Role, Settings

__all__ = [
    "Enhancement",
    "NetworkInput",
    "StudyImages",
    "StudyInput",
    "choose_brain_extractor",
    "enhance",
    "prepare",
    "read_study",
]

Progress = Callable[[str, float], None]
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
    t1c : SeriesVolume
        The series that the result lies on.
    others : dict of role name to SeriesVolume or DiffusionSeries
        Every further series that the network sees.
    adc_computed : bool
        Whether `images.adc` was fitted here, and not made by the scanner.
    notes : tuple of str
        What was left out, which ADC map was taken, and why.
    """

    images: StudyImages
    match: StudyMatch
    t1c: SeriesVolume
    others: dict[str, SeriesVolume | DiffusionSeries]
    adc_computed: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Enhancement:
    """What the method makes of a study.

    Attributes
    ----------
    t1c_pro : sitk.Image, float32
        On the T1c's grid, in the T1c's numbers.
    spread : sitk.Image, float32
        Standard deviation of the predictions, on the T1c's grid, in the T1c's numbers.
    brain : sitk.Image, uint8
        Brain mask on the T1c's grid.
    adc : sitk.Image or None
        In mm^2/s, on its own grid.
    prepared : NetworkInput
        The network's grid.
    prediction_zyx, input_zyx : (z, y, x), float32
        On the network's grid, in the T1c's numbers after bias correction.
    spread_zyx : (z, y, x), float32
        On the network's grid, in brain SDs.
    missing_roles : tuple of str
        Inputs of the model that the study did not have.
    checks : tuple of Check
    warnings : tuple of str
        Sentences of the checks beyond a soft limit.
    predictions : int
        How many were averaged.
    stage_seconds : dict of stage to seconds
    """

    t1c_pro: sitk.Image
    spread: sitk.Image
    brain: sitk.Image
    adc: sitk.Image | None
    prepared: NetworkInput
    prediction_zyx: NDArray[np.float32]
    input_zyx: NDArray[np.float32]
    spread_zyx: NDArray[np.float32]
    missing_roles: tuple[str, ...]
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    predictions: int
    stage_seconds: dict[str, float] = field(default_factory=dict)


def read_study(source: StudySource, study_id: str, settings: Settings) -> StudyInput:
    """Match the roles, read the series that play them, and fit the ADC or take the scanner's where that is better.

    Parameters
    ----------
    source : StudySource
        Any archive.
    study_id : str
        The archive's own name of the study.
    settings : Settings

    Raises
    ------
    InputError
        If T1 or T1c is missing or unreadable; FLAIR and diffusion only where the settings require them.
    """
    found = match(source.headers(study_id), settings.matching)
    found.require(Role.T1, Role.T1C)

    def instances(role: Role) -> list[Dataset]:
        return [ds for uid in found.uids(role) for ds in source.instances(study_id, uid)]

    t1c, t1 = read_series(instances(Role.T1C)), read_series(instances(Role.T1))
    others: dict[str, SeriesVolume | DiffusionSeries] = {"T1": t1}
    notes: list[str] = []
    flair = _optional(lambda: read_series(instances(Role.FLAIR)), Role.FLAIR in found.roles, notes)
    if flair is not None:
        others["FLAIR"] = flair
    diffusion = _optional(lambda: read_diffusion(instances(Role.DWI)), Role.DWI in found.roles, notes)
    scanner = _optional(lambda: read_adc(instances(Role.ADC)), Role.ADC in found.roles, notes)
    found_adc = study_adc(diffusion, scanner)
    others |= found_adc.sources
    notes += found_adc.notes
    _require_optional(settings, flair is not None, found_adc.adc is not None, notes)
    return StudyInput(
        images=StudyImages(
            t1=t1.image,
            t1c=t1c.image,
            flair=None if flair is None else flair.image,
            adc=found_adc.adc,
            b0=found_adc.b0,
        ),
        match=found,
        t1c=t1c,
        others=others,
        adc_computed=found_adc.computed,
        notes=tuple(notes),
    )


def choose_brain_extractor(settings: Settings, root: Path, *, device: str = "auto") -> BrainExtractor:
    """Load the brain extractor that the settings name.

    "auto" takes a brain-extracted T1c as it is; for a head it is HD-BET where its weights lie, else the built-in one.

    Parameters
    ----------
    settings : Settings
    root : Path
        Where relative paths of the settings start.
    device : str
        As in `Ensemble`.

    Raises
    ------
    WeightsMissing, WeightsMismatch
        If the weights are not there or not the pinned ones. There is no silent second choice: a broken HD-BET under
        "auto" is an error too.
    """
    wanted = settings.preprocessing
    weights = root / settings.model_weights
    if wanted.brain_extractor == "none":
        return StrippedInput()
    folder = root / wanted.hd_bet_folder if wanted.hd_bet_folder is not None else weights / "hd-bet"
    automatic = wanted.brain_extractor == "auto"
    extractor: BrainExtractor
    if wanted.brain_extractor == "hd-bet" or (automatic and is_installed(folder)):
        extractor = NativeExtractor(load_hd_bet(folder, device=device, sha256=wanted.hd_bet_sha256))
    else:
        extractor = BuiltInExtractor(load_brain_network(weights / "brain", device=device))
    return UnlessStripped(extractor) if automatic else extractor


def enhance(
    images: StudyImages,
    ensemble: Ensemble,
    brain_extractor: BrainExtractor,
    settings: Settings,
    progress: Progress | None = None,
) -> Enhancement:
    """Make T1c-pro.

    Parameters
    ----------
    images : StudyImages
        T1 and T1c at least.
    ensemble : Ensemble
        The verified networks.
    brain_extractor : BrainExtractor
        Of the settings' choice.
    settings : Settings
    progress : callable, optional
        Called with the stage and the fraction of the whole; what it raises stops the work.

    Raises
    ------
    GateRefused
        If a check is beyond its hard limit.
    StageError, ModelError
        If a step fails.
    """
    watch = Stopwatch(progress)
    manifest = ensemble.model.manifest
    prepared = prepare(
        images, manifest.inputs, brain_extractor, bias_field=settings.preprocessing.bias_field, watch=watch
    )
    watch.stage("checking the input", 0.39)
    checks = quality.check_input(prepared, settings.gate)
    quality.enforce(checks)
    watch.stage("predicting", 0.4)
    prediction = ensemble.predict(prepared.inputs_czyx, _within(progress, 0.4, 0.94))
    watch.stage("returning to the T1c's grid", 0.95)
    spread_zyx = prediction.spread_zyx * np.float32(manifest.output.z_max - manifest.output.z_min)
    checks.append(quality.check_spread(spread_zyx, prepared.brain_zyx, settings.gate))
    warnings = quality.enforce(checks)
    inside = prepared.brain_zyx & prepared.covered["T1"] & prepared.covered["T1C"]
    predicted, network_input = in_t1c_numbers(
        ensemble.model, prepared.inputs_czyx, prediction.mean_zyx, prepared.statistics, inside
    )
    t1c_pro, spread = _on_t1c_grid(images.t1c, prepared, predicted, network_input, spread_zyx, settings)
    watch.stop()
    return Enhancement(
        t1c_pro=t1c_pro,
        spread=spread,
        brain=prepared.brain,
        adc=images.adc,
        prepared=prepared,
        prediction_zyx=predicted,
        input_zyx=network_input,
        spread_zyx=spread_zyx,
        missing_roles=prepared.missing,
        checks=tuple(checks),
        warnings=warnings,
        predictions=prediction.predictions,
        stage_seconds=dict(watch.seconds),
    )


def in_t1c_numbers(
    model: Model,
    inputs_czyx: NDArray[np.float32],
    mean_zyx: NDArray[np.float32],
    statistics: Mapping[str, BrainStatistics],
    inside: NDArray[np.bool_],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The prediction as it is shown, and the T1c as the network saw it, bias field removed.

    Parameters
    ----------
    model : Model
        Its manifest says in which unit the prediction is, and by what it is bound.
    inputs_czyx : (c, z, y, x)
        The network's input.
    mean_zyx : (z, y, x)
        Its prediction.
    statistics : mapping of role to BrainStatistics
        What each input was normalised by.
    inside : (z, y, x)
        Where there is a prediction; elsewhere it is the input.
    """
    output = model.manifest.output

    def in_own_numbers(role: str) -> NDArray[np.float32]:
        index = model.roles.index(role)
        channel = model.manifest.inputs[index]
        return from_unit(inputs_czyx[index], channel.z_min, channel.z_max, statistics[role])

    seen = in_own_numbers(output.reference)
    predicted = from_unit(mean_zyx, output.z_min, output.z_max, statistics[output.reference])
    if output.bound is not None and inside.any():
        measured = measured_enhancement(in_own_numbers("T1"), seen, inside)
        predicted = limit_to_measured(predicted, seen, measured, **output.bound.model_dump())
    return np.where(inside, predicted, seen), seen


def _on_t1c_grid(
    t1c: sitk.Image,
    prepared: NetworkInput,
    predicted: NDArray[np.float32],
    network_input: NDArray[np.float32],
    spread_zyx: NDArray[np.float32],
    settings: Settings,
) -> tuple[sitk.Image, sitk.Image]:
    field_zyx = np.float32(1.0)
    if "T1C" in prepared.fields:  # the native T1c still has its bias field, and so must what is added to it
        field_zyx = sitk.GetArrayFromImage(prepared.fields["T1C"])
    to_grid = prepared.to_series["T1C"].GetInverse()
    enhanced = to_native_grid(
        to_image(predicted * field_zyx),
        to_image(network_input * field_zyx),
        prepared.brain,
        t1c,
        to_grid,
        method=settings.output.native_method,
    )
    spread = to_image(spread_zyx * np.float32(prepared.statistics["T1C"].sd) * field_zyx)
    native_spread = sitk.Resample(spread, t1c, to_grid, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return enhanced, sitk.Mask(native_spread, prepared.brain)


def _within(progress: Progress | None, start: float, end: float) -> Progress | None:
    if progress is None:
        return None
    return lambda stage, fraction: progress(stage, start + (end - start) * fraction)


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


def _require_optional(settings: Settings, flair: bool, adc: bool, notes: Sequence[str]) -> None:
    wanted = settings.preprocessing
    lacking = [
        role
        for role, needed, there in (("FLAIR", wanted.require_flair, flair), ("ADC", wanted.require_adc, adc))
        if needed and not there
    ]
    if lacking:
        why = f" ({'; '.join(notes)})" if notes else ""
        raise MissingRole(
            f"{' and '.join(lacking)} was needed by the settings, found no usable series{why}",
            code=f"MISSING_{lacking[0]}",
            advice="Set RequireFlair or RequireAdc to false to go on without it.",
        )
