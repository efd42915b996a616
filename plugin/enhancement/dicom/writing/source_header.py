"""What a derived object takes over from the series that it lies on, classic or enhanced multi-frame."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

from pydicom.config import RAISE
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.valuerep import validate_value

from enhancement.dicom.reading.headers import UNREADABLE

PATIENT_AND_STUDY = (
    "SpecificCharacterSet",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "PatientBirthDate",
    "PatientBirthTime",
    "PatientSex",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "EthnicGroup",
    "PatientComments",
    "PatientSpeciesDescription",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "LongitudinalTemporalInformationModified",
    "ClinicalTrialSponsorName",
    "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName",
    "ClinicalTrialSiteID",
    "ClinicalTrialSiteName",
    "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID",
    "ClinicalTrialTimePointID",
    "ClinicalTrialTimePointDescription",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName",
    "StudyID",
    "StudyDescription",
    "ProcedureCodeSequence",
    "PhysiciansOfRecord",
    "AdmittingDiagnosesDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "MedicalAlerts",
    "Allergies",
    "PregnancyStatus",
    "AdditionalPatientHistory",
)
"""Patient, Clinical Trial, Study and Patient Study modules: the result belongs to the same study of the same person."""

TYPE_2_OF_STUDY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)

SERIES_AND_PROTOCOL = (
    "InstitutionName",
    "BodyPartExamined",
    "PatientPosition",
    "AnatomicRegionSequence",
    "FrameOfReferenceUID",
    "PositionReferenceIndicator",
    "MRAcquisitionType",
    "EchoTrainLength",
    "RepetitionTime",
    "FlipAngle",
    "MagneticFieldStrength",
    "ImagedNucleus",
)

CONTRAST = (
    "ContrastBolusAgent",
    "ContrastBolusRoute",
    "ContrastBolusVolume",
    "ContrastBolusStartTime",
    "ContrastBolusStopTime",
    "ContrastBolusTotalDose",
    "ContrastFlowRate",
    "ContrastFlowDuration",
    "ContrastBolusIngredient",
    "ContrastBolusIngredientConcentration",
)

DEFINED_TERMS = {
    "ScanningSequence": ("SE", "IR", "GR", "EP", "RM"),
    "SequenceVariant": ("SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE"),
    "ScanOptions": ("PER", "RG", "CG", "PPG", "FC", "PFF", "PFP", "SP", "FS"),
}
"""PS3.3 C.8.3.1; makers add terms of their own, which a derived object has no reason to carry on."""

_STRICT_VRS = frozenset({"AS", "CS", "DA", "DS", "DT", "IS", "TM"})

LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


def find(header: Dataset, keyword: str, frame_number: int | None = None) -> DataElement | None:
    """An element of a classic header, or of one frame's functional groups of a multi-frame one.

    Parameters
    ----------
    frame_number : int, optional
        Counted from 1, as DICOM does. Without it only the root and the shared groups are searched.

    Returns
    -------
    DataElement or None
        None also where the element is there without a value.
    """
    tag = Tag(keyword)
    for item in _places(header, frame_number):
        try:
            if tag in item and not item[tag].is_empty:
                return item[tag]
        except UNREADABLE:  # a value that cannot be converted is no value
            continue
    return None


def value(header: Dataset, keyword: str, frame_number: int | None = None) -> Any:
    """The value that `find` finds, or None."""
    element = find(header, keyword, frame_number)
    return None if element is None else element.value


def numbers(header: Dataset, keyword: str, count: int, frame_number: int | None = None) -> list[float] | None:
    """`count` numbers, or None when they are not there or not numbers."""
    found = value(header, keyword, frame_number)
    if found is None:
        return None
    items = list(found) if isinstance(found, Iterable) and not isinstance(found, str) else [found]
    try:
        values = [float(item) for item in items]
    except (TypeError, ValueError):
        return None
    return values if len(values) == count else None


def copy_elements(target: Dataset, header: Dataset, keywords: Sequence[str], frame_number: int | None = None) -> None:
    """Copy what is there, verbatim; private elements inside sequences stay behind.

    A date, age, number or code that breaks the rules of its VR is no value and is left out; names and identifiers are
    kept whatever they look like, because they tie the result to its study.
    """
    for keyword in keywords:
        element = find(header, keyword, frame_number)
        if element is not None and _obeys_its_vr(element):
            target.add(_public(element))


def copy_items(header: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence, without their private elements."""
    element = find(header, keyword)
    return [] if element is None else list(_public(element).value)


def copy_study(target: Dataset, header: Dataset) -> None:
    """Patient and study modules; their Type 2 elements exist afterwards, empty where the source has none."""
    copy_elements(target, header, PATIENT_AND_STUDY)
    for keyword in TYPE_2_OF_STUDY:
        if keyword not in target:
            setattr(target, keyword, "")


