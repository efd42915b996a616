"""Small synthetic series for the tests of matching and reading, classic and enhanced, from a known volume."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

MR = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
STUDY = "1.2.826.0.1.3680043.10.1.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def ramp(slices: int = 6, rows: int = 12, columns: int = 10) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A volume (z, y, x) in which every voxel has its own value."""
    return np.arange(1, slices * rows * columns + 1, dtype=np.uint16).reshape(slices, rows, columns)


def base(description: str, series_uid: str, **attributes: Any) -> Dataset:
    """An MR image header without geometry or pixels."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = UID(MR)
    ds.SOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = STUDY
    ds.SeriesInstanceUID = series_uid
    ds.FrameOfReferenceUID = STUDY + ".1"
    ds.Modality = "MR"
    ds.Manufacturer = "SIEMENS"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    if description:
        ds.SeriesDescription = description
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def put_pixels(ds: Dataset, plane: np.ndarray[Any, Any]) -> None:
    """Native 16-bit pixels, signed where the array is."""
    ds.Rows, ds.Columns = plane.shape[-2:]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = int(plane.dtype.kind == "i")
    ds.PixelData = np.ascontiguousarray(plane).tobytes()
    ds["PixelData"].VR = "OW"


def positions(
    count: int, orientation: tuple[float, ...] = AXIAL, spacing_mm: float = 2.0, origin: tuple[float, ...] = (0, 0, 0)
) -> list[list[float]]:
    """Image positions of a regular stack along the normal of its planes."""
    normal = np.cross(orientation[:3], orientation[3:])
    return [[round(float(v), 6) for v in np.asarray(origin) + normal * spacing_mm * k] for k in range(count)]


def classic(
    description: str = "T1",
    *,
    volume: np.ndarray[Any, Any] | None = None,
    orientation: tuple[float, ...] = AXIAL,
    spacing_mm: tuple[float, float, float] = (1.5, 1.0, 2.0),
    origin: tuple[float, ...] = (0.0, 0.0, 0.0),
    series_uid: str = "",
    **attributes: Any,
) -> list[Dataset]:
    """One classic series; `spacing_mm` is (between rows, between columns, between slices)."""
    volume = ramp() if volume is None else volume
    series_uid = series_uid or generate_uid()
    series = []
    for k, position in enumerate(positions(len(volume), orientation, spacing_mm[2], origin)):
        ds = base(description, series_uid, **attributes)
        ds.InstanceNumber = len(volume) - k
        ds.ImagePositionPatient = position
        ds.ImageOrientationPatient = list(orientation)
        ds.PixelSpacing = list(spacing_mm[:2])
        ds.SliceThickness = spacing_mm[2]
        put_pixels(ds, volume[k])
        series.append(ds)
    return series


def enhanced(
    volume: np.ndarray[Any, Any],
    frame_order: list[int],
    *,
    slopes: list[float] | None = None,
    b_values: list[float] | None = None,
    description: str = "T1",
) -> Dataset:
    """One enhanced multi-frame object whose frames come in `frame_order`."""
    ds = base(description, generate_uid(), SOPClassUID=UID(ENHANCED_MR), NumberOfFrames=len(frame_order))
    put_pixels(ds, np.stack([volume[k] for k in frame_order]))
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [1.5, 1.0], 2.0
    orientation.ImageOrientationPatient = list(AXIAL)
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index, k in enumerate(frame_order):
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = [0.0, 0.0, 2.0 * (k % len(volume))]
        frame.PlanePositionSequence = Sequence([place])
        if slopes is not None:
            scale = Dataset()
            scale.RescaleSlope, scale.RescaleIntercept = slopes[index], -1.0
            frame.PixelValueTransformationSequence = Sequence([scale])
        if b_values is not None:
            diffusion = Dataset()
            diffusion.DiffusionBValue = b_values[index]
            diffusion.DiffusionDirectionality = "ISOTROPIC" if b_values[index] else "NONE"
            frame.MRDiffusionSequence = Sequence([diffusion])
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return ds


def table(name: str) -> list[dict[str, str]]:
    """The rows of one of the tables beside this file."""
    with (Path(__file__).parent / name).open(newline="") as file:
        return list(csv.DictReader(file))


_NUMBERS = {
    "MRAcquisitionType": "acquisition_type",
    "RepetitionTime": "repetition_time",
    "EchoTime": "echo_time",
    "InversionTime": "inversion_time",
    "FlipAngle": "flip_angle",
    "ContrastBolusAgent": "contrast_agent",
    "ProtocolName": "protocol",
}


def from_row(row: dict[str, str]) -> list[Dataset]:
    """The headers that a row of descriptions.csv stands for: two slices for each b-value."""
    attributes: dict[str, Any] = {"Manufacturer": row["manufacturer"], "ImageType": row["image_type"].split("\\")}
    attributes |= {keyword: row[column] for keyword, column in _NUMBERS.items() if row[column]}
    for keyword, column in (("ScanningSequence", "scanning_sequence"), ("SequenceVariant", "sequence_variant")):
        if row[column]:
            attributes[keyword] = row[column].split("\\")
    uid = generate_uid()
    headers = []
    for b_value in row["b_values"].split(";"):
        instances = classic(row["description"], volume=ramp(2, 4, 4), series_uid=uid, **attributes)
        for ds in instances:
            if b_value and float(b_value) > 1e6:  # GE's offset, in its private place alone
                ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [int(b_value), 0, 0, 0])
            elif b_value:
                ds.DiffusionBValue = float(b_value)
            del ds.PixelData
        headers.extend(instances)
    return headers
