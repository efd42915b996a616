"""The method of the recipes that work on the atlas' grid, top to bottom.

Find the brain, register, resample once, normalise, predict, finish as the recipe does, return to the reference's grid,
hold the result against the gate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from enhancement.arrays import Volume
from enhancement.imaging.atlas import to_image
from enhancement.imaging.gate.checks import Check, check_input, check_spread, enforce
from enhancement.imaging.native_grid import to_native_grid
from enhancement.imaging.preparation import NetworkInput, StudyImages, prepare
from enhancement.network.ensemble import Prediction
from enhancement.network.manifest import Manifest
from enhancement.pipeline.networks import Networks
from enhancement.progress import Progress, Stopwatch, within
from enhancement.recipes.base import Finished, Predicted, Recipe
from enhancement.settings import Settings


@dataclass(frozen=True)
class Enhancement:
    """What a recipe makes of a study.

    Attributes
    ----------
    image : sitk.Image, float32
        On the reference's grid, in the reference's numbers.
    spread : sitk.Image, float32
        Standard deviation of the predictions, on the reference's grid, in the reference's numbers.
    brain : sitk.Image, uint8
        Brain mask on the reference's grid.
    adc : sitk.Image or None
        In mm^2/s, on its own grid.
    prepared : NetworkInput
        The network's grid.
    prediction_zyx, input_zyx : (z, y, x), float32
        On the network's grid, in the reference's numbers after bias correction.
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

    image: sitk.Image
    spread: sitk.Image
    brain: sitk.Image
    adc: sitk.Image | None
    prepared: NetworkInput
    prediction_zyx: Volume
    input_zyx: Volume
    spread_zyx: Volume
    missing_roles: tuple[str, ...]
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    predictions: int
    stage_seconds: dict[str, float] = field(default_factory=dict)


def enhance(
    images: StudyImages,
    recipe: Recipe,
    networks: Networks,
    settings: Settings,
    progress: Progress | None = None,
) -> Enhancement:
    """Make what the recipe makes.

    Parameters
    ----------
    images : StudyImages
        The series of the roles that the recipe needs at least.
    recipe : Recipe
    networks : Networks
        The recipe's verified ensemble, and the brain extractor of the settings' choice.
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
    ensemble, manifest = networks.ensemble, networks.ensemble.model.manifest
    prepared = prepare(
        images,
        manifest.inputs,
        networks.brain_extractor,
        reference=recipe.reference,
        bias_field=settings.preprocessing.bias_field,
        watch=watch,
    )
    watch.stage("checking the input", 0.39)
    checks = check_input(prepared, settings.gate, recipe.checks)
    enforce(checks)
    watch.stage("predicting", 0.4)
    prediction = ensemble.predict(prepared.inputs_czyx, within(progress, 0.4, 0.94))
    watch.stage(f"returning to the {recipe.words.reference}'s grid", 0.95)
    spread_zyx = prediction.spread_zyx * np.float32(manifest.output.z_max - manifest.output.z_min)
    checks.append(check_spread(spread_zyx, prepared.brain_zyx, settings.gate))
    warnings = enforce(checks)
    shown, seen = _finished(recipe, manifest, prepared, prediction)
    image, spread = _on_reference_grid(images[recipe.reference], prepared, shown, seen, spread_zyx, settings)
    watch.stop()
    return Enhancement(
        image=image,
        spread=spread,
        brain=prepared.brain,
        adc=images.get("ADC"),
        prepared=prepared,
        prediction_zyx=shown,
        input_zyx=seen,
        spread_zyx=spread_zyx,
        missing_roles=prepared.missing,
        checks=tuple(checks),
        warnings=warnings,
        predictions=prediction.predictions,
        stage_seconds=dict(watch.seconds),
    )


def _finished(recipe: Recipe, manifest: Manifest, prepared: NetworkInput, prediction: Prediction) -> Finished:
    """The prediction as the recipe shows it, and the reference as the networks saw it."""
    inside = np.logical_and.reduce([prepared.brain_zyx, *(prepared.covered[role] for role in recipe.covering)])
    predicted = Predicted(
        manifest, prepared.inputs_czyx, prediction.mean_zyx, prepared.statistics, inside, prediction.answers_czyx
    )
    return recipe.finish(predicted, recipe.own)


def _on_reference_grid(
    reference: sitk.Image,
    prepared: NetworkInput,
    shown: Volume,
    seen: Volume,
    spread_zyx: Volume,
    settings: Settings,
) -> tuple[sitk.Image, sitk.Image]:
    role = prepared.reference
    field_zyx = np.float32(1.0)
    if role in prepared.fields:  # the native series still has its bias field, and so must what is added to it
        field_zyx = sitk.GetArrayFromImage(prepared.fields[role])
    to_grid = prepared.to_series[role].GetInverse()
    enhanced = to_native_grid(
        to_image(shown * field_zyx),
        to_image(seen * field_zyx),
        prepared.brain,
        reference,
        to_grid,
        method=settings.output.native_method,
    )
    spread = to_image(spread_zyx * np.float32(prepared.statistics[role].sd) * field_zyx)
    native_spread = sitk.Resample(spread, reference, to_grid, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    return enhanced, sitk.Mask(native_spread, prepared.brain)