def copy_protocol(target: Dataset, header: Dataset, frame_number: int | None) -> None:
    """Series, frame of reference and MR elements that stay true of the derived image (PS3.3 C.8.3)."""
    copy_elements(target, header, SERIES_AND_PROTOCOL, frame_number)
    target.ScanningSequence = _scanning_sequence(header, frame_number)
    target.SequenceVariant = _sequence_variant(header, frame_number)
    target.ScanOptions = _defined_terms(header, "ScanOptions", frame_number) or ""
    echo_time = value(header, "EchoTime", frame_number) or value(header, "EffectiveEchoTime", frame_number)
    target.EchoTime = decimal(float(echo_time)) if echo_time else None
    _copy_inversion_time(target, header, frame_number)
    for keyword, empty in (
        ("MRAcquisitionType", ""),
        ("RepetitionTime", None),
        ("EchoTrainLength", None),
        ("PositionReferenceIndicator", ""),
    ):
        if keyword not in target:
            setattr(target, keyword, empty)
    for keyword in ("RepetitionTime", "FlipAngle", "MagneticFieldStrength"):
        # FD in a multi-frame object, DS in a classic one.
        if keyword in target and target[keyword].VR == "FD":
            number = float(target[keyword].value)
            del target[keyword]
            setattr(target, keyword, decimal(number))


def copy_contrast(target: Dataset, header: Dataset) -> None:
    """Contrast that was injected for the source, as the source tells it; nothing is added."""
    copy_elements(target, header, CONTRAST)
    agents = value(header, "ContrastBolusAgentSequence")
    if "ContrastBolusAgent" not in target and agents:
        meanings = [str(agent.get("CodeMeaning", "")) for agent in agents]
        text = ", ".join(meaning for meaning in meanings if meaning)[:64]
        if text:
            target.ContrastBolusAgent = text


def decimal(number: float) -> str:
    """A Decimal String of at most 16 characters that keeps as many digits as fit.

    Examples
    --------
    >>> decimal(0.1), decimal(-123.45678901234567), decimal(1 / 3e9)
    ('0.1', '-123.45678901235', '3.3333333333e-10')
    """
    text = repr(float(number))
    if len(text) <= 16:
        return text.removesuffix(".0") or "0"
    for digits in range(16, 0, -1):
        text = f"{number:.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{number} does not fit into a Decimal String")


def _places(header: Dataset, frame_number: int | None) -> Iterable[Dataset]:
    yield header
    if frame_number is not None:
        groups = header.get("PerFrameFunctionalGroupsSequence") or []
        if 0 < frame_number <= len(groups):
            yield from _first_items(groups[frame_number - 1])
    for shared in list(header.get("SharedFunctionalGroupsSequence") or [])[:1]:
        yield from _first_items(shared)


def _first_items(group: Dataset) -> Iterable[Dataset]:
    for element in group:
        if element.VR == "SQ" and element.value:
            yield element.value[0]


def _obeys_its_vr(element: DataElement) -> bool:
    if element.VR not in _STRICT_VRS:
        return True
    values = [element.value] if isinstance(element.value, str) or element.VM == 1 else list(element.value)
    try:
        for item in values:
            validate_value(element.VR, getattr(item, "original_string", None) or str(item), RAISE)
    except UNREADABLE:
        return False
    return True


def _public(element: DataElement) -> DataElement:
    duplicate = copy.deepcopy(element)
    if duplicate.VR == "SQ":
        for item in duplicate.value:
            item.remove_private_tags()
    return duplicate


def _defined_terms(header: Dataset, keyword: str, frame_number: int | None) -> list[str]:
    found = value(header, keyword, frame_number) or []
    terms = [found] if isinstance(found, str) else list(found)
    return [str(term) for term in terms if term in DEFINED_TERMS[keyword]]


def _scanning_sequence(header: Dataset, frame_number: int | None) -> Any:
    classic = _defined_terms(header, "ScanningSequence", frame_number)
    if classic:
        return classic
    pulse = str(value(header, "EchoPulseSequence", frame_number) or "")
    terms = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}.get(pulse, [])
    if value(header, "EchoPlanarPulseSequence", frame_number) == "YES":
        terms.append("EP")
    if value(header, "InversionRecovery", frame_number) == "YES":
        terms.append("IR")
    return terms or "RM"  # "research mode": the only defined term that claims nothing


def _sequence_variant(header: Dataset, frame_number: int | None) -> Any:
    classic = _defined_terms(header, "SequenceVariant", frame_number)
    if classic:
        return classic
    terms = []
    if value(header, "SegmentedKSpaceTraversal", frame_number) in ("PARTIAL", "FULL"):
        terms.append("SK")
    if value(header, "Spoiling", frame_number) in ("RF", "GRADIENT", "RF_AND_GRADIENT"):
        terms.append("SP")
    return terms or "NONE"


def _copy_inversion_time(target: Dataset, header: Dataset, frame_number: int | None) -> None:
    """Forbidden unless Scanning Sequence contains IR, even empty (PS3.3 C.8.3.1)."""
    terms = target.ScanningSequence
    if "IR" not in ([terms] if isinstance(terms, str) else list(terms)):
        return
    times = value(header, "InversionTime", frame_number) or value(header, "InversionTimes", frame_number)
    first = times[0] if isinstance(times, Sequence) and not isinstance(times, str) and len(times) else times
    target.InversionTime = decimal(float(first)) if first else None
