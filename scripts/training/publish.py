"""From checkpoints to a model folder: half-precision weights, manifest and model card."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from enhancement import __version__
from enhancement.network.manifest import (
    Fold,
    Grid,
    InputChannel,
    Manifest,
    NetworkShape,
    OutputScale,
)
from enhancement.network.weights import write_model
from training.checkpoints import Checkpoint
from training.recipe import DISEASE, Recipe

#: Brain SDs: below this, limits that each fold found in its own patients are one scale. An input differs by 1 % then.
_SAME_LIMITS = 0.05
_PLACEHOLDER = Fold(file="fold-0.safetensors", sha256="0" * 64)


def publish(
    folder: Path,
    checkpoints: Sequence[Checkpoint],
    *,
    data: str,
    simulated: bool,
    version: str = __version__,
    metrics: dict[str, Any] | None = None,
    notes: str = "",
    spacing_mm: float = 1.0,
    shape_zyx: tuple[int, int, int] | None = None,
) -> Manifest:
    """Write the model folder of one network a checkpoint.

    Parameters
    ----------
    folder : Path
    checkpoints : sequence of Checkpoint
        One a fold, all of one recipe.
    data : str
        What the patients were, for the card.
    simulated : bool
        Whether none of them was a person.
    version : str
        Of the model.
    metrics : dict, optional
        Measured results; they don't change the digest.
    notes : str
        Markdown that goes into the card under "Notes".
    spacing_mm, shape_zyx
        The grid of a brain extractor.

    Raises
    ------
    ValueError
        If the folds were trained on unlike limits: the manifest has one scale for all of them.
    """
    first = checkpoints[0]
    check_limits(checkpoints)
    manifest = describe(first, version, spacing_mm, shape_zyx)
    provenance = {
        "data": data,
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "recipe": first.recipe.model_dump(mode="json", exclude={"anatomies"}),  # a path of the machine it ran on
        "folds": [
            {"fold": c.recipe.fold, "seed": c.recipe.seed, "steps": c.step, "minutes": round(c.seconds / 60, 1)}
            for c in checkpoints
        ],
    }
    validation = {f"fold-{i}": c.history[-1] for i, c in enumerate(checkpoints) if c.history}
    found = {"validation": validation, **(metrics or {})}
    manifest = manifest.model_copy(update={"provenance": provenance, "metrics": found})
    card = model_card(manifest, first.recipe, checkpoints, data, notes, simulated=simulated)
    return write_model(folder, manifest, [c.weights() for c in checkpoints], card=card)


def check_limits(checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse folds that would see their inputs on another scale than they were trained on.

    Raises
    ------
    ValueError
        Naming the channel, and how far its limits lie apart.
    """
    for role in checkpoints[0].limits:
        limits = np.array([checkpoint.limits[role] for checkpoint in checkpoints])
        apart = float(np.ptp(limits, axis=0).max())
        if apart > _SAME_LIMITS:
            raise ValueError(
                f"folds with the same limits were needed, found those of {role} up to {apart:.2g} SDs apart; train the "
                "folds again, which now share them, or publish one with --fold"
            )


def describe(
    checkpoint: Checkpoint, version: str, spacing_mm: float, shape_zyx: tuple[int, int, int] | None
) -> Manifest:
    """The manifest of a checkpoint's recipe, before there are files."""
    recipe = checkpoint.recipe
    inputs = tuple(
        InputChannel(
            role=channel.role,
            z_min=checkpoint.limits[channel.role][0],
            z_max=checkpoint.limits[channel.role][1],
            percentiles=(1.0, 99.0) if channel.limits is None else None,
            required=channel.required,
        )
        for channel in recipe.inputs
    )
    grid = Grid()
    if recipe.task == "extract":
        size = tuple(reversed(shape_zyx)) if shape_zyx else (96, 112, 96)
        grid = Grid(template="none", size=size, spacing_mm=(spacing_mm,) * 3, crop_origin=None)  # type: ignore[arg-type]
    low, high = checkpoint.limits["target"]
    return Manifest(
        name=recipe.name,
        version=version,
        recipe=recipe.name,
        network=NetworkShape(
            in_channels=len(recipe.inputs),
            channels=recipe.channels,
            levels=recipe.levels,
            convolutions=recipe.convolutions,
            head=recipe.head,
        ),
        inputs=inputs,
        output=OutputScale(
            z_min=low,
            z_max=high,
            reference=recipe.inputs[-1].role,
            dose_factor=recipe.doses.dose_factor,
            bound=recipe.bound,
        ),
        grid=grid,
        folds=(_PLACEHOLDER,),
    )


