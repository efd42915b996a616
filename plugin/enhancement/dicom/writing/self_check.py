"""Checks on a derived series before anything of it leaves this process.

dciodvfy sees one object at a time and neither pixels nor references, so these rules are held here. A finding is a
fault of ours, not of the study.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from io import BytesIO

import numpy as np
from pydicom import dcmread, dcmwrite
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import UID

from enhancement.dicom.writing.plane import slice_positions_mm
from enhancement.errors import StageError

TYPE_1 = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "ImageType",
    "ScanningSequence",
    "SequenceVariant",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "DerivationDescription",
    "SourceImageSequence",
    "ReferencedSeriesSequence",
    "ContributingEquipmentSequence",
    "PixelData",
)
SAME_OVER_SERIES = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "SeriesNumber",
    "Modality",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "ImageType",
    "PatientName",
    "PatientID",
    "WindowCenter",
    "WindowWidth",
)
SPACING_TOLERANCE = 0.1
"""Of the slice spacing; series that vary more are refused when they are read."""


def check_series(datasets: Sequence[Dataset], *, study_sop_instance_uids: Collection[str] | None = None) -> None:
    """Hold a derived series to everything that it must be.

    Parameters
    ----------
    datasets : sequence of Dataset
        The whole series.
    study_sop_instance_uids : collection of str, optional
        What the study holds; then every referenced source must be in it.

    Raises
    ------
    StageError
        DERIVED_ATTRIBUTES, DERIVED_IDENTITY, DERIVED_GEOMETRY, DERIVED_PIXELS, DERIVED_REFERENCES or DERIVED_ENCODING.
    """
    if not datasets:
        raise StageError("A derived series needs at least one instance; there is none", code="DERIVED_ATTRIBUTES")
    for ds in datasets:
        _check_attributes(ds)
    _check_identity(datasets)
    _check_geometry(datasets)
    for ds in datasets:
        _check_pixels(ds)
        _check_references(ds, study_sop_instance_uids)
        _check_encoding(ds)


def _check_attributes(ds: Dataset) -> None:
    absent = [keyword for keyword in TYPE_1 if keyword not in ds or ds[keyword].is_empty]
    _require(not absent, "DERIVED_ATTRIBUTES", f"needs {', '.join(absent)}", ds)
    private = [element.tag for element in _walk(ds) if element.tag.is_private]
    _require(not private, "DERIVED_ATTRIBUTES", f"must hold no private elements, has {private[:3]}", ds)
    _require(
        ds.ImageType[0] == "DERIVED" and len(ds.ImageType) >= 3, "DERIVED_ATTRIBUTES", "must call itself DERIVED", ds
    )


def _check_identity(datasets: Sequence[Dataset]) -> None:
    uids = [str(ds.SOPInstanceUID) for ds in datasets]
    _require(len(set(uids)) == len(uids), "DERIVED_IDENTITY", "must have unique SOP Instance UIDs", datasets[0])
    for ds in datasets:
        # UIDs of the source are taken as they are; ours must be right.
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
            _require(UID(ds[keyword].value).is_valid, "DERIVED_IDENTITY", f"has an invalid {keyword}", ds)
    for keyword in SAME_OVER_SERIES:
        values = {str(ds.get(keyword)) for ds in datasets}
        _require(len(values) == 1, "DERIVED_IDENTITY", f"must agree on {keyword} in every instance", datasets[0])


def _check_geometry(datasets: Sequence[Dataset]) -> None:
    positions = slice_positions_mm(datasets)
    numbers = np.array([int(ds.InstanceNumber) for ds in datasets])
    _require(
        len(set(numbers.tolist())) == len(numbers), "DERIVED_GEOMETRY", "needs unique instance numbers", datasets[0]
    )
    if len(datasets) == 1:
        return
    steps = np.diff(positions[np.argsort(numbers)])
    spacing = float(np.median(np.abs(steps)))
    in_step = bool(np.all(steps > 0) or np.all(steps < 0))
    _require(in_step, "DERIVED_GEOMETRY", "needs instance numbers in step with positions", datasets[0])
    even = float(np.abs(np.abs(steps) - spacing).max()) <= SPACING_TOLERANCE * spacing
    _require(even, "DERIVED_GEOMETRY", f"needs equal slice spacing, found steps around {spacing:.3f} mm", datasets[0])


def _check_pixels(ds: Dataset) -> None:
    described = (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (16, 16, 15, 0)
    _require(described, "DERIVED_PIXELS", "must hold unsigned 16-bit pixels", ds)
    needed = 2 * ds.Rows * ds.Columns
    _require(len(ds.PixelData) == needed, "DERIVED_PIXELS", f"needs {needed} bytes, has {len(ds.PixelData)}", ds)


def _check_references(ds: Dataset, study_sop_instance_uids: Collection[str] | None) -> None:
    used = {str(item.ReferencedSOPInstanceUID) for item in ds.SourceImageSequence}
    listed = {
        str(item.ReferencedSOPInstanceUID)
        for series in ds.ReferencedSeriesSequence
        for item in series.ReferencedInstanceSequence
    }
    _require(used == listed, "DERIVED_REFERENCES", "must list every source once under its series", ds)
    _require(str(ds.SOPInstanceUID) not in used, "DERIVED_REFERENCES", "must not be its own source", ds)
    if study_sop_instance_uids is not None:
        strangers = used.difference(study_sop_instance_uids)
        _require(not strangers, "DERIVED_REFERENCES", f"names {len(strangers)} sources that the study lacks", ds)


def _check_encoding(ds: Dataset) -> None:
    """Written to bytes and read back, the object is still itself."""
    buffer = BytesIO()
    try:
        dcmwrite(buffer, ds, enforce_file_format=True)
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise StageError(f"{_name(ds)} cannot be encoded: {error}", code="DERIVED_ENCODING") from error
    buffer.seek(0)
    again = dcmread(buffer)
    same = again.SOPInstanceUID == ds.SOPInstanceUID and again.PixelData == ds.PixelData
    same = same and list(again.ImagePositionPatient) == list(ds.ImagePositionPatient)
    _require(same and len(again) == len(ds), "DERIVED_ENCODING", "must survive being written and read", ds)


def _walk(ds: Dataset) -> Iterator[DataElement]:
    for element in ds:
        yield element
        if element.VR == "SQ":
            for item in element.value:
                yield from _walk(item)


def _require(condition: bool, code: str, fault: str, ds: Dataset) -> None:
    if not condition:
        raise StageError(f"{_name(ds)} {fault}", code=code)


def _name(ds: Dataset) -> str:
    return f"Derived series {ds.get('SeriesInstanceUID', 'without UID')}, instance {ds.get('InstanceNumber', '?')},"
