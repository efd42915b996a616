"""Position, orientation and spacing of each slice of a derived series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from enhancement.dicom.writing.source_header import decimal, find, numbers


@dataclass(frozen=True)
class Plane:
    """Image Plane module of one slice, as Decimal Strings.

    Parameters
    ----------
    pixel_spacing : tuple of str, mm
        Between rows, then between columns.
    """

    image_position_patient: tuple[str, ...]
    image_orientation_patient: tuple[str, ...]
    pixel_spacing: tuple[str, ...]

    def write(self, ds: Dataset) -> None:
        ds.ImagePositionPatient = list(self.image_position_patient)
        ds.ImageOrientationPatient = list(self.image_orientation_patient)
        ds.PixelSpacing = list(self.pixel_spacing)


def planes(image: sitk.Image) -> list[Plane]:
    """Every slice of `image`, computed from its geometry."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    column_mm, row_mm = image.GetSpacing()[0], image.GetSpacing()[1]
    orientation = tuple(decimal(_clean(number)) for number in (*direction[:, 0], *direction[:, 1]))
    spacing = (decimal(row_mm), decimal(column_mm))
    positions = [image.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(image.GetSize()[2])]
    return [Plane(tuple(decimal(_clean(n)) for n in position), orientation, spacing) for position in positions]


def source_plane(computed: Plane, image: sitk.Image, header: Dataset, frame_number: int | None) -> Plane:
    """The source's own words for the plane where they describe it, else the computed ones.

    The derived slice must lie exactly where its source says, to the last digit. A tiled source (mosaic) says where
    its tile sheet lies, which is no plane of the volume: then the computed plane stands.
    """
    found = [find(header, keyword, frame_number) for keyword in _KEYWORDS]
    values = [numbers(header, *spec, frame_number) for spec in zip(_KEYWORDS, (3, 6, 2), strict=True)]
    if any(value is None for value in values) or not _same_plane(computed, values, image):
        return computed
    words = [tuple(_word(item) for item in element.value) for element in found if element is not None]
    return Plane(words[0], words[1], words[2])


def slice_positions_mm(datasets: Sequence[Dataset]) -> NDArray[np.float64]:
    """(n,) distance of each slice along the common normal."""
    normal = normal_of(datasets[0])
    return np.array([np.dot(normal, [float(v) for v in ds.ImagePositionPatient]) for ds in datasets])


def normal_of(ds: Dataset) -> NDArray[np.float64]:
    """Unit vector from row direction x column direction, LPS."""
    orientation = np.array([float(value) for value in ds.ImageOrientationPatient])
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


_KEYWORDS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")


def _same_plane(computed: Plane, values: Sequence[Any], image: sitk.Image) -> bool:
    position, orientation, spacing = (np.array(value) for value in values)
    distance = np.linalg.norm(position - _floats(computed.image_position_patient))
    return bool(
        distance < 0.25 * min(image.GetSpacing())
        and np.abs(orientation - _floats(computed.image_orientation_patient)).max() < 0.01
        and np.allclose(spacing, _floats(computed.pixel_spacing), rtol=0.01)
    )


def _floats(words: Sequence[str]) -> NDArray[np.float64]:
    return np.array([float(word) for word in words])


def _word(item: Any) -> str:
    """As the source wrote it; FD values of multi-frame objects become Decimal Strings."""
    original = getattr(item, "original_string", None)
    if original is not None and len(str(original).strip()) <= 16:
        return str(original).strip()
    return decimal(float(item))


def _clean(number: float) -> float:
    """Zero for what is only rounding error, so that -1.2e-17 does not fill a Decimal String."""
    return 0.0 if abs(number) < 1e-10 else float(number)
