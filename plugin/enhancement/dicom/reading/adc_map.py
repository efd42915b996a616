"""Scanners' ADC maps, with their unit.

Most files name no unit, and those that do may be wrong, so a unit counts only if it makes the map that of a brain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from enhancement.dicom.reading.headers import items, number, text, walk_groups
from enhancement.dicom.reading.series import SeriesVolume, SourceSlice, plan_series, read_volume
from enhancement.errors import DiffusionInputError

Grid = np.ndarray[Any, np.dtype[np.float32]]

_UNITS_MM2_S = {
    "mm2/s": 1.0,
    "um2/s": 1e-6,
    "10-6.mm2/s": 1e-6,
    "10*-6.mm2/s": 1e-6,
    "10-3.mm2/s": 1e-3,
    "10*-3.mm2/s": 1e-3,
    "um2/ms": 1e-3,
}
_TRANSFORMATION = "PixelValueTransformationSequence"
_EXPONENTS = (0, 3, 5, 6, 9)
_BRAIN_ADC_MM2_S = (0.4e-3, 1.6e-3)
_ENOUGH_VOXELS = 4_000_000


def read_adc(instances: Sequence[Dataset]) -> SeriesVolume:
    """Read a scanner's ADC map, in mm^2/s.

    The unit comes from RealWorldValueMapping where the file has it; else it is the power of ten that puts
    the median of the head between 0.4 and 1.6e-3 mm^2/s, as most files name none.

    Raises
    ------
    DiffusionInputError
        No power of ten makes it the ADC of a brain.
    InconsistentGeometry, MissingAttribute, UnreadablePixels
        As for `read_series`.
    """
    volume, array = read_volume(plan_series(instances))
    factor, note = _adc_unit(volume, array)
    array *= np.float32(factor)
    return replace(volume, notes=(*volume.notes, note))


def adc_factor(array: Grid) -> float | None:
    """What a map of a head must be multiplied by to be in mm^2/s; None if no usual unit fits.

    Parameters
    ----------
    array : (z, y, x), any of mm^2/s, 1e-3, 1e-5, 1e-6 or 1e-9 mm^2/s
    """
    median = _head_median(array)
    for exponent in _EXPONENTS:
        if _BRAIN_ADC_MM2_S[0] <= median * 10.0**-exponent <= _BRAIN_ADC_MM2_S[1]:
            return 10.0**-exponent
    return None


def _adc_unit(volume: SeriesVolume, array: Grid) -> tuple[float, str]:
    median = _head_median(array)
    for factor in _named_factors(volume.slices[0]):
        if _BRAIN_ADC_MM2_S[0] <= median * factor <= _BRAIN_ADC_MM2_S[1]:
            return factor, "unit of the ADC from RealWorldValueMapping"
    if (inferred := adc_factor(array)) is not None:
        return inferred, f"unit of the ADC inferred as {inferred:g} mm^2/s"
    raise DiffusionInputError(
        f"Series {volume.series_instance_uid}: its median {median:.4g} is the ADC of a brain in no usual unit.",
        code="ADC_UNIT",
        advice="Leave the scanner's ADC map out by a rule; the ADC is then computed from the DWI.",
    )


def _named_factors(source: SourceSlice) -> Iterator[float]:
    """What the header says rescaled values must be multiplied by to be mm^2/s.

    A Real World Value Mapping starts from stored values (PS3.3 C.7.6.16.2.11), those read are rescaled already.
    """
    groups = (source.header, *walk_groups(source.header, (source.frame_number or 1) - 1))
    found = [number(item, "RescaleSlope") for group in groups for item in items(group, _TRANSFORMATION)]
    rescale = next((slope for slope in (*found, number(source.header, "RescaleSlope")) if slope), 1.0)
    for mapping in (item for group in groups for item in items(group, "RealWorldValueMappingSequence")):
        for unit in items(mapping, "MeasurementUnitsCodeSequence"):
            factor, slope = _UNITS_MM2_S.get(text(unit, "CodeValue")), number(mapping, "RealWorldValueSlope")
            if factor and slope:
                yield slope * factor / rescale


def _head_median(array: Grid) -> float:
    """Median of the positive voxels in the middle of the picture, where the brain is in any head scan."""
    z, y, x = (slice(size // 4, max(size // 4 + 1, size - size // 4)) for size in array.shape)
    step = max(1, round((array.size / _ENOUGH_VOXELS) ** (1 / 3)))  # a median of a large map needs copies of it
    middle = array[z, y, x][::step, ::step, ::step]
    positive = middle[middle > 0]
    return float(np.median(positive)) if positive.size else 0.0
