"""What the choosing network sees at a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from choosing.grain import Grain, receive_field, shifted
from choosing.recipe import ChoosingRecipe, Corruption
from choosing.store import (
    BRAIN,
    CODED,
    DISEASE,
    IMPERFECT,
    Scale,
    StoredPatient,
    Window,
    decoding,
    weights_of,
)
from enhancement.network.architectures.half_resolution import atlas_places

Array = NDArray[np.float32]
_CHANNEL = {name: index for index, name in enumerate(CODED)}


@dataclass(frozen=True)
class Cubes:
    """One batch; every tensor (n, c, z, y, x), float32, channels last.

    Attributes
    ----------
    inputs : c = 4
        In [0, 1].
    places : c = 3
        `atlas_places`.
    answers : c = 5
        Noise-free T1c and enhancement in the unit of the inputs; disease 0 or 1; the lesion's weight; brain 0 or 1.
    """

    inputs: Tensor
    places: Tensor
    answers: Tensor


class Drawer:
    """Draws batches from stored patients.

    Parameters
    ----------
    recipe : ChoosingRecipe
    """

    def __init__(self, recipe: ChoosingRecipe) -> None:
        self.recipe = recipe
        self._grain = Grain(recipe.seed)
        self._places: dict[tuple[int, int, int], Array] = {}

    def draw(self, patients: Sequence[StoredPatient], step: int) -> Cubes:
        """Draw the batch of a step; the same patients and step give the same places in the same patients."""
        edge, count = self.recipe.cubes[step % len(self.recipe.cubes)]
        parts = [self._one(patients, edge, np.random.default_rng([self.recipe.seed, step, i])) for i in range(count)]
        stacked = (torch.from_numpy(np.stack(volumes)) for volumes in zip(*parts, strict=True))
        return Cubes(*(volume.contiguous(memory_format=torch.channels_last_3d) for volume in stacked))

    def _one(self, patients: Sequence[StoredPatient], edge: int, rng: np.random.Generator) -> tuple[Array, ...]:
        patient = patients[int(rng.integers(len(patients)))]
        window = choose_window(self.recipe, patient, edge, rng)
        codes = patient.codes(window)
        marks = codes[_CHANNEL["marks"]]
        imperfect = rng.random() < self.recipe.corruption.imperfect_mask
        brain = (marks & (IMPERFECT if imperfect else BRAIN)) > 0
        scales = patient.scales["imperfect" if imperfect else "brain"]
        corruption = self.recipe.corruption
        clean = patient.clean(window).astype(np.float32)
        enhancement = decoding("enhancement")[codes[_CHANNEL["enhancement"]]]
        channels = []
        for channel in self.recipe.inputs:
            name = channel.role.lower()
            if channel.dropout and rng.random() < channel.dropout:
                channels.append(np.zeros(brain.shape, np.float32))
                continue
            image, field = self._corrupted(codes[_CHANNEL[name]], name, patient, window, rng)
            low, high = channel.limits  # type: ignore[misc]
            scale = jittered(scales[name], corruption, rng)
            factor, offset = _to_unit(scale, low, high)
            channels.append(np.clip(image * factor + offset, 0, 1) * brain)
            if name == "t1c":
                clean = np.clip(clean * field * factor + offset, 0, 1) * brain
                enhancement = enhancement * field * factor * brain
        disease = ((marks & DISEASE) > 0) & brain
        answers = np.stack([clean, enhancement, disease, weights_of(marks) * disease, brain]).astype(np.float32)
        parts = (np.stack(channels).astype(np.float32), self._places_of(patient.shape_zyx, window), answers)
        axes = tuple(axis + 1 for axis in corruption.mirror_axes if rng.random() < 0.5)
        return tuple(np.flip(part, axes) for part in parts)

    def _corrupted(
        self, codes: NDArray[np.uint8], name: str, patient: StoredPatient, window: Window, rng: np.random.Generator
    ) -> tuple[Array, Array | np.float32]:
        """An image with faults on top of the simulator's, and the field that multiplies it."""
        corruption = self.recipe.corruption
        bent = name in ("t1", "flair") and corruption.gamma > 0
        image = decoding(name, float(np.exp(rng.normal() * corruption.gamma)) if bent else 1.0)[codes]
        if name != "t1c" and corruption.shift_mm and rng.random() < 0.7:
            image = shifted(image, rng.uniform(-1, 1, 3) * corruption.shift_mm)
        field: Array | np.float32 = np.float32(1)
        if name != "adc" and corruption.bias_field:
            field = receive_field(patient.shape_zyx, window, corruption.bias_field * rng.uniform(0, 1.5), rng)
            image *= field
        sd = rng.uniform(*corruption.noise) * (0.5 if name == "adc" else 1.0)
        image += self._grain.cut(image.shape, rng, sd)
        return image, field

    def _places_of(self, shape_zyx: tuple[int, int, int], window: Window) -> Array:
        if shape_zyx not in self._places:
            self._places[shape_zyx] = atlas_places(shape_zyx)[0].numpy()
        return self._places[shape_zyx][(slice(None), *window)]


def jittered(scale: Scale, corruption: Corruption, rng: np.random.Generator) -> Scale:
    """A scale as if the brain's mean and SD had been measured a little wrongly."""
    mean = scale.mean + rng.normal() * corruption.mean_jitter * scale.sd
    return Scale(mean, scale.sd * float(np.exp(rng.normal() * corruption.sd_jitter)))


def choose_window(recipe: ChoosingRecipe, patient: StoredPatient, edge: int, rng: np.random.Generator) -> Window:
    """A cube around a lesion, off its middle by up to a quarter, or anywhere in the brain's box."""
    if patient.centres and rng.random() < recipe.lesion_cubes:
        centre = np.array(patient.centres[rng.integers(len(patient.centres))]) + rng.integers(
            -edge // 4, edge // 4 + 1, 3
        )
    else:
        inset = edge // 4
        centre = np.array([rng.integers(min(a + inset, b - 1), max(b - inset, a + inset + 1)) for a, b in patient.box])
    starts = [int(np.clip(c - edge // 2, 0, max(n - edge, 0))) for c, n in zip(centre, patient.shape_zyx, strict=True)]
    return tuple(slice(s, s + edge) for s in starts)  # type: ignore[return-value]


def _to_unit(scale: Scale, low: float, high: float) -> tuple[np.float32, np.float32]:
    """Factor and offset from units of the brain's mean to [0, 1] between the channel's limits."""
    factor = 1 / (scale.sd * (high - low))
    return np.float32(factor), np.float32(-scale.mean * factor - low / (high - low))
