"""What rules can ask of a series: any DICOM keyword, classic or enhanced, and a few computed ones.

Computed keywords:

=============  ==========================================================================================
Description    the text that names the series: SeriesDescription, then (not GE, which puts the exam's name
               there) ProtocolName, then SequenceName; rules run once per text until one fits
Contrast       YES, NO, UNKNOWN or CONFLICT, by name, header and order of acquisition (`contrast.py`)
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
from typing import NamedTuple

from pydicom.dataset import Dataset

from enhancement.dicom import own_series
from enhancement.dicom.matching.agents import NO_AGENT
from enhancement.dicom.matching.words import found_in
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
from enhancement.dicom.reading.headers import (
    Moment,
    as_numbers,
    day_of,
    items,
    moment_of,
    number,
    numbers,
    text,
    texts,
    walk_groups,
)
from enhancement.dicom.reading.parts import rank_of_kind
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
_RESULTS = frozenset(
    {"PERFUSION_MAP", "RCBV", "RCBF", "CBV", "CBF", "MTT", "TTP", "TMAX", "RELCBV", "RELCBF", "PBP",
     "GBP", "KTRANS", "MPR",
     "REFORMATTED", "MIP", "PROJECTION IMAGE", "SUBTRACTION", "SUB"}
)  # fmt: skip
_FRAME_CLOCK = "FrameAcquisitionDateTime"
_DATE_TIME = ("AcquisitionDateTime", "AcquisitionDateTime")


class Vote(NamedTuple):
    """One piece of evidence for (weight > 0) or against contrast: its source (mark, agent, order), and why."""

    source: str
    weight: int
    why: str


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
        self.first = _most_telling(self.images) or self.instances[0]
        self.contrast = "UNKNOWN"
        self.contrast_reason = ""
        self.votes: tuple[Vote, ...] = ()
        self.moment: float | None = None  # seconds on the study's own scale, where its clocks tell
        self.derived_tells = True  # not where every series of the study calls itself derived
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
        if text(self.first, "SOPClassUID") == MR_IMAGE:  # without working out all planes
            written = {found: None for ds in self.images if len(found := numbers(ds, "ImageOrientationPatient")) == 6}
        else:
            written = {frame.orientation: None for frame in self.frames if len(frame.orientation) == 6}
        apart: list[tuple[float, ...]] = []
        for orientation in written:
            if not any(max(abs(a - b) for a, b in zip(orientation, other, strict=True)) < 0.02 for other in apart):
                apart.append(orientation)
        return len(apart)

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
        if not self.derived_tells:
            found = ["ORIGINAL" if value == "DERIVED" else value for value in found]
        return tuple(dict.fromkeys(found))

    def _plain_frame_type(self) -> tuple[str, ...]:
        """Frame Type of the first magnitude frame that is no map: Philips mixes phase and maps in."""
        if not self.images or text(self.first, "SOPClassUID") == MR_IMAGE:
            return ()
        kinds = [frame_type(self.first, index) for index in range(min(count_frames(self.first), _FRAMES_LOOKED_AT))]
        plain = [kind for kind in kinds if component_of(kind) == "M" and not is_map(kind)]
        return min(plain, key=rank_of_kind, default=kinds[0])

    @cached_property
    def is_diffusion(self) -> bool:
        """Whether the images are diffusion-weighted; a b-value alone does not prove it (GE writes it on FLAIR)."""
        if not self.images or is_map(self.image_type):
            return False
        kinds = set(self.image_type)
        named = any(found_in(_DIFFUSION_NAME, description) for description in self.descriptions[:2])
        if "DIFFUSION" in kinds or "TRACEW" in kinds:
            return True
        if not named and "EP" not in self.values("ScanningSequence") and not self._sample_has_b:
            return False
        weighted = max((frame.b_value or 0.0 for frame in self.frames), default=0.0) >= 50.0
        if weighted:  # GE leaves numbers in its private place on FLAIR and others
            sequence = self.values("ScanningSequence")
            return self.vendor != "ge" or named or ("EP" in sequence and "GR" not in sequence)
        # A b = 0 series alone; "B0" without echo-planar is a map of the field
        planar_b0 = "EP" in self.values("ScanningSequence") and found_in(r"\bb ?0\b", self.series_description)
        return (named or planar_b0) and any(frame.b_value is not None for frame in self.frames)

    @cached_property
    def _sample_has_b(self) -> bool:
        """Whether the first, the middle or the last image has a b-value.

        Most series have none, and need no further look.
        """
        if text(self.first, "SOPClassUID") != MR_IMAGE:
            return True
        sample = [self.images[at] for at in {0, len(self.images) // 2, len(self.images) - 1}]
        return any(frame.b_value is not None for frame in frames_of(sample))

    @cached_property
    def b_values(self) -> tuple[float, ...]:
        """Sorted distinct b-values as reported; () when not diffusion."""
        return reported_b_values(self.frames) if self.is_diffusion else ()

    @cached_property
    def acquired(self) -> Moment | None:
        """When the earliest image was acquired, by the clock of the acquisition."""
        found = [moment for ds in self.images if (moment := _acquired(ds)) is not None]
        if not found and self.images:
            groups = walk_groups(self.first, 0)
            contents = [item for group in groups for item in items(group, "FrameContentSequence")]
            moments = [moment_of(item, _FRAME_CLOCK, _FRAME_CLOCK) for item in contents]
            found = [moment for moment in moments if moment is not None]
        return min(found, key=lambda moment: (moment.day or "", moment.seconds), default=None)

    @cached_property
    def series_moment(self) -> Moment | None:
        """When the series was begun, or made."""
        return moment_of(self.first, "SeriesDate", "SeriesTime") if self.images else None

    @cached_property
    def is_acquired(self) -> bool:
        """Whether the images were acquired, and not made from others: only those tell when something happened."""
        if not self.images or self.is_own_output or text(self.first, "SyntheticData") == "YES":
            return False
        if self._derived and (self.acquired is None or is_map(self.image_type)):
            return False
        return "SECONDARY" not in self.image_type[:2] and _RESULTS.isdisjoint(self.image_type)

    @cached_property
    def _derived(self) -> bool:
        return self.derived_tells and "DERIVED" in self.image_type[:1]

    @property
    def protocol(self) -> str:
        return text(self.first, "ProtocolName")

    @cached_property
    def repeats(self) -> int:
        """How many images lie at one place: time points of a dynamic series."""
        if (declared := number(self.first, "NumberOfTemporalPositions")) and declared > 1:
            return int(declared)
        places = {text(ds, "ImagePositionPatient") for ds in self.images}
        return max(1, len(self.images) // max(1, len(places)))

    @cached_property
    def is_labelled(self) -> bool:
        """Whether the contrast is that of labelled blood, not of an agent."""
        return "ASL" in self.image_type or bool(self._header("ArterialSpinLabelingContrast"))

    @cached_property
    def sequence(self) -> tuple[tuple[str, ...], tuple[float | None, ...]]:
        """Pulse sequence and its times: what repeats of one sequence have in common."""
        kinds = (*sorted(self._scanning_sequence), *self._header("MRAcquisitionType"))
        times = (self._header(keyword) for keyword in ("RepetitionTime", "EchoTime", "InversionTime", "FlipAngle"))
        return kinds, tuple(as_numbers(found[:1])[0] if as_numbers(found[:1]) else None for found in times)

    def is_twin_of(self, other: SeriesFacts) -> bool:
        """Whether both are of one sequence, such as before and after contrast.

        Not where the header tells too little.
        """
        (kinds, times), (other_kinds, other_times) = self.sequence, other.sequence
        return (
            kinds == other_kinds
            and times[0] is not None
            and all(_close(a, b) for a, b in zip(times, other_times, strict=True))
        )

    @cached_property
    def is_own_output(self) -> bool:
        """Whether this software made the series."""
        return own_series.is_own(self.first)

    @cached_property
    def has_agent(self) -> bool:
        """Whether the header names a contrast agent."""
        for keyword in ("ContrastBolusAgent",):
            agent = text(self.first, keyword)
            if agent and agent.upper() not in NO_AGENT:
                return True
        return (
            bool(items(self.first, "ContrastBolusAgentSequence"))
            or (number(self.first, "ContrastBolusVolume") or 0) > 0
        )

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


def _most_telling(images: Sequence[Dataset]) -> Dataset | None:
    """The image that says what a series is: no map among the images it was made from, no phase, no fat beside water."""
    plain: dict[tuple[str, ...], Dataset] = {}
    for ds in images:
        plain.setdefault(texts(ds, "ImageType"), ds)
    told = [kinds for kinds in plain if not is_map(kinds) and component_of(kinds) == "M"]
    if told:
        return plain[min(told, key=rank_of_kind)]
    return images[0] if images else None


def _acquired(ds: Dataset) -> Moment | None:
    """When one instance was acquired; a time without its date has the series' date."""
    moment = moment_of(ds, "AcquisitionDate", "AcquisitionTime") or moment_of(ds, *_DATE_TIME)
    if moment is None or moment.day is not None:
        return moment
    return Moment(moment.seconds, day_of(text(ds, "SeriesDate")))


def _close(first: float | None, second: float | None) -> bool:
    """Whether two times or angles are the same but for what a scanner adapts to the patient."""
    if first is None or second is None:
        return first is second
    return abs(first - second) <= 0.08 * max(abs(first), abs(second))