def model_card(
    manifest: Manifest, recipe: Recipe, checkpoints: Sequence[Checkpoint], data: str, notes: str, *, simulated: bool
) -> str:
    """MODEL_CARD.md: how, on what, how long, what it can't do, and what was measured."""
    rows = "\n".join(
        f"| {i} | {c.recipe.seed} | {c.step:,} | {c.seconds / 60:.0f} | {_validation(c)} |"
        for i, c in enumerate(checkpoints)
    )
    terms = ", ".join(f"{k} {v:g}" for k, v in recipe.loss.model_dump().items() if v and not k.endswith("_threshold"))
    patch = f"cubes of {recipe.patch} voxels" if recipe.patch else "whole volumes"
    disease_only = recipe.doses.target_volume == DISEASE
    task = _TASKS[recipe.task].format(
        shown=_SHOWN[disease_only], factor=recipe.doses.dose_factor, **recipe.doses.model_dump()
    )
    no_patient = ", no patient was part of its training" if simulated else ""
    roles = ", ".join(c.role for c in recipe.inputs)
    optional = ", ".join(c.role for c in recipe.inputs if not c.required) or "none"
    return f"""# {manifest.name} {manifest.version}

{task}

Research software. Not a medical device; no reader has judged its images{no_patient}.

## How it was trained

- Network: residual 3D U-Net, {recipe.channels} channels, {recipe.levels} levels, head "{recipe.head}".
- {len(checkpoints)} network(s), {manifest.network.in_channels} input(s): {roles}. May be missing: {optional}.
- Data: {data}.
- Loss: {terms}.
- Adam at {recipe.learning_rate:g} (decay: {recipe.decay}), batch {recipe.batch}, {patch}, {recipe.precision}.
- Augmentation: {_augmentation(recipe)}
{_shown(recipe)}
| network | seed | steps | minutes | validation (held-out patients of the same simulator or folder) |
|-|-|-|-|-|
{rows}
{_noted(notes)}
## What it cannot do

{_LIMITS[recipe.task].format(normal=_NORMAL_UPTAKE[disease_only])}
"""


def _noted(notes: str) -> str:
    return f"\n## Notes\n\n{notes.strip()}\n" if notes.strip() else ""


_TASKS = {
    "enhance": "Shows {shown} as if about {factor:g} times the dose of gadolinium had been given "
    "(trained: {input_volume} -> {target_volume}, target normalised by its {normalise_target_by} statistics).",
    "extract": "Finds the brain in a head of any MR contrast, at the resolution of its grid.",
}
_SHOWN = {True: "what is diseased in a post-contrast T1", False: "a post-contrast T1"}
_NORMAL_UPTAKE = {
    True: "What is diseased is the network's guess: a small lesion that it takes for a vessel stays as in the T1c, a\n"
    "  piece of vessel, dura or plexus that it takes for a lesion brightens.",
    False: "Amplifies vessels, dura, choroid plexus and pituitary as well as lesions.",
}
_LIMITS = {
    "enhance": """- It cannot show what the measured T1c doesn't hold: a lesion that took up no agent stays as it is.
- Trained on simulated patients only, unless the data above say otherwise: anatomy after surgery, haemorrhage,
  children, 7 T, motion and metal are known to it, if at all, in a simplified form.
- {normal} Whatever a misregistration of T1 and T1c makes look like enhancement may brighten, too.
- Intensities of the result are not a measured concentration.""",
    "extract": """- Trained on simulated heads: large resections, craniectomies, children and heads cut by the
  field of view may fail.
- Its edge is as sharp as its grid; it is made for normalisation and registration, not for volumetry.""",
}


def _shown(recipe: Recipe) -> str:
    """The card's line about the bound, if there is one."""
    bound = recipe.bound
    if bound is None:
        return ""
    measured = f"at most {bound.gain:g} times what the T1c measured beyond {bound.noise_sds:g} SDs of its noise"
    plain = (
        f"nothing of additions below {bound.faint:g} of the brain's level,\n  {bound.plain_part:g} of those of "
        f"{bound.plain:g}, all from {bound.bright:g} on"
    )
    noise = f"up to {bound.voxel_noise_sds:g} SD of a voxel's noise where it lies below its surroundings"
    return f"- Shown of what the networks add: {measured};\n  {plain};\n  {noise} (`measured_enhancement.py`).\n"


def _validation(checkpoint: Checkpoint) -> str:
    if not checkpoint.history:
        return "-"
    return ", ".join(f"{k} {v:.4g}" for k, v in checkpoint.history[-1].items() if k != "step")


def _augmentation(recipe: Recipe) -> str:
    plain = {k: v for k, v in recipe.augmentation.model_dump().items() if v and v != (0.0, 0.0)}
    return ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in plain.items()) + "."
