"""What this software made: how its objects name it, and how they are known again.

Only what we alone write counts, never a description: the software's name in General Equipment or in Contributing
Equipment, and there the Device UID, which names the model. An object that others derived from one of ours keeps our
entry in its Contributing Equipment, and is taken for ours: it must not be enhanced a second time either.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from enhancement.dicom.identity import digest_uid
from enhancement.dicom.reading.headers import items, text

SOFTWARE = "orthanc-contrast-enhancement"


def is_own(header: Dataset) -> bool:
    """Whether this software made the instance, or one that it was derived from."""
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
