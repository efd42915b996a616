"""Intensity normalisation: the one definition that training, evaluation and the plugin share.

MR intensities have no unit. Each input is z-scored over the brain, clipped to the limits of its channel in the
model's manifest and mapped to [0, 1]; outside the brain it is 0. The way back uses the *input T1c's* brain mean and
standard deviation, so that the result has T1c-like numbers and its contrast can be compared with the T1c's.

Source: Bône et al. 2022, with limits per channel instead of pooled ones, because the limits of a low-dose T1c clip
the enhancement of a full-dose one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Mask, Volume
from enhancement.errors import BrainExtractionFailed


class Numbers(Protocol):
    """A NumPy array or a torch tensor."""

    def __sub__(self, other: Any, /) -> Any: ...


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
    BrainExtractionFailed
        If the mask is empty, or the volume has no contrast or a value that is not finite inside it.
    """
    values = array_zyx[brain]
    if values.size == 0:
        raise BrainExtractionFailed("a brain mask with voxels was needed, found an empty one", code="BRAIN_EMPTY")
    mean, sd = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    if not np.isfinite(mean) or not sd > 0:
        raise BrainExtractionFailed(
            f"the brain of a series was to have contrast, found mean {mean:.4g} and standard deviation {sd:.4g}",
            code="BRAIN_WITHOUT_CONTRAST",
        )
    return BrainStatistics(mean, sd)


def to_unit(volume: Numbers, statistics: BrainStatistics, z_min: float, z_max: float) -> Any:
    """z-score by `statistics`, clip to [z_min, z_max] and map that to [0, 1].

    The arithmetic is that of NumPy arrays and of torch tensors alike, so that training has no second definition.

    Examples
    --------
    >>> to_unit(np.array([-9.0, -3.0, 4.5, 12.0, 99.0]), BrainStatistics(mean=0.0, sd=1.0), -3, 12)
    array([0. , 0. , 0.5, 1. , 1. ])
    """
    return (((volume - statistics.mean) / statistics.sd - z_min) / (z_max - z_min)).clip(0.0, 1.0)


def from_unit(unit: NDArray[np.floating], z_min: float, z_max: float, statistics: BrainStatistics) -> Volume:
    """Map [0, 1] back to the numbers of the series that `statistics` was measured on; not clipped.

    Examples
    --------
    >>> from_unit(np.array([0.2]), -3, 12, BrainStatistics(mean=500.0, sd=100.0))
    array([500.], dtype=float32)
    """
    return ((unit * (z_max - z_min) + z_min) * statistics.sd + statistics.mean).astype(np.float32)


def seen_voxels(role: str, array_zyx: Any, brain: Any, covered: Any = True) -> Any:
    """Where the values of an input count: in the brain, in its field of view and, for an ADC map, where it was fitted.

    Parameters
    ----------
    role : str
        Of the input. An ADC of zero is no measurement.
    array_zyx : (z, y, x)
        NumPy array or torch tensor, the series' own numbers.
    brain, covered : (z, y, x), bool
        Brain mask, and where the series has data.
    """
    inside = brain & covered
    return inside & (array_zyx > 0) if role == "ADC" else inside


def normalise(
    role: str, array_zyx: NDArray[np.floating], brain: Mask, z_min: float, z_max: float, covered: Mask | bool = True
) -> tuple[Volume, BrainStatistics]:
    """One input of the network: z-score, limits, [0, 1], and 0 where it has no value that counts.

    Parameters
    ----------
    role : str
        Of the input; see `seen_voxels`.
    array_zyx : (z, y, x), the series' own numbers
    brain : (z, y, x)
        Brain mask on the same grid.
    z_min, z_max : float
        Limits of this channel, from the model's manifest.
    covered : (z, y, x), optional
        Where the series has data.

    Returns
    -------
    unit : (z, y, x), in [0, 1]
    statistics : BrainStatistics
        For the way back with `from_unit`.

    Raises
    ------
    BrainExtractionFailed
        If nothing counts or the volume has no contrast there.
    """
    inside = seen_voxels(role, array_zyx, brain, covered)
    statistics = brain_statistics(array_zyx, inside)
    unit: Volume = to_unit(array_zyx, statistics, z_min, z_max).astype(np.float32)
    unit[~inside] = 0.0
    return unit, statistics
