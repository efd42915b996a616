"""What matching costs beyond reading: a study of 200 series and 20,000 headers, as an archive gives them."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from benchmarking.method import Figures, Say
from enhancement.dicom.identity import digest_uid
from enhancement.dicom.matching.match import match
from enhancement.dicom.reading.files import parse

SERIES, IMAGES = 200, 100
# Description, and what differs from `_COMMON`. A volume has `Slices` slices; images beyond it are repeats.
_KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("t1_mprage_sag_iso", {"RepetitionTime": 2000.0, "EchoTime": 2.9, "InversionTime": 900.0}),
    (
        "t1_mprage_sag_iso_KM",
        {"RepetitionTime": 2000.0, "EchoTime": 2.9, "InversionTime": 900.0, "Agent": "Gadobutrol"},
    ),
    ("t1_se_tra", {"ScanningSequence": "SE", "RepetitionTime": 500.0, "EchoTime": 10.0}),
    ("t1_se_tra +C", {"ScanningSequence": "SE", "RepetitionTime": 500.0, "EchoTime": 10.0, "Agent": "Gadobutrol"}),
    ("t2_space_dark-fluid_sag", {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 5000.0, "EchoTime": 380.0}),
    ("t2_tse_tra", {"ScanningSequence": "SE", "RepetitionTime": 5000.0, "EchoTime": 100.0}),
    ("ep2d_diff_3scan_trace", {"Weighted": (0, 1000), "Slices": 50}),
    ("ep2d_diff_30dir", {"Weighted": (0, *[1000] * 3), "Slices": 25}),
    ("ADC map", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"], "ScanningSequence": "EP"}),
    ("ep2d_perf", {"ScanningSequence": ["EP", "GR"], "RepetitionTime": 1500.0, "EchoTime": 30.0, "Slices": 20}),
    ("ep2d_bold_rest", {"ScanningSequence": ["EP", "GR"], "RepetitionTime": 2000.0, "EchoTime": 30.0, "Slices": 20}),
    ("TOF_3D_multi-slab", {"RepetitionTime": 22.0, "EchoTime": 3.4}),
    ("SWI_Images", {"RepetitionTime": 28.0, "EchoTime": 20.0}),
    ("localizer", {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}),
    ("t1_mprage_KM MPR tra", {"ImageType": ["DERIVED", "SECONDARY", "MPR"], "Agent": "Gadobutrol"}),
    ("gre_field_mapping", {"RepetitionTime": 500.0, "EchoTime": 4.9, "Slices": 50}),
)
_COMMON: dict[str, Any] = {
    "SOPClassUID": MRImageStorage, "Modality": "MR", "Manufacturer": "SIEMENS", "ManufacturerModelName": "Model",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], "ScanningSequence": ["GR", "IR"],
    "SequenceVariant": ["SK", "SP", "MP"], "MRAcquisitionType": "3D", "FlipAngle": 9.0, "EchoTrainLength": 1,
    "Rows": 256, "Columns": 256, "PixelSpacing": [1.0, 1.0], "SliceThickness": 1.0, "BitsAllocated": 16,
    "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "SamplesPerPixel": 1, "NumberOfAverages": 1,
    "PhotometricInterpretation": "MONOCHROME2", "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "SoftwareVersions": "1",
    "WindowCenter": 400, "WindowWidth": 900, "SpacingBetweenSlices": 1.0, "MagneticFieldStrength": 3,
    "InPlanePhaseEncodingDirection": "ROW", "PercentSampling": 100, "PixelBandwidth": 240, "PatientPosition": "HFS",
    "SAR": 0.1, "AcquisitionMatrix": [0, 256, 256, 0], "ImagedNucleus": "1H", "ImagingFrequency": 123.2,
    "RequestedProcedureDescription": "MR Head", "StationName": "STATION", "InstitutionName": "HOSPITAL",
}  # fmt: skip
_FIRST_S, _STEP_S = 8 * 3600, 60


def measure(*, series: int = SERIES, images: int = IMAGES, say: Say) -> Figures:
    """Seconds of one core for matching headers that were just read, beside those of reading them.

    Parameters
    ----------
    series, images : int
        Series of the study, and images of each.
    """
    stored = [_as_file(ds) for ds in study(series, images)]
    began = time.process_time()
    headers = [ds for data in stored if (ds := parse(data, pixels=False)) is not None]
    read = time.process_time()
    found = match(headers)
    matched = time.process_time()
    say(f"matching: {len(headers)} headers in {matched - read:.2f} s beyond {read - began:.2f} s of reading")
    return {
        "headers": len(headers),
        "roles": len(found.roles),
        "reading_seconds": round(read - began, 2),
        "seconds": round(matched - read, 2),
    }


def study(series: int, images: int) -> Iterator[Dataset]:
    """The headers of a study of many kinds of series, image by image; nothing in it is of a person."""
    for number in range(series):
        description, changes = _KINDS[number % len(_KINDS)]
        yield from _series(number, description, dict(changes), images)


def _series(number: int, description: str, changes: dict[str, Any], images: int) -> Iterator[Dataset]:
    slices, weighted = changes.pop("Slices", images), changes.pop("Weighted", ())
    if agent := changes.pop("Agent", ""):
        changes["ContrastBolusAgent"] = agent
    if weighted:
        changes |= {"ScanningSequence": "EP", "ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]}
    for index in range(images):
        repeat, place = divmod(index, slices)
        seconds = _FIRST_S + number * _STEP_S + repeat
        ds = _image(number, index, {**_COMMON, **changes})
        ds.SeriesDescription, ds.ProtocolName = description, description
        ds.ImagePositionPatient = [-128.0, -128.0, float(place)]
        ds.AcquisitionNumber = repeat + 1
        ds.AcquisitionDate = ds.SeriesDate = ds.StudyDate = "20250101"
        clock = f"{seconds // 3600:02d}{seconds // 60 % 60:02d}{seconds % 60:02d}.500000"
        ds.AcquisitionTime = ds.SeriesTime = ds.ContentTime = clock
        if weighted:
            _weigh(ds, weighted[repeat % len(weighted)], repeat)
        yield ds


def _image(number: int, index: int, attributes: dict[str, Any]) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.StudyInstanceUID = digest_uid("benchmark")
    ds.FrameOfReferenceUID = digest_uid("benchmark", "frame")
    ds.SeriesInstanceUID = digest_uid("benchmark", number)
    ds.SOPInstanceUID = digest_uid("benchmark", number, index)
    ds.SeriesNumber, ds.InstanceNumber = number + 1, index + 1
    private = ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    private.add_new(0x10, "OB", bytes(8192))
    private.add_new(0x20, "OB", bytes(8192))
    ds.private_block(0x0051, "SIEMENS MR HEADER", create=True).add_new(0x0E, "LO", "Sag")
    return ds


def _weigh(ds: Dataset, b_value: int, repeat: int) -> None:
    block = ds.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", str(b_value))
    block.add_new(0x0D, "CS", "DIRECTIONAL" if b_value else "NONE")
    if b_value:
        block.add_new(0x0E, "FD", [float(repeat == 1), float(repeat == 2), float(repeat == 3)])


def _as_file(ds: Dataset) -> bytes:
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()
