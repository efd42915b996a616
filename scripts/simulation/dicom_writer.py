"""Volumes as a study of classic MR Image objects, with the headers of a maker of scanners.

Everything is a function of the study's seed: the same plan gives the same bytes, dates and UIDs included.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from enhancement.dicom.identity import digest_uid
from enhancement.dicom.writing.plane import planes
from enhancement.dicom.writing.source_header import decimal
from simulation.vendors import MAKERS, PROTOCOL, THICK_SLICES_MM, Maker, Vendor, contrast_of

LARGEST_STORED = 4095
"""Scanners store 12 bits."""


@dataclass(frozen=True)
class SeriesPlan:
    """One series to be written.

    Parameters
    ----------
    role : str
        T1, T1C, FLAIR, T2, DWI or ADC: a key of the maker's contrasts.
    volumes : tuple of images on one grid
        One, or one per b-value. ADC in mm^2/s, the others in arbitrary units.
    b_values : tuple of float, s/mm^2
    reversed_slices : bool
        Instance numbers count against the slice normal.
    description : str, optional
        Instead of the maker's own.
    protocol : mapping
        DICOM keyword to number: RepetitionTime, EchoTime, InversionTime (ms), FlipAngle (degrees), ...
    keep_numbers : bool
        Store intensities as they are (rounded) instead of stretching them over 12 bits.
    two_d : bool, optional
        Whether it was acquired slice by slice; by the thickness of the slices if not given.
    """

    role: str
    volumes: tuple[sitk.Image, ...]
    b_values: tuple[float, ...] = ()
    reversed_slices: bool = False
    description: str | None = None
    protocol: Mapping[str, float] = field(default_factory=dict)
    keep_numbers: bool = False
    two_d: bool | None = None


@dataclass(frozen=True)
class StudyPlan:
    """Whose study it is, invented, and which scanner made it."""

    seed: int = 0
    vendor: Vendor = "ge"
    patient_name: str = "Simulated^Patient"
    patient_id: str = "SIM0000"
    study_description: str = "MRI BRAIN WITH AND WITHOUT CONTRAST"
    accession_number: str = "SIM0000"
    field_strength_t: float = 3.0
    start: datetime = datetime(2024, 5, 14, 9, 30, 0)
    salt: str = ""

    def uid(self, *parts: Any) -> str:
        """A UID for one thing of this study."""
        return digest_uid("simulated study", self.seed, self.salt, *parts)

    @property
    def study_instance_uid(self) -> str:
        return self.uid("study")


def write_study(folder: Path, plan: StudyPlan, series: Sequence[SeriesPlan]) -> list[Path]:
    """Write every series into a sub-folder of its own, replacing what was there.

    Returns
    -------
    list of Path
        All files, in the order in which a scanner would send them.
    """
    paths: list[Path] = []
    for number, item in enumerate(series, start=1):
        target = folder / f"{number:02d}_{item.role}"
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        for index, ds in enumerate(series_datasets(plan, item, number)):
            path = target / f"IM{index:05d}.dcm"
            dcmwrite(path, ds, enforce_file_format=True)
            paths.append(path)
    return paths


def series_datasets(plan: StudyPlan, item: SeriesPlan, number: int) -> list[Dataset]:
    """The instances of one series, in the order of their instance numbers.

    Parameters
    ----------
    number : int
        Place in the study: decides series number and times.
    """
    maker = MAKERS[plan.vendor]
    template = _template(plan, maker, item, number)
    slope = _slope(maker, item)
    geometry = planes(item.volumes[0])
    arrays = [_stored(volume, item, slope) for volume in item.volumes]
    _write_window(template, arrays[0], slope if maker.rescaled and item.role != "ADC" else 1.0)
    order = range(len(geometry) - 1, -1, -1) if item.reversed_slices else range(len(geometry))
    datasets: list[Dataset] = []
    for b_index, array in enumerate(arrays):
        for k in order:
            ds = Dataset()
            ds.update(template)  # shares its elements
            ds.InstanceNumber = len(datasets) + 1
            ds.SOPInstanceUID = plan.uid("instance", number, len(datasets))
            geometry[k].write(ds)
            ds.SliceLocation = decimal(_location(geometry[k].image_position_patient, item.volumes[0]))
            if item.b_values:
                maker.mark_b_value(ds, item.b_values[b_index])
            ds.add_new("PixelData", "OW", array[k].astype("<u2").tobytes())
            ds.file_meta = _file_meta(ds, plan)
            datasets.append(ds)
    if maker.rescaled and item.role != "ADC":
        for ds in datasets:
            ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", decimal(slope), "normalized"
    return datasets


def _template(plan: StudyPlan, maker: Maker, item: SeriesPlan, number: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = MRImageStorage
    ds.Modality = "MR"
    _write_patient(ds, plan)
    _write_times(ds, plan, number)
    _write_equipment(ds, plan, maker)
    _write_sequence(ds, item, plan.vendor)
    ds.MagneticFieldStrength = decimal(plan.field_strength_t)
    ds.SeriesInstanceUID = plan.uid("series", number)
    ds.FrameOfReferenceUID = plan.uid("frame of reference")
    ds.SeriesNumber = number + 1
    ds.AcquisitionNumber = 1
    ds.PatientPosition = "HFS"
    ds.BodyPartExamined = "BRAIN"
    ds.PositionReferenceIndicator = None
    if item.role == "T1C":
        ds.ContrastBolusAgent = "GADOBUTROL"
        ds.ContrastBolusRoute = "IV"
    image = item.volumes[0]
    ds.SliceThickness = ds.SpacingBetweenSlices = decimal(image.GetSpacing()[2])
    ds.Columns, ds.Rows = image.GetSize()[:2]
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated = 16
    ds.BitsStored = 16 if item.keep_numbers or item.role == "ADC" else 12
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = 0
    return ds


def _write_patient(ds: Dataset, plan: StudyPlan) -> None:
    ds.PatientName = plan.patient_name
    ds.PatientID = plan.patient_id
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.PatientAge = "054Y"
    ds.StudyInstanceUID = plan.study_instance_uid
    ds.StudyID = "1"
    ds.AccessionNumber = plan.accession_number
    ds.StudyDescription = plan.study_description
    ds.ReferringPhysicianName = None


def _write_times(ds: Dataset, plan: StudyPlan, number: int) -> None:
    begin = plan.start + timedelta(minutes=6 * number)
    ds.StudyDate, ds.StudyTime = plan.start.strftime("%Y%m%d"), plan.start.strftime("%H%M%S")
    for name, moment in (("Series", begin), ("Acquisition", begin), ("Content", begin + timedelta(minutes=5))):
        setattr(ds, f"{name}Date", moment.strftime("%Y%m%d"))
        setattr(ds, f"{name}Time", moment.strftime("%H%M%S"))


def _write_equipment(ds: Dataset, plan: StudyPlan, maker: Maker) -> None:
    ds.Manufacturer = maker.manufacturer
    ds.ManufacturerModelName = maker.model
    ds.SoftwareVersions = list(maker.software)
    ds.InstitutionName = "Simulated Hospital"
    ds.StationName = f"SIM{plan.vendor.upper()}"[:16]
    ds.DeviceSerialNumber = "000000"


def _write_sequence(ds: Dataset, item: SeriesPlan, vendor: Vendor) -> None:
    image = item.volumes[0]
    two_d = image.GetSpacing()[2] > THICK_SLICES_MM if item.two_d is None else item.two_d
    key, contrast = contrast_of(vendor, item.role, image.GetDirection()[2::3], two_d=two_d)
    ds.SeriesDescription = item.description or contrast.description
    ds.ProtocolName = ds.SeriesDescription
    ds.ImageType = list(contrast.image_type)
    ds.ScanningSequence = list(contrast.scanning_sequence)
    ds.SequenceVariant = list(contrast.sequence_variant)
    ds.ScanOptions = list(contrast.scan_options)
    ds.MRAcquisitionType = contrast.acquisition_type
    if contrast.sequence_name:
        ds.SequenceName = contrast.sequence_name
    for keyword, number in {**PROTOCOL[key], **item.protocol}.items():
        if keyword == "InversionTime" and "IR" not in contrast.scanning_sequence:
            continue
        setattr(ds, keyword, round(number) if keyword == "EchoTrainLength" else decimal(number))


def _slope(maker: Maker, item: SeriesPlan) -> float:
    """Units of the volume per stored step; only a maker that rescales tells it in the header."""
    if item.role == "ADC":
        return 1e-6
    if item.keep_numbers:
        return 1.0
    peak = max(float(sitk.GetArrayViewFromImage(volume).max()) for volume in item.volumes)
    return peak / LARGEST_STORED if peak > 0 else 1.0


def _write_window(ds: Dataset, stored_zyx: NDArray[np.uint16], slope: float) -> None:
    """From black to where the brightest tissue begins, after rescale, as scanners preset it."""
    values = stored_zyx[stored_zyx > 0]
    tissue = values[values > values.mean() / 2] if values.size else np.array([1])
    width = max(2.0, round(float(np.percentile(tissue, 99.0)))) * slope
    ds.WindowCenter, ds.WindowWidth = decimal(round(width / 2, 4)), decimal(round(width, 4))


def _stored(volume: sitk.Image, item: SeriesPlan, slope: float) -> NDArray[np.uint16]:
    array = np.rint(sitk.GetArrayViewFromImage(volume).astype(np.float64) / slope)
    return np.asarray(np.clip(array, 0, 65535), np.uint16)


def _location(position: Sequence[str], image: sitk.Image) -> float:
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    return round(float(np.dot(normal, [float(word) for word in position])), 4)


def _file_meta(ds: Dataset, plan: StudyPlan) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(plan.uid("implementation"))
    meta.ImplementationVersionName = "OCE_SIMULATOR"
    return meta
