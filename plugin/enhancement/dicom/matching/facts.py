"""What rules can ask of a series: any DICOM keyword, classic or enhanced, and a few computed ones.

Computed keywords:

=============  ==========================================================================================
Description    the text that names the series: SeriesDescription, then (not GE, which puts the exam's name
               there) ProtocolName, then SequenceName; rules run once per text until one fits
Contrast       YES, NO or UNKNOWN: marks in the description, then the agent, then the time of injection
Diffusion      YES or NO: the images are diffusion-weighted, by ImageType, b-value with echo-planar, or name
BValues        distinct b-values, s/mm^2; none when not diffusion
Frames         number of stored frames
Orientations   number of different plane orientations
OwnOutput      YES or NO: this software made it
Vendor         ge, siemens, philips, uih, canon, hitachi or empty
=============  ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pydicom.dataset import Dataset

from enhancement.dicom import own_series
from enhancement.dicom.matching.words import contrast_mark, found_in
from enhancement.dicom.reading.diffusion import is_map, reported_b_values
from enhancement.dicom.reading.frames import (
    MR_IMAGE,
    Frame,
    component_of,
    count_frames,
    frame_type,
    frames_of,
    is_image,
)
from enhancement.dicom.reading.headers import items, number, seconds_of_day, text, texts, walk_groups
from enhancement.dicom.reading.private_tags import vendor_of

_DIFFUSION_NAME = (
    r"\bdwi|\bdti|diff(?!er)|difus|\bdw\b|\bd ?mri|hardi|\bnoddi|\bdsi\b|tensor|tracew?\b|\bresolve\b|\bivim\b|\bdki\b"
)
# Frames of one object that are asked for their kind; magnitude and phase alternate or come in halves.
_FRAMES_LOOKED_AT = 400
_ALIASES = {
    "EchoTime": ("EffectiveEchoTime",),
    "InversionTime": ("InversionTimes",),
    "EchoTrainLength": ("RFEchoTrainLength",),
}
_NO_AGENT = frozenset(
    {"NO", "NONE", "N", "0", "NEIN", "NON", "NO CONTRAST", "WITHOUT", "NIL", "N/A", "NA", "-", "UNKNOWN"}
)


class SeriesFacts:
    """One series, as rules see it.

    Parameters
    ----------
    instances : sequence of Dataset
        All instances of the series; images and companions without pixels alike.
    """

    def __init__(self, instances: Sequence[Dataset]) -> None:
        self.instances = tuple(instances)
        self.images = tuple(ds for ds in instances if is_image(ds))
        # A series may hold maps beside the images they were computed from: the images say what it is.
        plain = (ds for ds in self.images if not is_map(kinds := texts(ds, "ImageType")) and component_of(kinds) == "M")
        self.first = next(plain, self.images[0] if self.images else self.instances[0])
        self.contrast = "UNKNOWN"
        self.contrast_reason = ""
        self.series_instance_uid = text(self.first, "SeriesInstanceUID")
        self.series_description = text(self.first, "SeriesDescription")

    @cached_property
    def frames(self) -> list[Frame]:
        """All planes."""
        return frames_of(self.images)

    def one_repeat(self) -> list[Dataset]:
        """The images of the same time point and echo as the first: one volume of a long fMRI series."""
        if text(self.first, "SOPClassUID") != MR_IMAGE:
            return [self.first]
        keywords = ("TemporalPositionIdentifier", "AcquisitionNumber", "EchoTime")
        wanted = [text(self.first, keyword) for keyword in keywords]
        return [ds for ds in self.images if [text(ds, keyword) for keyword in keywords] == wanted]

    @cached_property
    def frame_count(self) -> int:
        """Number of stored frames: a mosaic is one, and an instance that is there twice counts once."""
        once = {text(ds, "SOPInstanceUID") or str(id(ds)): ds for ds in self.images}
        return sum(count_frames(ds) for ds in once.values())

    @cached_property
    def orientation_count(self) -> int:
        """Number of plane orientations; planes of one stack differ by no more than rounding."""
        found: list[tuple[float, ...]] = []
        for orientation in (frame.orientation for frame in self.frames if len(frame.orientation) == 6):
            if not any(max(abs(a - b) for a, b in zip(orientation, other, strict=True)) < 0.02 for other in found):
                found.append(orientation)
        return len(found)

    @cached_property
    def vendor(self) -> str:
        return vendor_of(self.first)

    @cached_property
    def descriptions(self) -> tuple[str, ...]:
        """The texts that may name the series, the most telling first."""
        candidates = [self.series_description]
        if self.vendor != "ge":
            candidates.append(text(self.first, "ProtocolName"))
        candidates += [text(self.first, "SequenceName"), text(self.first, "PulseSequenceName")]
        return tuple(dict.fromkeys(candidate for candidate in candidates if candidate))

    @cached_property
    def image_type(self) -> tuple[str, ...]:
        """Image Type in upper case; of an enhanced object also the Frame Type of its first plain frame."""
        found = [value.upper() for value in texts(self.first, "ImageType")]
        found += [value.upper() for value in self._plain_frame_type()]
        return tuple(dict.fromkeys(found))

    def _plain_frame_type(self) -> tuple[str, ...]:
        """Frame Type of the first magnitude frame that is no map: Philips mixes phase and maps in."""
        if not self.images or text(self.first, "SOPClassUID") == MR_IMAGE:
            return ()
        kinds = [frame_type(self.first, index) for index in range(min(count_frames(self.first), _FRAMES_LOOKED_AT))]
        return next((kind for kind in kinds if component_of(kind) == "M" and not is_map(kind)), kinds[0])

    @cached_property
    def is_diffusion(self) -> bool:
        """Whether the images are diffusion-weighted; a b-value alone does not prove it (GE writes it on FLAIR)."""
        if not self.images or is_map(self.image_type):
            return False
        kinds = set(self.image_type)
        named = any(found_in(_DIFFUSION_NAME, description) for description in self.descriptions[:2])
        if "DIFFUSION" in kinds or "TRACEW" in kinds:
            return True
        weighted = max((frame.b_value or 0.0 for frame in self.frames), default=0.0) >= 50.0
        if weighted:  # GE leaves numbers in its private place on FLAIR and others
            sequence = self.values("ScanningSequence")
            return self.vendor != "ge" or named or ("EP" in sequence and "GR" not in sequence)
        # A b = 0 series alone; "B0" without echo-planar is a map of the field
        planar_b0 = "EP" in self.values("ScanningSequence") and found_in(r"\bb ?0\b", self.series_description)
        return (named or planar_b0) and any(frame.b_value is not None for frame in self.frames)

    @cached_property
    def b_values(self) -> tuple[float, ...]:
        """Sorted distinct b-values as reported; () when not diffusion."""
        return reported_b_values(self.frames) if self.is_diffusion else ()

    @cached_property
    def acquired_s(self) -> float | None:
        """Seconds since midnight at which the series was acquired, by its earliest image."""
        times = []
        for ds in self.images:
            clock = text(ds, "AcquisitionTime") or text(ds, "AcquisitionDateTime")
            if (seconds := seconds_of_day(clock)) is not None:
                times.append(seconds)
        if not times and self.images:
            contents = [item for group in walk_groups(self.first, 0) for item in items(group, "FrameContentSequence")]
            clocks = [seconds_of_day(text(item, "FrameAcquisitionDateTime")) for item in contents]
            times += [seconds for seconds in clocks if seconds is not None]
        if not times and (seconds := seconds_of_day(text(self.first, "SeriesTime"))) is not None:
            times.append(seconds)
        return min(times, default=None)

    @cached_property
    def is_own_output(self) -> bool:
        """Whether this software made the series."""
        return own_series.is_own(self.first)

    @cached_property
    def has_agent(self) -> bool:
        """Whether the header names a contrast agent."""
        for keyword in ("ContrastBolusAgent",):
            agent = text(self.first, keyword)
            if agent and agent.upper() not in _NO_AGENT:
                return True
        return (
            bool(items(self.first, "ContrastBolusAgentSequence"))
            or (number(self.first, "ContrastBolusVolume") or 0) > 0
        )

    def contrast_in_description(self, given: Sequence[str] = (), not_given: Sequence[str] = ()) -> bool | None:
        """What the descriptions say of contrast, the first that says anything."""
        for description in self.descriptions[:2]:
            if (mark := contrast_mark(description, given, not_given)) is not None:
                return mark
        return None

    def values(self, keyword: str) -> tuple[str, ...]:
        """All values of a keyword as text; () where it is absent."""
        computed = self._computed(keyword)
        return self._header(keyword) if computed is None else computed

    def _computed(self, keyword: str) -> tuple[str, ...] | None:
        match keyword:
            case "Contrast":
                return (self.contrast,)
            case "Diffusion":
                return ("YES" if self.is_diffusion else "NO",)
            case "BValues":
                return tuple(f"{b:g}" for b in self.b_values)
            case "Frames":
                return (str(self.frame_count),)
            case "Orientations":
                return (str(self.orientation_count),)
            case "OwnOutput":
                return ("YES" if self.is_own_output else "NO",)
            case "Vendor":
                return (self.vendor,)
            case "ImageType":
                return self.image_type
            case "ScanningSequence":
                return self._scanning_sequence
        return None

    @cached_property
    def _scanning_sequence(self) -> tuple[str, ...]:
        """Scanning Sequence of a classic object, or what an enhanced one says in other words (PS3.3 C.8.13.4)."""
        found = [value.upper() for value in texts(self.first, "ScanningSequence")]
        if not found:
            echo = "".join(self._header("EchoPulseSequence")).upper()
            found += ["SE"] if echo in ("SPIN", "BOTH") else []
            found += ["GR"] if echo in ("GRADIENT", "BOTH") else []
            found += ["EP"] if "YES" in self._header("EchoPlanarPulseSequence") else []
            found += ["IR"] if "YES" in self._header("InversionRecovery") else []
        return tuple(found)

    def _header(self, keyword: str) -> tuple[str, ...]:
        for name in (keyword, *_ALIASES.get(keyword, ())):
            if found := texts(self.first, name):
                return found
            for group in walk_groups(self.first, 0):
                for found in self._in_group(group, name):
                    return found
        return ()

    @staticmethod
    def _in_group(group: Dataset, name: str) -> list[tuple[str, ...]]:
        sequences = [items(group, tag) for tag in tuple(group.keys()) if not tag.is_private]
        return [given for sequence in sequences for item in sequence if (given := texts(item, name))]
