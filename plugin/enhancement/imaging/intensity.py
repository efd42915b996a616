"""Intensity normalisation: the one definition that training, evaluation and the plugin share.

MR intensities have no unit. Each input is z-scored over the brain, clipped to the limits of its channel in the
model's manifest and mapped to [0, 1]; outside the brain it is 0. The way back uses the *input T1c's* brain mean and
standard deviation, so that the result has T1c-like numbers and its contrast can be compared with the T1c's.

Source: Bône et al. 2022, with limits per channel instead of pooled ones, because the limits of a low-dose T1c clip
the enhancement of a full-dose one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enhancement.errors import SkullStripFailed

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class BrainStatistics:
    """Mean and standard deviation of a series inside the brain, in the series' own numbers."""

    mean: float
    sd: float


def brain_statistics(array_zyx: NDArray[np.floating], brain: Mask) -> BrainStatistics:
    """Measure a volume inside the brain.

    Parameters
    ----------
    array_zyx : (z, y, x)
        One magnitude volume or an ADC map.
    brain : (z, y, x)
        Brain mask on the same grid.

    Raises
    ------
    SkullStripFailed
        If the mask is empty, or the volume has no contrast or a value that is not finite inside it.
    """
    values = array_zyx[brain]
    if values.size == 0:
        raise SkullStripFailed("a brain mask with voxels was needed, found an empty one", code="BRAIN_EMPTY")
    mean, sd = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    if not np.isfinite(mean) or not sd > 0:
        raise SkullStripFailed(
            f"the brain of a series was to have contrast, found mean {mean:.4g} and standard deviation {sd:.4g}",
            code="BRAIN_WITHOUT_CONTRAST",
        )
    return BrainStatistics(mean, sd)


def z_score(array_zyx: NDArray[np.floating], brain: Mask) -> tuple[Array, BrainStatistics]:
    """Subtract the brain's mean and divide by its standard deviation.

    Parameters
    ----------
    array_zyx : (z, y, x), the series' own numbers
    brain : (z, y, x)
        Brain mask on the same grid.

    Returns
    -------
    z : (z, y, x), dimensionless
        Mean 0 and standard deviation 1 inside `brain`; voxels outside are scaled alike, not cleared.
    statistics : BrainStatistics
        What was subtracted and divided by.

    Raises
    ------
    SkullStripFailed
        If the mask is empty or the volume has no contrast inside it.

    Examples
    --------
    >>> volume = np.array([[[1.0, 3.0, 9.0]]], dtype=np.float32)
    >>> z, statistics = z_score(volume, volume < 5)
    >>> z, statistics
    (array([[[-1.,  1.,  7.]]], dtype=float32), BrainStatistics(mean=2.0, sd=1.0))
    """
    statistics = brain_statistics(array_zyx, brain)
    return ((array_zyx - statistics.mean) / statistics.sd).astype(np.float32), statistics


def to_unit(z: NDArray[np.floating], z_min: float, z_max: float) -> Array:
    """Clip a z-score to [z_min, z_max] and map that to [0, 1].

    Examples
    --------
    >>> to_unit(np.array([-9.0, -3.0, 4.5, 12.0, 99.0]), -3, 12)
    array([0. , 0. , 0.5, 1. , 1. ], dtype=float32)
    """
    unit: Array = np.clip((z - z_min) / (z_max - z_min), 0.0, 1.0).astype(np.float32)
    return unit


def from_unit(unit: NDArray[np.floating], z_min: float, z_max: float, statistics: BrainStatistics) -> Array:
    """Map [0, 1] back to the numbers of the series that `statistics` was measured on; not clipped.

    Examples
    --------
    >>> from_unit(np.array([0.2]), -3, 12, BrainStatistics(mean=500.0, sd=100.0))
    array([500.], dtype=float32)
    """
    return ((unit * (z_max - z_min) + z_min) * statistics.sd + statistics.mean).astype(np.float32)


def normalise(
    array_zyx: NDArray[np.floating], brain: Mask, z_min: float, z_max: float
) -> tuple[Array, BrainStatistics]:
    """One input of the network: z-score, limits, [0, 1], and 0 outside the brain.

    Parameters
    ----------
    array_zyx : (z, y, x), the series' own numbers
    brain : (z, y, x)
        Brain mask on the same grid.
    z_min, z_max : float
        Limits of this channel, from the model's manifest.

    Returns
    -------
    unit : (z, y, x), in [0, 1]
    statistics : BrainStatistics
        For the way back with `from_unit`.

    Raises
    ------
    SkullStripFailed
        If the mask is empty or the volume has no contrast inside it.
    """
    z, statistics = z_score(array_zyx, brain)
    unit = to_unit(z, z_min, z_max)
    unit[~brain] = 0.0
    return unit, statistics


def clipped_fraction(z: NDArray[np.floating], brain: Mask, z_max: float) -> float:
    """Share of the brain's voxels beyond the upper limit: bright signal that the network cannot see in full."""
    return float(np.mean(z[brain] > z_max))
