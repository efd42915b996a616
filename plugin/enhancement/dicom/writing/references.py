"""Which source images a derived slice points at, and the bookkeeping that the standard wants for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from enhancement.dicom.reading.series import SourceSlice
from enhancement.dicom.writing.provenance import code
from enhancement.dicom.writing.source_header import numbers, value

Preserved = Literal["YES", "NO", "REORIENTED_ONLY"]


def flatten(slices: Iterable[Any]) -> Iterator[SourceSlice]:
    """Source slices out of any nesting (a diffusion series groups them by b-value)."""
    for item in slices:
        if isinstance(item, SourceSlice):
            yield item
        else:
            yield from flatten(item)


def representatives(image: sitk.Image, slices: Sequence[SourceSlice]) -> list[SourceSlice]:
    """For each slice of `image`, the source slice that passes nearest to its centre.

    A whole volume goes into every slice of the result when the network sees volumes. Naming all of its slices in
    each instance would make headers larger than the pixels, so the one at the same place stands for the series.
    """
    corners = [_corner(part) for part in slices]
    known = [index for index, corner in enumerate(corners) if corner is not None]
    if not known:
        return [slices[0]] * image.GetSize()[2]
    positions = np.array([corners[index] for index in known])
    normal = _normal(slices[known[0]])
    along = positions @ normal
    nearest = [int(np.abs(along - center @ normal).argmin()) for center in _centers(image)]
    return [slices[known[index]] for index in nearest]


def by_plane(image: sitk.Image, slices: Sequence[SourceSlice]) -> list[list[SourceSlice]]:
    """For each slice of `image`, every source slice that lies in its plane.

    Where the headers do not tell (a mosaic holds a whole volume), every source slice belongs to every plane.
    """
    count = image.GetSize()[2]
    groups: list[list[SourceSlice]] = [[] for _ in range(count)]
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    origin, spacing = np.array(image.GetOrigin()), image.GetSpacing()[2]
    for part in slices:
        corner = _corner(part)
        if corner is None:
            break
        k = round(float((corner - origin) @ normal) / spacing)
        if 0 <= k < count:
            groups[k].append(part)
    if not all(groups):
        groups = [list(slices) for _ in range(count)]
    return [list({(part.sop_instance_uid, part.frame_number): part for part in group}.values()) for group in groups]


def source_image(part: SourceSlice, preserved: Preserved) -> Dataset:
    """Source Image Sequence item (PS3.3 C.12.4): which image, what for, whether the places are the same."""
    ds = _reference(part)
    ds.SpatialLocationsPreserved = preserved
    ds.PurposeOfReferenceCodeSequence = [code("121322", "DCM", "Source image for image processing operation")]
    return ds


def series_references(parts: Iterable[SourceSlice]) -> DicomSequence:
    """Common Instance Reference: every referenced instance once, under its series (PS3.3 C.12.2)."""
    series: dict[str, dict[str, SourceSlice]] = {}
    for part in parts:
        uid = str(value(part.header, "SeriesInstanceUID"))
        series.setdefault(uid, {})[part.sop_instance_uid] = part
    items = []
    for uid, instances in series.items():
        ds = Dataset()
        ds.SeriesInstanceUID = uid
        ds.ReferencedInstanceSequence = [_reference(part, frames=False) for part in instances.values()]
        items.append(ds)
    return DicomSequence(items)


def related_series(study_instance_uid: str, series_instance_uid: str) -> DicomSequence:
    """The former result that this series supersedes.

    CID 7210 has no term for it, and an empty Purpose of Reference is allowed (Type 2): Image Comments says it in words.
    """
    ds = Dataset()
    ds.StudyInstanceUID = study_instance_uid
    ds.SeriesInstanceUID = series_instance_uid
    ds.PurposeOfReferenceCodeSequence = []
    return DicomSequence([ds])


def _reference(part: SourceSlice, *, frames: bool = True) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID = part.sop_class_uid
    ds.ReferencedSOPInstanceUID = part.sop_instance_uid
    if frames and part.frame_number is not None:
        ds.ReferencedFrameNumber = part.frame_number
    return ds


def _corner(part: SourceSlice) -> NDArray[np.float64] | None:
    position = numbers(part.header, "ImagePositionPatient", 3, part.frame_number)
    return None if position is None else np.array(position)


def _normal(part: SourceSlice) -> NDArray[np.float64]:
    orientation = numbers(part.header, "ImageOrientationPatient", 6, part.frame_number) or [1, 0, 0, 0, 1, 0]
    return np.cross(orientation[:3], orientation[3:])


def _centers(image: sitk.Image) -> list[NDArray[np.float64]]:
    columns, rows, count = image.GetSize()
    middle = ((columns - 1) / 2, (rows - 1) / 2)
    return [np.array(image.TransformContinuousIndexToPhysicalPoint((*middle, float(k)))) for k in range(count)]
