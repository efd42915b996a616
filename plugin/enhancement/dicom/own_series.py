"""What this software made: how its objects name it, and how they are known again.

What we alone write counts: the software's name in General Equipment or in Contributing Equipment, and there the Device
UID, which names the model. An object that others derived from one of ours keeps our entry in its Contributing
Equipment,
and is taken for ours: it must not be enhanced a second time either.

An anonymiser takes the equipment out. What no usual profile takes out, or not all of it, is asked too: our words in
Image
Type, our coding scheme, identifiers that are name-based UUIDs, and, of a derived image, our words in the description.
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

from enhancement.dicom.identity import digest_uid
from enhancement.dicom.reading.headers import items, text, texts

SOFTWARE = "orthanc-contrast-enhancement"


CODING_SCHEME = "99OCE"
# Value 4 of Image Type, after DERIVED\\SECONDARY\\OTHER
_IMAGE_TYPES = frozenset({"T1C_PRO", "BONE_2022", "LOW_DOSE", "ZERO_DOSE", "DENOISE", "VIRTUAL_T1C"})
_DESCRIPTIONS = re.compile(
    r"\bai[- ]?enhanced\b|\bt1c[- ]?pro\b.*\b(?:ai|not acquired)|\bnot acquired\b|^adc computed from dwi$"
    r"|\bvirtual (?:contrast|t1c?)\b",
    re.IGNORECASE,
)
_UUID_ROOT = "2.25."


def is_own(header: Dataset) -> bool:
    """Whether this software made the instance, or one that it was derived from; also where an anonymiser was at it."""
    return _names_us(header) or _is_copy_of_ours(header)


def _is_copy_of_ours(header: Dataset) -> bool:
    """By what an anonymiser leaves; each of it only on an image that calls itself derived, or on one without a kind."""
    kinds = tuple(kind.upper() for kind in texts(header, "ImageType"))
    if kinds and "DERIVED" not in kinds[:1]:
        return False
    codes = (text(item, "CodingSchemeDesignator") for item in items(header, "DerivationCodeSequence"))
    return (
        ("OTHER" in kinds[2:3] and not _IMAGE_TYPES.isdisjoint(kinds[3:]))
        or CODING_SCHEME in codes
        or bool(_DESCRIPTIONS.search(text(header, "SeriesDescription")))
        or (
            "SECONDARY" in kinds[1:2]
            and all(_is_name_based(text(header, keyword)) for keyword in ("SeriesInstanceUID", "SOPInstanceUID"))
        )
    )


def _is_name_based(uid: str) -> bool:
    """Whether a UID is a version 8 UUID, as `identity.py` makes them; scanners and archives write versions 1 and 4."""
    number = uid.removeprefix(_UUID_ROOT)
    if not uid.startswith(_UUID_ROOT) or not number.isdecimal() or len(number) > 39:
        return False
    return int(number) >> 76 & 0xF == 8 and int(number) >> 62 & 0b11 == 0b10


def _names_us(header: Dataset) -> bool:
    makers = (header, *items(header, "ContributingEquipmentSequence"))
    names = (text(maker, keyword) for maker in makers for keyword in ("Manufacturer", "ManufacturerModelName"))
    return any(name.casefold() == SOFTWARE for name in names)


def is_enhanced(header: Dataset) -> bool:
    """Whether an instance of ours is what networks made, and not an ADC map, which is computed."""
    return text(header, "SyntheticData") == "YES"


def is_of_model(header: Dataset, model_digest: str) -> bool:
    """Whether this model made the instance, or one that it was derived from."""
    device = model_device_uid(model_digest)
    return any(text(item, "DeviceUID") == device for item in items(header, "ContributingEquipmentSequence"))


def model_device_uid(model_digest: str) -> str:
    """The Device UID under which every series of one model can be found."""
    return digest_uid("device", SOFTWARE, model_digest)


def lies_on(header: Dataset) -> str:
    """SOP Instance UID of the image whose place an enhanced slice has; "" where the header does not say."""
    sources = items(header, "SourceImageSequence")
    same_place = (item for item in sources if text(item, "SpatialLocationsPreserved") == "YES")
    return next((text(item, "ReferencedSOPInstanceUID") for item in same_place), "")
