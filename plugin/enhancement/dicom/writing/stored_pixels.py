"""Volumes of real numbers as the 16-bit integers that a classic MR Image holds, without a rescale.

The MR Image IOD has no Rescale Slope (PS3.3 C.8.3.1.1), so the scale must be one that needs none: the enhanced series
holds the same numbers as its reference does after its own rescale, and the ADC map holds 1e-6 mm^2/s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enhancement.arrays import Volume
from enhancement.dicom.writing.display import Window, enhanced_windows
from enhancement.errors import StageError

LARGEST = 65535
FEWEST_LEVELS = 200
"""Below this largest value, steps of one would be coarser than the noise of a usable scan."""

ADC_UNIT_MM2_S = 1e-6
ADC_LARGEST = 10_000
"""Three times the ADC of free water at body temperature; what lies above is noise of the fit."""

ADC_WINDOW = Window(0.0, 3000.0)
"""From restriction to free water; fixed, because the unit is."""


@dataclass(frozen=True)
class StoredPixels:
    """Integers to be stored, and how to show them.

    Parameters
    ----------
    array_zyx : (z, y, x), uint16
    scale : float
        Stored value per unit of the volume: a power of ten, 1 wherever possible.
    windows : tuple of Window
        In stored values; a viewer begins with the first.
    clipped_low, clipped_high : int
        Voxels that were moved to the ends of the range.
    """

    array_zyx: NDArray[np.uint16]
    scale: float
    windows: tuple[Window, ...]
    clipped_low: int
    clipped_high: int


def store_intensities(
    volume_zyx: Volume, reference_zyx: Volume, shown: Window | None, explanations: tuple[str, str]
) -> StoredPixels:
    """Intensities like those of the reference series: its own numbers wherever 16 bits can hold them.

    A power of ten is taken instead where the numbers are too large for 16 bits, or so small (floating-point or
    normalised sources) that rounding them would show.

    Parameters
    ----------
    volume_zyx : (z, y, x), units of the reference after rescale
        Negative values become 0.
    reference_zyx : (z, y, x), same units
        The reference, so that both series of a study keep one scale whatever the network did.
    shown : Window, optional
        In which the reference is shown, same units.
    explanations : (str, str)
        What the enhanced window is for, and the reference's own.

    Raises
    ------
    StageError
        DERIVED_PIXELS, if a value is not finite or nothing is above zero.
    """
    _require_finite(volume_zyx)
    peak = max(float(volume_zyx.max()), float(reference_zyx.max()))
    if peak <= 0:
        raise StageError("The enhanced volume must hold values above 0; found none", code="DERIVED_PIXELS")
    scale = 10.0 ** _exponent(peak)
    scaled = np.rint(volume_zyx * np.float32(scale))
    stored = np.clip(scaled, 0, LARGEST).astype(np.uint16)
    scaled_window = None if shown is None else Window(shown.low * scale, shown.high * scale)
    windows = enhanced_windows(stored, reference_zyx * np.float32(scale), scaled_window, explanations)
    low, high = int((scaled < 0).sum()), int((scaled > LARGEST).sum())
    return StoredPixels(stored, scale, windows, low, high)


def store_adc(adc_mm2_s_zyx: Volume) -> StoredPixels:
    """Integers of 1e-6 mm^2/s, clipped to [0, 10000].

    Raises
    ------
    StageError
        DERIVED_PIXELS, if a value is not finite.
    """
    _require_finite(adc_mm2_s_zyx)
    scaled = np.rint(adc_mm2_s_zyx.astype(np.float64) / ADC_UNIT_MM2_S)
    stored = np.clip(scaled, 0, ADC_LARGEST).astype(np.uint16)
    low, high = int((scaled < 0).sum()), int((scaled > ADC_LARGEST).sum())
    return StoredPixels(stored, 1 / ADC_UNIT_MM2_S, (ADC_WINDOW,), low, high)


def _exponent(peak: float) -> int:
    exponent = 0
    if peak < FEWEST_LEVELS:
        exponent = math.floor(math.log10(LARGEST / peak)) - 1  # leaves a factor of ten of headroom
        exponent = max(exponent, math.ceil(math.log10(FEWEST_LEVELS / peak)))
    while peak * 10.0**exponent > LARGEST:
        exponent -= 1
    return exponent


def _require_finite(volume_zyx: Volume) -> None:
    bad = int(volume_zyx.size - np.isfinite(volume_zyx).sum())
    if bad:
        raise StageError(f"Every voxel must be a finite number; {bad} are not", code="DERIVED_PIXELS")
