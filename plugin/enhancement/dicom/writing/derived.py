"""Volumes as derived series: classic MR Image objects, one per slice of the series that they lie on.

Every element follows PS3.3 A.4 (MR Image IOD); choices that the standard leaves open are named where they are made.
Nothing is stored here: the lists are complete, checked by `check_series`, and go to an archive as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from io import BytesIO

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from enhancement import __version__
from enhancement.arrays import Volume
from enhancement.dicom.identity import ResultIdentity, digest_uid
from enhancement.dicom.own_series import SOFTWARE
from enhancement.dicom.reading.series import SeriesVolume, SourceSlice
from enhancement.dicom.writing import provenance as origin
from enhancement.dicom.writing.display import source_window, write_windows
from enhancement.dicom.writing.plane import Plane, planes, source_plane
from enhancement.dicom.writing.provenance import Provenance, SourceSeries, code, limited
from enhancement.dicom.writing.references import (
    Preserved,
    by_plane,
    flatten,
    related_series,
    representatives,
    series_references,
    source_image,
)
from enhancement.dicom.writing.self_check import check_series
from enhancement.dicom.writing.sentences import comments, derivation
from enhancement.dicom.writing.source_header import (
    LOSSY,
    copy_contrast,
    copy_elements,
    copy_items,
    copy_protocol,
    copy_study,
    decimal,
    value,
)
from enhancement.dicom.writing.stored_pixels import ADC_UNIT_MM2_S, StoredPixels, store_adc, store_intensities
from enhancement.dicom.writing.words import Words
from enhancement.errors import StageError

_References = list[tuple[SourceSlice, Preserved]]

ADC_METHOD_VERSION = 1
"""Raised whenever the numbers of a computed ADC map change for the same input."""


def enhanced_series(
    volume: sitk.Image,
    source: SeriesVolume,
    other_sources: Mapping[str, SourceSeries],
    provenance: Provenance,
    words: Words,
) -> list[Dataset]:
    """What a recipe made, as a new series on the grid of its reference series, slice for slice.

    Parameters
    ----------
    volume : float image
        In the source's intensities after rescale; on the grid of `source.image`.
    source : SeriesVolume
        The reference series: `image`, `slices` in k order, `series_instance_uid`.
    other_sources : mapping of role to series
        Every further series that the network saw, such as {"T1": ..., "FLAIR": ..., "DWI": ...}.
    words : Words
        Of the recipe.

    Returns
    -------
    list of Dataset
        In k order of the volume, with file meta information, ready to be written.

    Raises
    ------
    StageError
        DERIVED_GRID where volume and source differ; DERIVED_* where the result breaks one of our own checks.
    """
    slices = source.slices
    _require_grid(volume, source.image, slices, words.reference)
    pixels = store_intensities(
        _array(volume), _array(source.image), source_window(slices), (words.changed, f"As the {words.reference}")
    )
    identity = _enhanced_identity(source, other_sources, provenance)
    template = _template(slices[0], volume, provenance, identity, pixels)
    _describe_enhanced(template, source, other_sources, provenance, words, pixels)
    geometry = [
        source_plane(plane, volume, part.header, part.frame_number)
        for plane, part in zip(planes(volume), slices, strict=True)
    ]
    others = [representatives(volume, list(flatten(series.slices))) for series in other_sources.values()]
    references: list[_References] = [
        [(part, "YES"), *((found[k], "NO") for found in others)] for k, part in enumerate(slices)
    ]
    return _finish(template, geometry, references, pixels, identity, slices)


def adc_series(adc: sitk.Image, source: SourceSeries, provenance: Provenance, *, fit: str = "") -> list[Dataset]:
    """A computed ADC map as a new series on the grid of the diffusion images.

    Its identity depends on the diffusion images and the fit alone, so a new model or a late T1 does not write the same
    map a second time.

    Parameters
    ----------
    adc : float image, mm^2/s
        On the grid of the diffusion images; voxels without a valid fit are 0.
    source : DiffusionSeries
        Or a scanner's series of b-values in any other form that has `slices`.
    fit : str, optional
        How the map was fitted, for Derivation Description.

    Raises
    ------
    StageError
        As for `enhanced_series`.
    """
    flat = list(flatten(source.slices))
    pixels = store_adc(_array(adc))
    found = by_plane(adc, flat)
    first = [parts[0] for parts in found]
    identity = ResultIdentity.of(
        str(value(flat[0].header, "StudyInstanceUID")),
        {part.sop_instance_uid for part in flat},
        model_digest="",
        recipe="adc",
        settings={"version": ADC_METHOD_VERSION},
    )
    template = _template(first[0], adc, provenance, identity, pixels)
    _describe_adc(template, source, provenance, pixels, fit)
    geometry = [
        source_plane(plane, adc, part.header, part.frame_number) for plane, part in zip(planes(adc), first, strict=True)
    ]
    references: list[_References] = [[(part, "YES") for part in parts] for parts in found]
    return _finish(template, geometry, references, pixels, identity, first)


def encode(ds: Dataset) -> bytes:
    """One object as a DICOM file (Explicit VR Little Endian, with preamble)."""
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def _enhanced_identity(
    source: SeriesVolume, other_sources: Mapping[str, SourceSeries], provenance: Provenance
) -> ResultIdentity:
    uids = {part.sop_instance_uid for series in (source, *other_sources.values()) for part in flatten(series.slices)}
    return ResultIdentity.of(
        str(value(source.slices[0].header, "StudyInstanceUID")),
        uids,
        model_digest=provenance.model_digest,
        recipe=provenance.recipe,
        settings=provenance.settings,
    )


def _template(
    part: SourceSlice, image: sitk.Image, provenance: Provenance, identity: ResultIdentity, pixels: StoredPixels
) -> Dataset:
    """Everything that all slices share."""
    ds = Dataset()
    header = part.header
    copy_study(ds, header)
    copy_protocol(ds, header, part.frame_number)
    copy_elements(ds, header, LOSSY, part.frame_number)
    if "FrameOfReferenceUID" not in ds:  # Type 1 here, and often lost in old sources
        ds.FrameOfReferenceUID = digest_uid("frame of reference", str(value(header, "SeriesInstanceUID")))
    moment = _in_zone_of(ds, provenance)
    ds.SOPClassUID = MRImageStorage
    ds.Modality = "MR"
    ds.SeriesInstanceUID = identity.series_instance_uid
    for keyword in ("InstanceCreationDate", "SeriesDate", "ContentDate"):
        setattr(ds, keyword, moment.strftime("%Y%m%d"))
    for keyword in ("InstanceCreationTime", "SeriesTime", "ContentTime"):
        setattr(ds, keyword, moment.strftime("%H%M%S.%f"))
    ds.InstanceCreatorUID = digest_uid("creator", SOFTWARE)
    # General Equipment names what produced these objects; the scanner is in Contributing Equipment.
    ds.Manufacturer = ds.ManufacturerModelName = SOFTWARE
    ds.SoftwareVersions = provenance.software_version
    ds.ContentQualification = provenance.content_qualification
    # A source that says so keeps its warnings: text burned in, or a face that was removed before.
    ds.BurnedInAnnotation = "YES" if value(header, "BurnedInAnnotation") == "YES" else "NO"
    faceless = provenance.face_removed or value(header, "RecognizableVisualFeatures") == "NO"
    ds.RecognizableVisualFeatures = "NO" if faceless else "YES"
    _copy_thickness(ds, part, image)
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.array_zyx.shape[1:]
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit = 15
    ds.PixelRepresentation = 0
    write_windows(ds, pixels.windows)
    ds.PresentationLUTShape = "IDENTITY"
    return ds


def _describe_enhanced(
    ds: Dataset,
    source: SeriesVolume,
    other_sources: Mapping[str, SourceSeries],
    provenance: Provenance,
    words: Words,
    pixels: StoredPixels,
) -> None:
    header = source.slices[0].header
    copy_contrast(ds, header)
    ds.ImageType = ["DERIVED", "SECONDARY", "OTHER", words.image_type]
    ds.SyntheticData = "YES"
    ds.SeriesDescription = limited(words.series_description, 64)
    ds.SeriesNumber = _series_number(header, words.series_number)
    ds.DerivationDescription = limited(derivation(source, other_sources, provenance, words, pixels.scale), 1024)
    ds.DerivationCodeSequence = origin.enhanced_derivation_codes(words)
    ds.ImageComments = limited(comments(provenance, words, pixels.scale), 10240)
    ds.ContributingEquipmentSequence = _equipment(header, origin.synthesizing_equipment(provenance))
    if provenance.superseded_series_instance_uid:
        ds.RelatedSeriesSequence = related_series(ds.StudyInstanceUID, provenance.superseded_series_instance_uid)


def _describe_adc(ds: Dataset, source: SourceSeries, provenance: Provenance, pixels: StoredPixels, fit: str) -> None:
    header = next(flatten(source.slices)).header
    ds.ImageType = ["DERIVED", "PRIMARY", "DIFFUSION MAP", "ADC"]
    inherited = any(value(part.header, "SyntheticData") == "YES" for part in flatten(source.slices))
    ds.SyntheticData = "YES" if inherited else "NO"
    ds.SeriesDescription = limited(provenance.adc_series_description, 64)
    ds.SeriesNumber = _series_number(header, 91)
    b_values = ", ".join(f"{b:g}" for b in getattr(source, "b_values", ()))
    method = fit or "mono-exponential least-squares fit"
    ds.DerivationDescription = limited(
        f"Apparent diffusion coefficient by {method}"
        + (f" over b = {b_values} s/mm2" if b_values else "")
        + "; stored in 1e-6 mm2/s, values below 0 stored as 0, values above 10000 as 10000; 0 where no fit is valid.",
        1024,
    )
    ds.DerivationCodeSequence = origin.adc_derivation_codes()
    ds.RealWorldValueMappingSequence = _adc_value_mapping()
    ds.ContributingEquipmentSequence = _equipment(header, origin.processing_equipment(provenance))
    ds.ImageComments = "Computed from diffusion-weighted images. Pixel values are 1e-6 mm2/s."


def _adc_value_mapping() -> DicomSequence:
    """The unit, where the MR Image IOD has a place for it (PS3.3 C.7.6.16.2.11)."""
    ds = Dataset()
    ds.add_new("RealWorldValueFirstValueMapped", "US", 0)
    ds.add_new("RealWorldValueLastValueMapped", "US", 65535)
    ds.RealWorldValueIntercept = 0.0
    ds.RealWorldValueSlope = ADC_UNIT_MM2_S
    ds.LUTExplanation = "Apparent diffusion coefficient"
    ds.LUTLabel = "ADC"
    ds.MeasurementUnitsCodeSequence = [code("mm2/s", "UCUM", "square millimeter per second")]
    quantity = Dataset()
    quantity.ValueType = "CODE"
    quantity.ConceptNameCodeSequence = [code("246205007", "SCT", "Quantity")]
    quantity.ConceptCodeSequence = [code("113041", "DCM", "Apparent Diffusion Coefficient")]
    ds.QuantityDefinitionSequence = [quantity]
    return DicomSequence([ds])


def _finish(
    template: Dataset,
    geometry: Sequence[Plane],
    references: Sequence[_References],
    pixels: StoredPixels,
    identity: ResultIdentity,
    slices: Sequence[SourceSlice],
) -> list[Dataset]:
    """One dataset per slice, checked as a series."""
    instance_numbers = _instance_numbers(slices)
    datasets = []
    for k, (plane, sources) in enumerate(zip(geometry, references, strict=True)):
        ds = Dataset()
        ds.update(template)  # shares its elements, so none of those set below may be in it
        ds.SOPInstanceUID = identity.sop_instance_uid(k)
        ds.InstanceNumber = instance_numbers[k]
        plane.write(ds)
        copy_elements(ds, slices[k].header, ("SliceLocation",), slices[k].frame_number)
        ds.SourceImageSequence = DicomSequence([source_image(part, preserved) for part, preserved in sources])
        ds.ReferencedSeriesSequence = series_references(part for part, _ in sources)
        _write_extremes(ds, pixels.array_zyx, k)
        ds.add_new("PixelData", "OW", pixels.array_zyx[k].astype("<u2").tobytes())
        ds.file_meta = _file_meta(ds)
        datasets.append(ds)
    check_series(datasets)
    return datasets


def _write_extremes(ds: Dataset, array_zyx: NDArray[np.uint16], k: int) -> None:
    """Smallest and largest value of the slice and of the series (PS3.3 C.7.6.3 and C.7.3.1), unsigned as the pixels."""
    for keyword, found in (
        ("SmallestImagePixelValue", array_zyx[k].min()),
        ("LargestImagePixelValue", array_zyx[k].max()),
        ("SmallestPixelValueInSeries", array_zyx.min()),
        ("LargestPixelValueInSeries", array_zyx.max()),
    ):
        ds.add_new(keyword, "US", int(found))


def _file_meta(ds: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ds.SOPClassUID
    meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(digest_uid("implementation", SOFTWARE))
    meta.ImplementationVersionName = limited(f"OCE_{__version__}", 16)
    return meta


def _instance_numbers(slices: Sequence[SourceSlice]) -> list[int]:
    """1..n in the direction in which the source counts, so that both series scroll the same way."""
    count = len(slices)
    ends = [value(part.header, "InstanceNumber") for part in (slices[0], slices[-1])]
    frames = [slices[0].frame_number, slices[-1].frame_number]
    first, last = frames if None not in frames and frames[0] != frames[1] else ends
    descending = first is not None and last is not None and int(first) > int(last)
    return list(range(count, 0, -1)) if descending else list(range(1, count + 1))


def _copy_thickness(ds: Dataset, part: SourceSlice, image: sitk.Image) -> None:
    thickness = value(part.header, "SliceThickness", part.frame_number)
    ds.SliceThickness = decimal(float(thickness)) if thickness else None
    ds.SpacingBetweenSlices = decimal(image.GetSpacing()[2])


def _series_number(header: Dataset, suffix: int) -> int:
    """The source's own number, so that viewers show both side by side; the later of two equal ones comes second.

    Between two whole numbers there is no other, and a hundredfold one came after up to 589 other series. Where the
    source has no number it is 9000 and `suffix`.
    """
    number = value(header, "SeriesNumber")
    return int(number) if number is not None else 9000 + suffix


def _in_zone_of(ds: Dataset, provenance: Provenance) -> datetime:
    """The moment of creation in the zone that the copied header declares, else in local time."""
    offset = str(ds.get("TimezoneOffsetFromUTC", "") or "")
    if len(offset) != 5 or offset[0] not in "+-" or not offset[1:].isdigit():
        return provenance.created.astimezone()
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return provenance.created.astimezone(timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)))


def _equipment(header: Dataset, own: Dataset) -> DicomSequence:
    """The source's own history, then the scanner where that does not name it, then us."""
    history = copy_items(header, "ContributingEquipmentSequence")
    purposes = {
        str(item.PurposeOfReferenceCodeSequence[0].get("CodeValue", ""))
        for item in history
        if item.get("PurposeOfReferenceCodeSequence")
    }
    scanner = [] if "109101" in purposes else [origin.scanner_equipment(header)]
    return DicomSequence([*history, *scanner, own])


def _require_grid(volume: sitk.Image, reference: sitk.Image, slices: Sequence[SourceSlice], called: str) -> None:
    """The result must lie on the grid that its headers will claim."""
    same = volume.GetSize() == reference.GetSize() and all(
        np.allclose(getattr(volume, name)(), getattr(reference, name)(), rtol=0, atol=1e-4)
        for name in ("GetOrigin", "GetSpacing", "GetDirection")
    )
    if not same or volume.GetSize()[2] != len(slices):
        raise StageError(
            f"The enhanced volume must lie on the {called}'s grid of {reference.GetSize()} voxels in {len(slices)} "
            f"slices; it has {volume.GetSize()}, or another position, spacing or direction",
            code="DERIVED_GRID",
        )


def _array(image: sitk.Image) -> Volume:
    return np.asarray(sitk.GetArrayViewFromImage(image), dtype=np.float32)
