"""Every plane of a series as one flat record, whatever kind of object it came in.

Classic single-frame, enhanced multi-frame, Siemens mosaic and UIH grid differ only here; all that follows
sees frames. Nothing in this module touches pixel data, and nothing here raises on an odd header: what is
absent is None, and whoever needs it refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from enhancement.dicom.reading import private_tags
from enhancement.dicom.reading.headers import integer, items, number, numbers, seconds_of_day, text, texts, walk_groups

Vector = tuple[float, ...]
Kinds = tuple[str, ...]

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
ENHANCED_MR_COLOR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.3"
LEGACY_CONVERTED_ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.4"
IMAGE_CLASSES = frozenset({MR_IMAGE, ENHANCED_MR_IMAGE, ENHANCED_MR_COLOR_IMAGE, LEGACY_CONVERTED_ENHANCED_MR_IMAGE})

# More frames than the longest 4D acquisition; a count beyond it is a broken or hostile header.
MOST_FRAMES = 100_000


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """One plane: an instance, a frame of one, or a tile of a mosaic.

    `position`, `orientation` and `spacing_mm` (between rows, between columns) are LPS and mm, () where the
    header does not give them. `frame_number` counts from 1 in a multi-frame object; `tile` is the (row,
    column) of the tile in a mosaic, whose `rows` and `columns` are those of the tile. `b_value` is in s/mm^2.
    """

    header: Dataset
    frame_number: int | None
    tile: tuple[int, int] | None
    rows: int
    columns: int
    position: Vector
    orientation: Vector
    spacing_mm: Vector
    thickness_mm: float | None
    slope: float
    intercept: float
    b_value: float | None
    gradient: Vector
    directionality: str
    echo_time_ms: float | None
    acquired_s: float | None
    repeat: int | None
    acquisition_number: int | None
    image_type: tuple[str, ...]
    stack_id: str
    instance_number: int

    @property
    def sop_instance_uid(self) -> str:
        return text(self.header, "SOPInstanceUID")

    @property
    def sop_class_uid(self) -> str:
        return text(self.header, "SOPClassUID")

    @property
    def component(self) -> str:
        """Magnitude, phase, real or imaginary (M, P, R, I), as far as Image Type tells."""
        return component_of(self.image_type)


def component_of(image_type: Sequence[str]) -> str:
    """M, P, R or I by Image Type; M where it does not tell."""
    return next((_COMPONENTS[value.upper()] for value in image_type[2:] if value.upper() in _COMPONENTS), "M")


_COMPONENTS = {
    "M": "M", "MAGNITUDE": "M", "M_FFE": "M", "M_SE": "M", "M_IR": "M",
    "P": "P", "PHASE": "P", "PHASE MAP": "P", "PHASE_MAP": "P", "PHASE_FFE": "P", "PHASE_SE": "P",
    "R": "R", "REAL": "R", "R_IR": "R", "R_FFE": "R", "I": "I", "IMAGINARY": "I", "I_FFE": "I",
}  # fmt: skip


def is_image(ds: Dataset) -> bool:
    """Whether an instance is an MR image at all; raw data, reports and presentation states are not."""
    return text(ds, "SOPClassUID") in IMAGE_CLASSES


def count_frames(ds: Dataset) -> int:
    """Number of stored frames that one instance declares, at least 1, at most `MOST_FRAMES` + 1."""
    return max(1, min(integer(ds, "NumberOfFrames") or 1, MOST_FRAMES + 1))


def frames_of(instances: Iterable[Dataset]) -> list[Frame]:
    """All planes of the image instances given, in no particular order; an instance given twice counts once."""
    found: list[Frame] = []
    seen: set[str] = set()
    for ds in instances:
        uid = text(ds, "SOPInstanceUID")
        if not is_image(ds) or (uid and uid in seen):
            continue
        seen.add(uid)
        found.extend(_frames_of_instance(ds))
    return found


def _frames_of_instance(ds: Dataset) -> Sequence[Frame]:
    if text(ds, "SOPClassUID") != MR_IMAGE:
        # One frame beyond the described ones is enough for the refusal of a count that is not true.
        described = len(items(ds, "PerFrameFunctionalGroupsSequence"))
        return [_enhanced_frame(ds, index) for index in range(min(count_frames(ds), described + 1))]
    private = private_tags.PrivateBlocks(ds)
    frame = _classic_frame(ds, private)
    kinds = {value.upper() for value in frame.image_type}
    if "MOSAIC" in kinds and not _is_cut(frame) and (count := private_tags.mosaic_count(private)):
        return _cut_mosaic(frame, count, private_tags.mosaic_normal(private))
    if "VFRAME" in kinds and (count := private_tags.grid_count(private)) and count > 1:
        return _cut_grid(frame, count, private_tags.grid_positions(private))
    return [frame]


def _is_cut(frame: Frame) -> bool:
    """Whether an image that is called a mosaic is one slice: it is no larger than what was acquired."""
    matrix = max(numbers(frame.header, "AcquisitionMatrix"), default=0.0)
    return 0 < max(frame.rows, frame.columns) <= 1.5 * matrix


def _classic_frame(ds: Dataset, private: private_tags.PrivateBlocks) -> Frame:
    b_value = number(ds, "DiffusionBValue")
    if b_value is None:
        b_value = private_tags.private_b_value(private)
    gradient: Vector = numbers(ds, "DiffusionGradientOrientation", 3)
    if b_value and not gradient:
        gradient = private_tags.private_direction(private)
    return Frame(
        header=ds,
        frame_number=None,
        tile=None,
        rows=integer(ds, "Rows") or 0,
        columns=integer(ds, "Columns") or 0,
        position=numbers(ds, "ImagePositionPatient", 3),
        orientation=numbers(ds, "ImageOrientationPatient", 6),
        spacing_mm=numbers(ds, "PixelSpacing", 2),
        thickness_mm=number(ds, "SliceThickness"),
        slope=_or(number(ds, "RescaleSlope"), 1.0),
        intercept=_or(number(ds, "RescaleIntercept"), 0.0),
        b_value=b_value,
        gradient=gradient,
        directionality=text(ds, "DiffusionDirectionality").upper() or private_tags.directionality(private, gradient),
        echo_time_ms=number(ds, "EchoTime"),
        acquired_s=seconds_of_day(text(ds, "AcquisitionTime") or text(ds, "AcquisitionDateTime")),
        repeat=integer(ds, "TemporalPositionIdentifier"),
        acquisition_number=integer(ds, "AcquisitionNumber"),
        image_type=(*texts(ds, "ImageType"), *private_tags.ge_component(private)),
        stack_id=text(ds, "StackID"),
        instance_number=integer(ds, "InstanceNumber") or 0,
    )


def _or(found: float | None, default: float) -> float:
    return default if found is None else found


class _Groups:
    """The functional groups of one frame as one namespace."""

    def __init__(self, ds: Dataset, index: int) -> None:
        self.ds = ds
        self.groups = tuple(walk_groups(ds, index))

    def item(self, sequence: str) -> Dataset | None:
        for group in self.groups:
            if found := items(group, sequence):
                return found[0]
        return None

    def numbers(self, sequence: str, keyword: str, count: int) -> Vector:
        item = self.item(sequence)
        return (numbers(item, keyword, count) if item is not None else ()) or numbers(self.ds, keyword, count)

    def number(self, sequence: str, keyword: str) -> float | None:
        found = self.numbers(sequence, keyword, 1)
        return found[0] if found else None

    def texts(self, sequence: str, keyword: str) -> tuple[str, ...]:
        item = self.item(sequence)
        return (texts(item, keyword) if item is not None else ()) or texts(self.ds, keyword)

    def text(self, sequence: str, keyword: str) -> str:
        return "\\".join(self.texts(sequence, keyword))


def _enhanced_frame(ds: Dataset, index: int) -> Frame:
    groups = _Groups(ds, index)
    b_value, gradient, directionality = _enhanced_diffusion(groups)
    content = groups.item("FrameContentSequence")
    content = Dataset() if content is None else content
    return Frame(
        header=ds,
        frame_number=index + 1,
        tile=None,
        rows=integer(ds, "Rows") or 0,
        columns=integer(ds, "Columns") or 0,
        position=groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing_mm=groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        thickness_mm=groups.number("PixelMeasuresSequence", "SliceThickness"),
        slope=_or(groups.number("PixelValueTransformationSequence", "RescaleSlope"), 1.0),
        intercept=_or(groups.number("PixelValueTransformationSequence", "RescaleIntercept"), 0.0),
        b_value=b_value,
        gradient=gradient,
        directionality=directionality,
        echo_time_ms=groups.number("MREchoSequence", "EffectiveEchoTime"),
        acquired_s=seconds_of_day(text(content, "FrameAcquisitionDateTime") or text(ds, "AcquisitionDateTime")),
        repeat=integer(content, "TemporalPositionIndex"),
        acquisition_number=integer(content, "FrameAcquisitionNumber") or integer(ds, "AcquisitionNumber"),
        image_type=_frame_type(groups),
        stack_id=text(content, "StackID"),
        instance_number=integer(ds, "InstanceNumber") or 0,
    )


def frame_type(ds: Dataset, index: int) -> Kinds:
    """Frame Type of one frame of an enhanced object (`index` from 0), with P, R or I where it is not magnitude."""
    return _frame_type(_Groups(ds, index))


def _frame_type(groups: _Groups) -> Kinds:
    kinds = groups.texts("MRImageFrameTypeSequence", "FrameType") or texts(groups.ds, "ImageType")
    component = groups.text("MRImageFrameTypeSequence", "ComplexImageComponent").upper()
    return (*kinds, component[:1]) if component in ("PHASE", "REAL", "IMAGINARY") else kinds


def _enhanced_diffusion(groups: _Groups) -> tuple[float | None, Vector, str]:
    item = groups.item("MRDiffusionSequence")
    if item is None:  # as in enhanced objects converted from classic ones
        b_value = number(groups.ds, "DiffusionBValue")
        return b_value, numbers(groups.ds, "DiffusionGradientOrientation", 3), ""
    directionality = text(item, "DiffusionDirectionality").upper()
    b_value = number(item, "DiffusionBValue")
    if b_value is None and directionality == "NONE":
        b_value = 0.0
    gradient: Vector = numbers(item, "DiffusionGradientOrientation", 3)
    for direction in items(item, "DiffusionGradientDirectionSequence")[:1]:
        gradient = numbers(direction, "DiffusionGradientOrientation", 3)
    return b_value, gradient, directionality


@lru_cache(maxsize=1024)
def normal_of(orientation: Vector) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Unit vector across a plane (row direction x column direction), (3,), LPS."""
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    normal = normal / length if length > 0 else normal
    normal.flags.writeable = False  # one array for all who ask
    return normal


