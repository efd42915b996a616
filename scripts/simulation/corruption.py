"""What acquisition and preprocessing do to a perfect image: blur, slices, shifts, receive field, noise, ghosts.

Blur, slice thickness and shift act per axis, so the three are one small matrix per axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Volume
from simulation.fields import bias_field, smooth_noise

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SeriesDraw:
    """Random imperfections of one series.

    Attributes
    ----------
    psf_mm : z, y, x
        Standard deviation of the point-spread function.
    thickness_mm : z, y, x
        Slice thickness; 1 is none.
    shift_mm : z, y, x
        Residual misregistration to the T1c.
    bias_sd, bias_points
        Receive field: SD of its logarithm and control points per axis.
    gain
    noise
        SD over the brain's mean signal.
    noise_psf_mm
        Correlation of the noise after interpolation.
    noise_shape
        SD of the logarithm of the noise level over space (g-factor).
    ghost : relative amplitude, ghost_axis, ghost_shift_voxels
    """

    psf_mm: Triple
    thickness_mm: Triple
    shift_mm: Triple
    bias_sd: float
    bias_points: int
    gain: float
    noise: float
    noise_psf_mm: float
    noise_shape: float
    ghost: float
    ghost_axis: int
    ghost_shift: int
    seed: int


def draw_shift(rng: np.random.Generator, probability: float = 0.7, largest_mm: float = 1.0) -> Triple:
    """A shift of up to ``largest_mm`` in a random direction, or none."""
    if rng.random() > probability:
        return (0.0, 0.0, 0.0)
    direction = rng.normal(0, 1, 3)
    vector = direction / np.linalg.norm(direction) * rng.uniform(0, largest_mm)
    return float(vector[0]), float(vector[1]), float(vector[2])


def draw_series(
    rng: np.random.Generator,
    *,
    shift_mm: Triple = (0.0, 0.0, 0.0),
    thick: float = 0.15,
    thickness_mm: tuple[float, float] = (2.0, 5.0),
    noise: tuple[float, float] = (0.01, 0.09),
    bias_sd: tuple[float, float] = (0.02, 0.22),
) -> SeriesDraw:
    """Draw the imperfections of one series; ``thick`` is the probability of thick slices."""
    thickness = [1.0, 1.0, 1.0]
    if rng.random() < thick:
        thickness[int(rng.choice(3, p=(0.7, 0.1, 0.2)))] = float(rng.uniform(*thickness_mm))
    psf = rng.uniform(0.25, 0.65, 3)
    return SeriesDraw(
        psf_mm=(float(psf[0]), float(psf[1]), float(psf[2])),
        thickness_mm=(thickness[0], thickness[1], thickness[2]),
        shift_mm=shift_mm,
        bias_sd=float(rng.uniform(*bias_sd)),
        bias_points=int(rng.integers(1, 4)),
        gain=float(np.exp(rng.normal(0, 0.4))),
        noise=float(np.exp(rng.uniform(*np.log(noise)))),
        noise_psf_mm=float(rng.uniform(0.0, 0.6)),
        noise_shape=float(rng.uniform(0, 0.3)),
        ghost=float(rng.uniform(0.01, 0.05)) if rng.random() < 0.15 else 0.0,
        ghost_axis=int(rng.integers(1, 3)),
        ghost_shift=int(rng.integers(12, 60)),
        seed=int(rng.integers(2**31)),
    )


def axis_operator(size: int, psf_mm: float, thickness_mm: float, shift_mm: float) -> NDArray[np.float32]:
    """(size, size) matrix: average over slices, interpolate between them linearly, blur and shift."""
    voxels = np.arange(size, dtype=float)
    width = max(psf_mm, 0.2)
    kernel = np.exp(-0.5 * ((voxels[:, None] + shift_mm - voxels[None, :]) / width) ** 2)
    kernel /= np.maximum(kernel.sum(1, keepdims=True), 1e-9)
    if thickness_mm <= 1.01:
        return np.asarray(kernel, np.float32)
    centres = np.arange(thickness_mm / 2 - 0.5, size - 1 + thickness_mm, thickness_mm)
    profile = np.clip(thickness_mm / 2 + 0.5 - np.abs(centres[:, None] - voxels[None, :]), 0, 1)
    empty = profile.sum(1) < 1e-6
    profile[empty, -1] = 1
    profile /= profile.sum(1, keepdims=True)
    back = np.clip(1 - np.abs(voxels[:, None] - centres[None, :]) / thickness_mm, 0, None)
    back /= np.maximum(back.sum(1, keepdims=True), 1e-9)
    return np.asarray(kernel @ back @ profile, np.float32)


def apply_operators(volume: Volume, operators: tuple[NDArray[np.float32], ...]) -> Volume:
    """Apply one operator per axis (z, y, x): a dense matrix, or a short kernel for a plain blur and shift."""
    out = volume
    for axis, operator in enumerate(operators):
        if operator.ndim == 1:
            out = ndimage.correlate1d(out, operator, axis=axis, mode="nearest")
        else:
            out = np.moveaxis(np.tensordot(operator, out, (1, axis)), 0, axis)
    return np.ascontiguousarray(out, dtype=np.float32)


def axis_kernel(psf_mm: float, shift_mm: float) -> NDArray[np.float32]:
    """Odd-length correlation kernel of a Gaussian blur and a sub-voxel shift."""
    offsets = np.arange(-3, 4)
    kernel = np.exp(-0.5 * ((offsets - shift_mm) / max(psf_mm, 0.2)) ** 2)
    return np.asarray(kernel / kernel.sum(), np.float32)


def series_operators(draw: SeriesDraw, shape: tuple[int, int, int]) -> tuple[NDArray[np.float32], ...]:
    """The operators of one series, one per axis."""
    return tuple(
        axis_kernel(p, s) if t <= 1.01 and abs(s) <= 2 else axis_operator(n, p, t, s)
        for n, p, t, s in zip(shape, draw.psf_mm, draw.thickness_mm, draw.shift_mm, strict=True)
    )


def receive_field(draw: SeriesDraw, shape: tuple[int, int, int]) -> Volume:
    """Gain times receive field of one series."""
    rng = np.random.default_rng(draw.seed)
    return bias_field(rng, shape, draw.bias_sd, draw.bias_points) * np.float32(draw.gain)


def add_noise(volume: Volume, draw: SeriesDraw, level: float) -> Volume:
    """Rician noise with SD ``level`` (same units as the volume), correlated and spatially varying as drawn."""
    rng = np.random.default_rng(draw.seed + 1)
    real = rng.standard_normal(volume.shape, dtype=np.float32)
    if draw.noise_psf_mm > 0.25:
        kernel = axis_kernel(draw.noise_psf_mm, 0.3)
        real = apply_operators(real, (kernel,) * 3)
        real /= np.float32((kernel**2).sum() ** 1.5)
    scale = np.float32(level)
    if draw.noise_shape > 0.02:
        real *= np.exp(np.float32(draw.noise_shape) * smooth_noise(rng, volume.shape, 60))
    # The imaginary part is the same field read backwards: independent voxel by voxel, and free.
    imaginary = real[::-1, ::-1, ::-1] * scale
    return np.asarray(np.hypot(volume + real * scale, imaginary), np.float32)


def add_ghost(volume: Volume, draw: SeriesDraw) -> Volume:
    """Faint displaced copies along the phase direction, as from motion or pulsation."""
    if draw.ghost <= 0:
        return volume
    copies = np.roll(volume, draw.ghost_shift, draw.ghost_axis) - np.roll(volume, -draw.ghost_shift, draw.ghost_axis)
    return np.asarray(np.abs(volume + np.float32(draw.ghost) * copies), np.float32)


def warp_along(volume: Volume, displacement: Volume, axis: int) -> Volume:
    """Move intensities along one axis by a smooth displacement in voxels (linear interpolation)."""
    size = volume.shape[axis]
    line = np.arange(size, dtype=np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
    position = np.clip(line + displacement, 0, size - 1.001)
    cell = position.astype(np.int32)
    share = position - cell
    low = np.take_along_axis(volume, cell, axis)
    return np.asarray(low + share * (np.take_along_axis(volume, cell + 1, axis) - low), np.float32)
