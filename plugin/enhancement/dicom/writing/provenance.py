"""Where a derived series comes from, in the words and codes of the standard."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from enhancement import __version__
from enhancement.dicom.identity import digest_uid
from enhancement.dicom.own_series import CODING_SCHEME, SOFTWARE, model_device_uid
from enhancement.dicom.reading.series import SourceSlice
from enhancement.dicom.writing.words import Words


class SourceSeries(Protocol):
    """A series that went into the result: a `SeriesVolume`, or a `DiffusionSeries` with slices grouped by b-value."""

    @property
    def slices(self) -> Sequence[SourceSlice] | Sequence[Sequence[SourceSlice]]: ...


@dataclass(frozen=True)
class Provenance:
    """All that a derived series says of its making and that its sources do not know.

    Parameters
    ----------
    recipe : str
        Such as "t1c-pro".
    reference : str
        Role of the series that the result lies on.
    model_digest : str
        SHA-256 over the canonical manifest, in hexadecimal; names the model for recall.
    settings : mapping
        Every setting that the pixels depend on (folds, mirrorings, precision, ...): part of the identity.
    created : datetime
        Moment of creation, aware of its time zone.
    missing_roles : sequence of str
        Inputs that the network can take and that the study did not have.
    warnings : sequence of str
        Sentences of the gate; they go into Image Comments.
    superseded_series_instance_uid : str, optional
        Former result for the same study, made from other inputs, another model or other settings.
    face_removed : bool
        Whether the pixels show no face any more.
    """

    recipe: str
    reference: str
    model_name: str
    model_version: str
    model_digest: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    adc_series_description: str = "ADC computed from DWI"
    content_qualification: Literal["RESEARCH", "SERVICE", "PRODUCT"] = "RESEARCH"
    created: datetime = field(default_factory=lambda: datetime.now(UTC).astimezone())
    missing_roles: Sequence[str] = ()
    warnings: Sequence[str] = ()
    superseded_series_instance_uid: str | None = None
    face_removed: bool = False
    software_version: str = __version__


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A Code Sequence item (PS3.3 8.8)."""
    ds = Dataset()
    ds.CodeValue = value
    ds.CodingSchemeDesignator = scheme
    ds.CodeMeaning = meaning
    return ds


def enhanced_derivation_codes(words: Words) -> DicomSequence:
    """Neural synthesis has no standard code in CID 7203; the way back from the network's grid has one."""
    value, meaning = words.derivation_code
    return DicomSequence([code(value, CODING_SCHEME, meaning), code("113085", "DCM", "Spatial resampling")])


def adc_derivation_codes() -> DicomSequence:
    return DicomSequence([code("129105", "DCM", "Diffusion image analysis")])


def scanner_equipment(header: Dataset) -> Dataset:
    """Contributing Equipment item of the scanner, from a header that it wrote."""
    ds = Dataset()
    ds.PurposeOfReferenceCodeSequence = [code("109101", "DCM", "Acquisition Equipment")]
    ds.Manufacturer = str(header.get("Manufacturer", "") or "Unknown")
    for keyword in (
        "InstitutionName",
        "StationName",
        "ManufacturerModelName",
        "DeviceSerialNumber",
        "SoftwareVersions",
    ):
        if header.get(keyword):
            ds.add(header[keyword])
    moment = acquisition_date_time(header)
    if moment:
        ds.ContributionDateTime = moment
    return ds


def acquisition_date_time(header: Dataset) -> str | None:
    """When the scanner acquired the image, as DT; the derived series has no acquisition of its own."""
    if header.get("AcquisitionDateTime"):
        return str(header.AcquisitionDateTime)
    if header.get("AcquisitionDate"):
        return f"{header.AcquisitionDate}{header.get('AcquisitionTime') or ''}"
    return None


def synthesizing_equipment(provenance: Provenance) -> Dataset:
    """Contributing Equipment item of the model; its Device UID changes with every retraining (IHE AIR 6.5.3.1)."""
    ds = _own_equipment(provenance)
    ds.PurposeOfReferenceCodeSequence = [code("109100", "DCM", "Synthesizing Equipment")]
    ds.ManufacturerModelName = limited(f"{provenance.model_name} {provenance.model_version}".strip(), 64)
    ds.DeviceUID = model_device_uid(provenance.model_digest)
    ds.ContributionDescription = limited(
        f"Model {provenance.model_name} {provenance.model_version}, SHA-256 {provenance.model_digest}", 1024
    )
    return ds


def processing_equipment(provenance: Provenance) -> Dataset:
    """Contributing Equipment item of the software alone, where no model had a part."""
    ds = _own_equipment(provenance)
    ds.PurposeOfReferenceCodeSequence = [code("109102", "DCM", "Processing Equipment")]
    ds.ManufacturerModelName = SOFTWARE
    ds.DeviceUID = digest_uid("device", SOFTWARE, provenance.software_version)
    ds.ContributionDescription = "ADC computed from diffusion-weighted images, no neural network"
    return ds


def limited(text: str, length: int) -> str:
    """At most `length` characters of plain ASCII without control characters or backslash.

    What we write must be valid whatever character set the source brought along.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    plain = decomposed.encode("ascii", "ignore").decode("ascii")
    clean = "".join(" " if character < " " or character == "\\" else character for character in plain)
    clean = " ".join(clean.split())
    return clean if len(clean) <= length else clean[: length - 3].rstrip() + "..."


def _own_equipment(provenance: Provenance) -> Dataset:
    ds = Dataset()
    ds.Manufacturer = SOFTWARE
    ds.SoftwareVersions = provenance.software_version
    ds.ContributionDateTime = provenance.created.strftime("%Y%m%d%H%M%S.%f%z")
    return ds
