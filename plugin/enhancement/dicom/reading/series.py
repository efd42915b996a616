"""Instances of one series into one checked volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import SimpleITK as sitk
from pydicom.dataset import Dataset

from enhancement.dicom.reading.frames import Frame, frames_of
from enhancement.dicom.reading.geometry import Stack, refuse, stack_frames
from enhancement.dicom.reading.headers import text
from enhancement.dicom.reading.parts import volume_of
from enhancement.dicom.reading.pixels import FloatArray, check_pixels, read_planes
from enhancement.errors import InconsistentGeometry, MissingAttribute

_PIXEL_DATA_GROUP = 0x7FE00000


@dataclass(frozen=True)
class SourceSlice:
    """Where one plane of a volume came from.

    `frame_number` counts from 1 in a multi-frame object and is None for a single-frame one; a slice of a
    mosaic names the mosaic. `header` is without the pixels.
    """

    sop_instance_uid: str
    sop_class_uid: str
    frame_number: int | None
    header: Dataset


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """One volume of one series.

    `image` is float32, LPS and mm; `slices` are its planes in k order.
    """

    image: sitk.Image
    slices: tuple[SourceSlice, ...]
    series_instance_uid: str
    series_description: str
    notes: tuple[str, ...] = ()


def read_series(instances: Sequence[Dataset]) -> SeriesVolume:
    """Read one series that holds one volume.

    Slices are ordered by position, never by instance or frame number. Objects without pixels (raw data,
    reports) and phase, real and imaginary images beside magnitude ones are left out.

    Parameters
    ----------
    instances : sequence of Dataset
        All instances of the series, in any order.

    Raises
    ------
    InconsistentGeometry
        The slices do not form one regular volume, or the series holds several.
    MissingAttribute
        An attribute of geometry is absent.
    UnreadablePixels
        Pixels are absent, truncated or cannot be decoded.
    """
    stack, notes = plan_series_with_notes(instances)
    volume = read_volume(stack)[0]
    return replace(volume, notes=(*volume.notes, *notes))


def read_volume(stack: Stack) -> tuple[SeriesVolume, FloatArray]:
    """The volume of a planned series, and the array over its voxels, (z, y, x), which may be written to.

    Raises
    ------
    UnreadablePixels
        As in `read_series`.
    """
    image, array = read_stack(stack)
    volume = SeriesVolume(
        image=image,
        slices=source_slices(stack),
        series_instance_uid=text(stack.frames[0].header, "SeriesInstanceUID"),
        series_description=text(stack.frames[0].header, "SeriesDescription"),
    )
    return volume, array


def read_stack(stack: Stack) -> tuple[sitk.Image, FloatArray]:
    """The pixels of a stack as an image, and the array over its voxels; else as `read_volume`."""
    check_pixels(stack.frames)
    image, array = stack.blank()
    read_planes(stack.frames, array)
    return image, array


def plan_series(instances: Sequence[Dataset]) -> Stack:
    """What `read_series` would read, from headers alone; raises as it does but for the pixels."""
    return plan_series_with_notes(instances)[0]


def plan_series_with_notes(instances: Sequence[Dataset]) -> tuple[Stack, tuple[str, ...]]:
    """As `plan_series`, with notes on what is left out."""
    frames = frames_of(instances)
    if not frames:
        raise MissingAttribute("No MR image is in the series.", code="NO_IMAGES")
    check_one_series(frames)
    return plan_volume(frames)


def plan_volume(frames: Sequence[Frame]) -> tuple[Stack, tuple[str, ...]]:
    """The stack that the frames of one series form, or the part of them that is meant.

    And notes on what is left out.
    """
    kept = magnitude(frames)
    try:
        return stack_frames(kept), ()
    except InconsistentGeometry as error:
        if (part := volume_of(kept, frames)) is not None:
            return part
        if error.code == "DUPLICATE_SLICES" and (reason := why_several(kept)):
            raise refuse(kept, *reason) from None
        raise


def plan_frames(frames: Sequence[Frame]) -> Stack:
    """The stack of `plan_volume`."""
    return plan_volume(frames)[0]


def magnitude(frames: Sequence[Frame]) -> list[Frame]:
    """Frames without phase, real and imaginary ones, where magnitude ones exist."""
    kept = [frame for frame in frames if frame.component == "M"]
    return kept or list(frames)


def check_one_series(frames: Sequence[Frame]) -> None:
    """Refuse frames of more than one series."""
    uids = {text(frame.header, "SeriesInstanceUID") for frame in frames}
    if len(uids) > 1:
        raise refuse(frames, "SEVERAL_SERIES", f"instances of one series are needed, found {len(uids)} series.")


def why_several(frames: Sequence[Frame]) -> tuple[str, str] | None:
    """Code and sentence for what tells the volumes of a series apart, None if nothing does."""
    echoes = {frame.echo_time_ms for frame in frames}
    if len(echoes) > 1:
        listed = ", ".join(f"{echo:g}" for echo in sorted(echo for echo in echoes if echo is not None)[:8])
        return "SEVERAL_ECHOES", f"one volume is needed, found {len(echoes)} echoes ({listed} ms)."
    for code, noun, values in (
        ("SEVERAL_REPEATS", "temporal positions", {frame.repeat for frame in frames}),
        ("SEVERAL_REPEATS", "acquisitions", {frame.acquisition_number for frame in frames}),
        ("SEVERAL_STACKS", "stacks", {frame.stack_id for frame in frames}),
        ("SEVERAL_B_VALUES", "b-values", {frame.b_value for frame in frames}),
        ("SEVERAL_IMAGE_TYPES", "image types", {frame.image_type for frame in frames}),
    ):
        if len(values) > 1:
            return code, f"one volume is needed, found {len(values)} {noun}."
    return None


def source_slices(stack: Stack) -> tuple[SourceSlice, ...]:
    """Where the planes of a stack came from, in k order; without the pixels, which would stay in memory with them."""
    headers = {id(frame.header): frame.header for frame in stack.frames}
    bare: dict[int, Dataset] = {key: ds[:_PIXEL_DATA_GROUP] for key, ds in headers.items()}
    return tuple(
        SourceSlice(frame.sop_instance_uid, frame.sop_class_uid, frame.frame_number, bare[id(frame.header)])
        for frame in stack.frames
    )