def _cut_mosaic(frame: Frame, count: int, slice_normal: Vector) -> Sequence[Frame]:
    """The tiles of a Siemens mosaic, each with its own position.

    Image Position of a mosaic is that of the first pixel of the whole picture, as if the whole picture were
    one plane centred where the slice is; the slice's own corner lies half the surplus further in.
    """
    across = math.ceil(math.sqrt(count))
    rows, columns = frame.rows // across, frame.columns // across
    step = number(frame.header, "SpacingBetweenSlices") or frame.thickness_mm
    if not (frame.position and frame.orientation and frame.spacing_mm and step and rows and columns):
        return [replace(frame, position=())]
    row, column = np.asarray(frame.orientation[:3]), np.asarray(frame.orientation[3:])
    corner = np.asarray(frame.position)
    corner = corner + row * frame.spacing_mm[1] * (frame.columns - columns) / 2
    corner = corner + column * frame.spacing_mm[0] * (frame.rows - rows) / 2
    normal = normal_of(frame.orientation)
    if slice_normal and float(np.dot(slice_normal, normal)) < 0:
        normal = -normal
    return [
        replace(
            frame,
            tile=divmod(index, across),
            rows=rows,
            columns=columns,
            position=tuple(corner + normal * step * index),
        )
        for index in range(count)
    ]


def _cut_grid(frame: Frame, count: int, positions: tuple[Vector, ...]) -> Sequence[Frame]:
    """The tiles of a UIH grid image; every slice's position stands in the private sequence."""
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    if len(positions) != count:
        return [replace(frame, position=())]
    return [
        replace(
            frame,
            tile=divmod(index, across),
            rows=frame.rows // down,
            columns=frame.columns // across,
            position=positions[index],
        )
        for index in range(count)
    ]
