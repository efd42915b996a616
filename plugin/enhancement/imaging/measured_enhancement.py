"""Show of what the networks add to a T1c only what the T1c itself supports.

A network that amplifies makes lesions of noise, of the edge of a fold and of a vessel's piece as well, and a reader
then has more false marks to dismiss. Two things tell them from lesions, on simulated patients:

* What the agent did was measured: the T1c beyond what its tissue shows without agent. Of that, smoothed as far as a
  lesion of 2 to 3 mm allows, some times the measured may be added; where nothing stands out of the noise, no more than
  the removal of noise needs.
* A network that is not sure adds a little of what it would add were it sure (the least squares ask that of it). So what
  it adds faintly is as often wrong as right, and is not shown; what it adds plainly but not brightly is shown in part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from enhancement.imaging.local_alignment import aligned

_BINS = 64
_SLOW_MM = 15.0
_SLOW_CLIP = 0.1  # of the brain's median: lesions shall not pass for something slow
_SMOOTH_MM = 1.0
_LEAST_WEIGHT = 0.3  # of the smoothing window that lies in the brain
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class Measured:
    """What the agent added, as far as one T1 and one T1c tell; units of the T1c.

    Attributes
    ----------
    excess_zyx : (z, y, x), float32
        The T1c less what its tissue shows without agent, smoothed by 1 mm; 0 outside the brain.
    below_zyx : (z, y, x), float32
        How far the T1c lies below itself smoothed by 1 mm; 0 where it lies above, and outside the brain.
    noise : float
        Robust standard deviation of the excess in the brain.
    voxel_noise : float
        The same before smoothing.
    level : float
        Median of the T1c in the brain.
    """

    excess_zyx: Volume
    below_zyx: Volume
    noise: float
    voxel_noise: float
    level: float


def measured_enhancement(t1: Volume, t1c: Volume, brain: Mask) -> Measured:
    """Find what is brighter in the T1c than the same tissue is elsewhere.

    The T1 is carried to the T1c's scale by the median of the T1c in each of 64 quantile bins of the T1. So a difference
    of gain or of sequence is no enhancement, and T1-bright blood, fat and melanin aren't either; what varies slower
    than 15 mm is no enhancement, but a receive field; nor is a border of tissue that lies elsewhere in the T1
    (`local_alignment`).

    Parameters
    ----------
    t1, t1c : (z, y, x)
        Intensities of 0 and above (no z-scores: what is twice as bright before is expected twice as bright after), on
        one grid of 1 mm, bias fields removed, each in units of its own.
    brain : (z, y, x)
        At least some thousand voxels.
    """
    values = t1c[brain].astype(np.float64)
    before = aligned(t1, t1c, brain, partial(_expected, values=values))[brain].astype(np.float64)
    excess = np.zeros(t1c.shape, dtype=np.float32)
    excess[brain] = values - _expected(before, values)
    level = float(np.median(values))
    slow = smoothed_within(np.clip(excess, -_SLOW_CLIP * level, _SLOW_CLIP * level), brain, _SLOW_MM)
    excess = np.where(brain, excess - slow, 0).astype(np.float32)
    smooth = np.where(brain, smoothed_within(excess, brain, _SMOOTH_MM), 0).astype(np.float32)
    below = np.where(brain, np.maximum(smoothed_within(t1c, brain, _SMOOTH_MM) - t1c, 0), 0).astype(np.float32)
    return Measured(smooth, below, _spread(smooth[brain]), _spread(excess[brain]), level)


def limit_to_measured(
    prediction: Volume,
    t1c: Volume,
    measured: Measured,
    *,
    gain: float,
    noise_sds: float,
    voxel_noise_sds: float,
    faint: float,
    plain: float,
    bright: float,
    plain_part: float,
) -> Volume:
    """Show of what the networks add only what was measured, and only what is plain; never raises a voxel.

    Parameters
    ----------
    prediction, t1c : (z, y, x)
        In the units of `measured`.
    measured : Measured
    gain : float
        Times the measured enhancement that may be added.
    noise_sds : float
        Standard deviations of its noise that are taken off it first.
    voxel_noise_sds : float
        Standard deviations of a voxel's noise by which one that lies below its surroundings may be raised to them, or
        noise could not be removed. Above them nothing is added for that: a speck would become a spot.
    faint, plain, bright : float
        Additions that the measured allows, smoothed by 1 mm, in units of the brain's level: nothing is shown up to the
        first, `plain_part` of them at the second, all from the third on. A faint addition is as often wrong as right,
        a bright one is mostly right.
    plain_part : float

    Returns
    -------
    (z, y, x), float32
    """
    # The brightest neighbour counts: an edge that the smoothing took from a lesion is given back.
    stands_out = ndimage.maximum_filter(measured.excess_zyx, size=3) - noise_sds * measured.noise
    noise = np.float32(voxel_noise_sds * measured.voxel_noise)
    added = np.minimum(prediction - t1c, np.float32(gain) * np.maximum(stands_out, 0.0) + noise)
    height = ndimage.maximum_filter(ndimage.gaussian_filter(added, _SMOOTH_MM), size=5) / np.float32(measured.level)
    part = _step(height, faint, plain) * (plain_part + (1.0 - plain_part) * _step(height, plain, bright))
    shown = np.maximum(part * added, np.minimum(measured.below_zyx, noise))
    return np.asarray(t1c + np.minimum(added, shown), dtype=np.float32)


def _step(height: Volume, start: float, end: float) -> Volume:
    """From 0 up to `start` to 1 from `end` on, smooth at both ends."""
    way = np.clip((height - start) / (end - start), 0.0, 1.0)
    return np.asarray(way * way * (3.0 - 2.0 * way), dtype=np.float32)


def _expected(before: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The T1c of tissue that has this T1; beyond the brightest bin it grows with the T1."""
    edges = np.quantile(before, np.linspace(0, 1, _BINS + 1))
    place = np.clip(np.searchsorted(edges, before, side="right") - 1, 0, _BINS - 1)
    filled = np.flatnonzero(np.bincount(place, minlength=_BINS))
    every = np.arange(_BINS)  # a T1 of few distinct values leaves bins empty
    medians = np.interp(every, filled, [np.median(values[place == b]) for b in filled])
    centres = np.interp(every, filled, [np.median(before[place == b]) for b in filled])
    expected = np.interp(before, centres, ndimage.gaussian_filter1d(medians, 1.0))
    return np.asarray(expected * np.maximum(before / max(edges[-2], 1e-12), 1.0))


def smoothed_within(volume: Volume, brain: Mask, sigma: float) -> Volume:
    """Gaussian over the brain's voxels alone."""
    weight = ndimage.gaussian_filter(brain.astype(np.float32), sigma, mode="constant", truncate=3.0)
    total = ndimage.gaussian_filter(np.where(brain, volume, 0), sigma, mode="constant", truncate=3.0)
    return np.asarray(total / np.maximum(weight, _LEAST_WEIGHT), dtype=np.float32)


def _spread(values: Volume) -> float:
    return _MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))
