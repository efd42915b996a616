"""Cheap corruption on top of the simulator's, so that few cached patients go far.

T1 and T1c get *their own* bias field, noise and place: a network that sees only differences without such faults takes a
coil's inhomogeneity for enhancement, first of all in the thalami and the brain stem.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from enhancement.imaging.intensity import BrainStatistics, to_unit
from training.patients import Patient, Statistics
from training.recipe import Augmentation

Window = tuple[slice, slice, slice]
_T1_WEIGHTED = ("T1", "T1C")


def augment(
    volumes: Mapping[str, Tensor],
    patient: Patient,
    window: Window,
    settings: Augmentation,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Shift, bend and dirty the volumes of one patient.

    Parameters
    ----------
    volumes : {role: (z, y, x)}
        Brain mean 1. "target" follows whatever multiplies "T1C", and gets no noise.
    """
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    changed = dict(volumes)
    for role in volumes:
        if role == "target":
            continue
        volume = changed[role]
        if role != "T1C" and settings.shift_mm and rng.random() < 0.7:
            volume = shift(volume, rng.uniform(-1, 1, 3) * settings.shift_mm / patient.spacing_mm)
        if role in ("T1", "FLAIR") and settings.gamma:
            volume = volume.clamp_min(1e-3) ** float(np.exp(rng.normal() * settings.gamma))
        if role != "ADC" and settings.bias_field:
            field = bias_field(patient.shape_zyx, window, settings.bias_field * rng.uniform(0, 1.5), rng)
            volume = volume * field
            if role == "T1C":
                changed["target"] = changed["target"] * field
        sd = rng.uniform(*settings.noise) * (0.5 if role == "ADC" else 1.0)
        if sd > 0:
            volume = volume + sd * grain(volume.shape, rng, noise)
        changed[role] = volume
    return changed


def grain(shape: torch.Size, rng: np.random.Generator, generator: torch.Generator) -> Tensor:
    """Noise of SD 1, white or as an interpolation leaves it: neighbours alike, along each axis by another amount.

    A scan on the network's grid has been interpolated at least once, from thick slices or from another atlas. A network
    that has seen white noise only takes such grain for anatomy and keeps it.
    """
    noise = torch.randn(shape, generator=generator)
    if rng.random() < 0.35:
        return noise
    for axis in (*range(len(shape)), int(rng.integers(len(shape)))):  # one axis twice, as thick slices
        side = float(rng.uniform(0.0, 0.33))
        neighbours = torch.roll(noise, 1, axis) + torch.roll(noise, -1, axis)
        noise = (1 - 2 * side) * noise + side * neighbours
    return noise / noise.std().clamp_min(1e-6)


def shift(volume: Tensor, offset_zyx: np.ndarray) -> Tensor:
    """Shift by a part of a voxel or more, by linear interpolation; the edge voxels are repeated."""
    for axis, offset in enumerate(offset_zyx):
        whole = int(np.floor(offset))
        part = float(offset - whole)
        index = torch.arange(volume.shape[axis])
        first = (index - whole).clamp(0, volume.shape[axis] - 1)
        second = (index - whole - 1).clamp(0, volume.shape[axis] - 1)
        volume = torch.lerp(volume.index_select(axis, first), volume.index_select(axis, second), part)
    return volume


def bias_field(shape_zyx: tuple[int, int, int], window: Window, sd: float, rng: np.random.Generator) -> Tensor:
    """Exponential of smooth noise over the whole grid, seen through a window.

    Three to five control points an axis, linear between them but for a smoothing of the slopes: cheap, and
    as smooth as a receive coil.
    """
    points = int(rng.integers(3, 6))
    coarse = torch.from_numpy(rng.normal(0.0, max(sd, 1e-9), (1, 1, points, points, points)).astype(np.float32))
    fine = functional.interpolate(coarse, size=(16, 16, 16), mode="trilinear", align_corners=True)
    fine = functional.avg_pool3d(functional.pad(fine, (1,) * 6, mode="replicate"), 3, stride=1)
    axes = [
        torch.linspace(2 * w.start / n - 1, 2 * w.stop / n - 1, (w.stop - w.start) // 4 or 1)
        for w, n in zip(window, shape_zyx, strict=True)
    ]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    seen = functional.grid_sample(fine, torch.stack((x, y, z), dim=-1)[None], align_corners=True)
    size = [w.stop - w.start for w in window]
    return torch.exp(functional.interpolate(seen, size=size, mode="trilinear", align_corners=True))[0, 0]


def normalise(
    volumes: Mapping[str, Tensor],
    statistics: Mapping[str, Statistics | None],
    seen: Mapping[str, Tensor],
    limits: Mapping[str, tuple[float, float]],
    jitter: Augmentation | None,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """The plugin's normalisation, by given statistics of the whole brain, which may be jittered.

    Parameters
    ----------
    seen : {role: (z, y, x), bool}
        `enhancement.imaging.intensity.seen_voxels` of each volume; elsewhere the result is 0.
    jitter : Augmentation, optional
        A target that shares the statistics of the T1C also shares their jitter.
    """
    scaled: dict[str, Tensor] = {}
    jittered: dict[int, BrainStatistics] = {}
    for role, volume in volumes.items():
        known = statistics[role]
        if known is None:  # the patient lacks this series
            scaled[role] = torch.zeros_like(volume)
            continue
        if id(known) not in jittered:
            jittered[id(known)] = _jittered(known, jitter, rng)
        scaled[role] = to_unit(volume, jittered[id(known)], *limits[role]) * seen[role]
    return scaled


def _jittered(known: Statistics, jitter: Augmentation | None, rng: np.random.Generator) -> BrainStatistics:
    if jitter is None:
        return BrainStatistics(known.mean, known.sd)
    mean = known.mean + rng.normal() * jitter.mean_jitter * known.sd
    return BrainStatistics(mean, known.sd * float(np.exp(rng.normal() * jitter.sd_jitter)))


def randomise_contrast(head: Tensor, settings: Augmentation, rng: np.random.Generator) -> Tensor:
    """Bias field, exponent and noise on a whole head, so that no one contrast is learned."""
    window = tuple(slice(0, size) for size in head.shape)
    noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
    if settings.bias_field:
        head = head * bias_field(head.shape, window, settings.bias_field * rng.uniform(0, 1.5), rng)  # type: ignore[arg-type]
    top = float(head.max().clamp_min(1e-6))
    if settings.contrast:
        head = top * (head / top).clamp_min(0) ** float(np.exp(rng.normal() * 0.25))
    sd = rng.uniform(*settings.noise) * float(head[head > 0.05 * top].mean())
    return (head + sd * torch.randn(head.shape, generator=noise)).abs()
