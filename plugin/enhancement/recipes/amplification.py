"""A post-contrast T1 as if more contrast agent had been given: T1c-pro, and the protocol of Bône et al. 2022.

The networks see T1, T1c and, where there are such, FLAIR and ADC. What they add to the T1c is limited by what was
measured (`imaging.measured_enhancement`), where the model's manifest says how far; bone-2022 shows all of it.

Source: Bône et al., Invest Radiol 2022, with the changes that the modules name.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from enhancement.arrays import Volume
from enhancement.dicom.writing.words import Words
from enhancement.imaging.amplify import Answers, amplify
from enhancement.imaging.gate.checks import anatomy, contrast_given, every_series, scale
from enhancement.imaging.intensity import from_unit
from enhancement.imaging.measured_enhancement import limit_to_measured, measured_enhancement
from enhancement.recipes.base import Finished, OwnSettings, Predicted, Recipe
from enhancement.settings import Role

_BOTH = (Role.T1, Role.T1C)


def finish(predicted: Predicted, _own: OwnSettings) -> Finished:
    """The prediction in the T1c's numbers, bound by what was measured where the manifest has a bound."""
    if predicted.answers_czyx is not None:
        return _amplified(predicted, predicted.answers_czyx)
    output = predicted.manifest.output
    seen = _in_own_numbers(predicted, Role.T1C)
    shown = from_unit(predicted.mean_zyx, output.z_min, output.z_max, predicted.statistics[Role.T1C])
    if output.bound is not None and predicted.inside.any():
        measured = measured_enhancement(_in_own_numbers(predicted, Role.T1), seen, predicted.inside)
        shown = limit_to_measured(shown, seen, measured, **output.bound.model_dump())
    return np.where(predicted.inside, shown, seen), seen


def _amplified(predicted: Predicted, answers_czyx: Volume) -> Finished:
    """Denoised anatomy plus probability of disease times the enhancement at the manifest's dose."""
    output = predicted.manifest.output
    seen, before = _in_own_numbers(predicted, Role.T1C), _in_own_numbers(predicted, Role.T1)
    if not predicted.inside.any():
        return seen, seen
    unit = np.float32((output.z_max - output.z_min) * predicted.statistics[Role.T1C].sd)
    inside = predicted.inside.astype(np.float32)
    answers = Answers(*(answers_czyx * np.array([1, unit, unit], np.float32)[:, None, None, None] * inside))
    measured = measured_enhancement(before, seen, predicted.inside)
    return amplify(seen, predicted.inside, answers, measured, output.dose_factor), seen


def _in_own_numbers(predicted: Predicted, role: Role) -> Volume:
    channels = predicted.manifest.inputs
    index = [channel.role for channel in channels].index(role)
    return from_unit(
        predicted.inputs_czyx[index], channels[index].z_min, channels[index].z_max, predicted.statistics[role]
    )


T1C_PRO = Recipe(
    name="t1c-pro",
    title="T1c with amplified contrast",
    model=Path("t1c-pro"),
    needed=_BOTH,
    wanted=(Role.FLAIR, Role.DWI),
    reference=Role.T1C,
    covering=_BOTH,
    checks=(
        anatomy,
        partial(every_series, needed=_BOTH),
        scale,
        partial(contrast_given, before=Role.T1, after=Role.T1C),
    ),
    finish=finish,
    words=Words(
        series_description="T1c-pro AI-enhanced, not acquired",
        image_type="T1C_PRO",
        derivation="Contrast of the post-contrast T1 amplified by a neural network",
        derivation_code=("CONTRAST_SYNTH", "Contrast amplification by a neural network"),
        comments="Synthetic: contrast amplified by a neural network, not acquired. Read beside the T1c, never alone.",
        reference="T1c",
        changed="Amplified contrast",
        series_number=90,
    ),
)

BONE_2022 = replace(
    T1C_PRO,
    name="bone-2022",
    title="T1c with amplified contrast, by the protocol of Bône et al. 2022",
    model=Path("bone-2022"),
    needed=(*_BOTH, Role.FLAIR, Role.DWI),
    wanted=(),
    words=replace(
        T1C_PRO.words,
        series_description="T1c-pro (Bone 2022) AI-enhanced, not acquired",
        image_type="BONE_2022",
        series_number=92,
    ),
)
