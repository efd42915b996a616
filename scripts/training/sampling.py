"""What the network sees at a step: a pure function of the recipe, the patients, the seed and the step.

Nothing carries over from step to step, so a run that was killed goes on with exactly the samples it would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from enhancement.imaging.intensity import seen_voxels
from training.augmentation import augment, normalise, randomise_contrast
from training.patients import Patient
from training.recipe import Recipe

Window = tuple[slice, slice, slice]
Limits = Mapping[str, tuple[float, float]]
#: A sample's volumes without the batch's axis, in the order of its fields.
Parts = tuple[Tensor, ...]


@dataclass(frozen=True)
class Sample:
    """One batch.

    Attributes
    ----------
    inputs : (n, c, z, y, x)
        In [0, 1].
    target : (n, 1, z, y, x)
    brain, weight : (n, 1, z, y, x)
        Brain mask; weight of the lesion term.
    before : (n, 1, z, y, x)
        T1 in the unit of the target, for the term that asks what the agent changed; zeros where nobody asks.
    """

    inputs: Tensor
    target: Tensor
    brain: Tensor
    weight: Tensor
    before: Tensor


def draw(recipe: Recipe, limits: Limits, patients: Sequence[Patient], step: int, *, augmented: bool = True) -> Sample:
    """Draw the batch of one step."""
    parts = [_draw_one(recipe, limits, patients, (step, item), augmented) for item in range(recipe.batch)]
    stacked = (torch.stack(volumes) for volumes in zip(*parts, strict=True))
    return Sample(*(volume.contiguous(memory_format=torch.channels_last_3d) for volume in stacked))


def _draw_one(
    recipe: Recipe, limits: Limits, patients: Sequence[Patient], key: tuple[int, int], augmented: bool
) -> Parts:
    rng = np.random.default_rng([recipe.seed, recipe.fold, *key])
    patient = patients[int(rng.integers(len(patients)))]
    window = choose_window(recipe, patient, rng)
    if recipe.task == "extract":
        return _head(recipe, patient, window, rng, augmented)
    return _enhancement(recipe, limits, patient, window, rng, augmented)


def _enhancement(
    recipe: Recipe, limits: Limits, patient: Patient, window: Window, rng: np.random.Generator, augmented: bool
) -> Parts:
    names = {channel.role: channel.role.lower() for channel in recipe.inputs}
    names["T1C"] = recipe.doses.input_volume
    names["target"] = recipe.doses.target_volume
    volumes = {role: torch.from_numpy(patient.read(name, window)) for role, name in names.items()}
    if recipe.doses.keep_brain_level:
        volumes["target"] = volumes["target"] / patient.levels.get(names["target"], 1.0)
    mask_name = "brain"
    if augmented and "brain_imperfect" in patient.names and rng.random() < recipe.augmentation.imperfect_mask:
        mask_name = "brain_imperfect"
    brain = torch.from_numpy(patient.read(mask_name, window))
    weight = torch.from_numpy(patient.read("weight", window)) * brain
    statistics = {role: patient.statistics[mask_name].get(name) for role, name in names.items()}
    if recipe.doses.normalise_target_by == "input":
        statistics["target"] = statistics["T1C"]
    seen = {role: seen_voxels(role, volume, brain > 0.5) for role, volume in volumes.items()}
    if augmented:
        volumes = augment(volumes, patient, window, recipe.augmentation, rng)
    scaled = normalise(volumes, statistics, seen, limits, recipe.augmentation if augmented else None, rng)
    for channel in recipe.inputs:
        if augmented and channel.dropout and rng.random() < channel.dropout:
            scaled[channel.role] = torch.zeros_like(brain)
    inputs = torch.stack([scaled[channel.role] for channel in recipe.inputs])
    before = torch.zeros_like(brain)
    if recipe.loss.difference:  # the T1 has limits of its own, in which a change of limits looks like contrast agent
        t1 = {"T1": volumes["T1"]}
        before = normalise(t1, statistics, seen, {"T1": limits["target"]}, None, rng)["T1"]
    parts = (inputs, scaled["target"][None], brain[None], weight[None], before[None])
    return mirror(parts, recipe, rng) if augmented else parts


def _head(recipe: Recipe, patient: Patient, window: Window, rng: np.random.Generator, augmented: bool) -> Parts:
    head = torch.from_numpy(patient.read(recipe.doses.input_volume, window))
    brain = torch.from_numpy(patient.read(recipe.doses.target_volume, window))
    if augmented:
        head = randomise_contrast(head, recipe.augmentation, rng)
    top = torch.quantile(head.flatten()[::7].clamp_min(0), 0.995)
    head = (head / top.clamp_min(1e-6)).clamp(0, 1)
    parts = (head[None], brain[None], torch.ones_like(brain)[None], *[torch.zeros_like(brain)[None]] * 2)
    return mirror(parts, recipe, rng) if augmented else parts


def choose_window(recipe: Recipe, patient: Patient, rng: np.random.Generator) -> Window:
    """Whole volume, or a cube: around a lesion, with a shift of up to a quarter, or anywhere in the brain's box."""
    if recipe.patch is None:
        return tuple(slice(0, size) for size in patient.shape_zyx)  # type: ignore[return-value]
    edge = recipe.patch
    if patient.centres and rng.random() < recipe.lesion_patches:
        centre = np.array(patient.centres[rng.integers(len(patient.centres))])
        centre = centre + rng.integers(-edge // 4, edge // 4 + 1, 3)
    elif recipe.task == "extract":  # face and neck are learned as well as brain
        centre = np.array([rng.integers(n) for n in patient.shape_zyx])
    else:
        inset = edge // 4
        centre = np.array([rng.integers(min(a + inset, b - 1), max(b - inset, a + inset + 1)) for a, b in patient.box])
    starts = [int(np.clip(c - edge // 2, 0, max(n - edge, 0))) for c, n in zip(centre, patient.shape_zyx, strict=True)]
    return tuple(slice(s, min(s + edge, n)) for s, n in zip(starts, patient.shape_zyx, strict=True))  # type: ignore[return-value]


def mirror(volumes: Sequence[Tensor], recipe: Recipe, rng: np.random.Generator) -> Parts:
    """Mirror each of the recipe's axes with probability one half, all volumes alike."""
    axes = [axis + 1 for axis in recipe.augmentation.mirror_axes if rng.random() < 0.5]
    return tuple(torch.flip(volume, axes) for volume in volumes)
