"""Frames into one regular stack, or a refusal that says what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk

from enhancement.dicom.reading.frames import Frame, Vector, count_frames, normal_of
from enhancement.dicom.reading.headers import text
from enhancement.dicom.reading.private_tags import PrivateBlocks, grid_count
from enhancement.errors import InconsistentGeometry, MissingAttribute

Array = np.ndarray[Any, np.dtype[np.float64]]

# Scanners write positions with about four decimals, and round oblique ones; beyond these it is another grid.
_SAME_ORIENTATION = 2e-3  # largest difference of a direction cosine
_SAME_SPACING = 1e-3  # relative
_SAME_POSITION_MM = 0.02
_UNEVEN = 0.04  # largest deviation of one slice step from the median, relative
_SHEAR_PIXELS = 0.25  # largest in-plane drift of a slice from the straight stack
_ADVICE = "Send the series again in full, or exclude it by a rule."


@dataclass(frozen=True, eq=False)
class Stack:
    """Frames of one volume in the order of the image's k axis, and their common grid.

    `origin`, `direction` (3 x 3, columns are the i, j and k axes) and `spacing_mm` (x, y, z) are LPS and mm;
    `size` is (x, y, z) in voxels.
    """

    frames: tuple[Frame, ...]
    origin: Vector
    direction: Vector
    spacing_mm: Vector
    size: tuple[int, int, int]

    def same_grid(self, other: Stack) -> bool:
        """Whether two stacks have the same voxels."""
        return (
            self.size == other.size
            and np.allclose(self.spacing_mm, other.spacing_mm, rtol=_SAME_SPACING)
            and np.allclose(self.direction, other.direction, atol=_SAME_ORIENTATION)
            and np.allclose(self.origin, other.origin, atol=0.1 * min(self.spacing_mm))
        )

    def blank(self) -> tuple[sitk.Image, np.ndarray[Any, np.dtype[np.float32]]]:
        """A float32 image of this grid, and its voxels as an array (z, y, x), to be filled in before the image is used.

        An array that becomes an image is copied, and memory would hold a large volume twice.
        """
        image = sitk.Image(self.size, sitk.sitkFloat32)
        image.SetOrigin(self.origin)
        image.SetSpacing(self.spacing_mm)
        image.SetDirection(self.direction)
        return image, np.asarray(_Voxels(image))


class _Voxels:
    """Lends numpy the memory of a new image to write to, and keeps the image while an array needs it.

    SimpleITK's own view is read-only, since images may share voxels, and does not keep the image.
    """

    def __init__(self, image: sitk.Image) -> None:
        view = sitk.GetArrayViewFromImage(image)
        self._image = image
        self.__array_interface__ = {**view.__array_interface__, "data": (view.ctypes.data, False)}


def series_uid(frames: Sequence[Frame]) -> str:
    """SeriesInstanceUID of the first frame, for messages."""
    return text(frames[0].header, "SeriesInstanceUID") if frames else ""


def refuse(frames: Sequence[Frame], code: str, what: str) -> InconsistentGeometry:
    """The error that names the series and what is wrong with it."""
    return InconsistentGeometry(f"Series {series_uid(frames)}: {what}", code=code, advice=_ADVICE)


def stack_frames(frames: Sequence[Frame]) -> Stack:
    """Sort the frames of one volume by position and check that they form one regular grid.

    Parameters
    ----------
    frames : at least one
        One volume: every plane once.

    Raises
    ------
    MissingAttribute
        A frame without position, orientation, spacing or size.
    InconsistentGeometry
        Mixed orientations, sizes or spacings; doubled, missing or unevenly spaced slices; shear.
    """
    _check_present(frames)
    _check_alike(frames)
    normal = normal_of(frames[0].orientation)
    along = np.array([float(np.dot(frame.position, normal)) for frame in frames])
    order = np.argsort(along, kind="stable")
    ordered = tuple(frames[index] for index in order)
    step = _slice_step(ordered, along[order])
    _check_shear(ordered, normal)
    first = ordered[0]
    row, column = _orthonormal(first.orientation)
    direction = np.column_stack([row, column, np.cross(row, column)])
    return Stack(
        frames=ordered,
        origin=tuple(map(float, first.position)),
        direction=tuple(map(float, direction.ravel())),
        spacing_mm=(float(first.spacing_mm[1]), float(first.spacing_mm[0]), step),
        size=(first.columns, first.rows, len(ordered)),
    )


def _orthonormal(orientation: Vector) -> tuple[Array, Array]:
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:])
    row = row / np.linalg.norm(row)
    column = column - row * np.dot(row, column)
    return row, column / np.linalg.norm(column)


def _check_present(frames: Sequence[Frame]) -> None:
    if not frames:
        raise MissingAttribute("There is no image in the series.", code="NO_IMAGES")
    _check_kind(frames)
    for name, keyword in (
        ("position", "ImagePositionPatient"),
        ("orientation", "ImageOrientationPatient"),
        ("spacing_mm", "PixelSpacing"),
        ("rows", "Rows"),
        ("columns", "Columns"),
    ):
        lacking = sum(not getattr(frame, name) for frame in frames)
        if lacking:
            raise MissingAttribute(
                f"Series {series_uid(frames)}: {keyword} is needed on every slice and is absent or unreadable "
                f"on {lacking} of {len(frames)}.",
                advice=_ADVICE,
            )
    for frame in frames:
        row, column = np.asarray(frame.orientation[:3]), np.asarray(frame.orientation[3:])
        lengths = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
        if min(lengths) < 0.9 or max(lengths) > 1.1 or abs(float(np.dot(row, column))) > 0.02:
            raise refuse(frames, "BAD_ORIENTATION", "ImageOrientationPatient is not two perpendicular unit vectors.")
        if min(frame.spacing_mm) <= 0 or max(frame.spacing_mm) > 100 or max(map(abs, frame.position)) > 1e5:
            raise refuse(frames, "BAD_SPACING", "PixelSpacing or ImagePositionPatient is out of any possible range.")


def _are_cut(frames: Sequence[Frame]) -> bool:
    """Whether images that are called mosaics are slices: whole mosaics all lie at one place."""
    places = {frame.position for frame in frames}
    return len(frames) > 2 and len(places) == len(frames)


def _check_kind(frames: Sequence[Frame]) -> None:
    """Refuse objects whose planes cannot be told apart."""
    cut = _are_cut(frames)
    for frame in frames:
        if not cut and frame.tile is None and {"MOSAIC", "VFRAME"} & set(frame.image_type) and _is_tiled(frame):
            raise refuse(frames, "MOSAIC", "a mosaic whose number or place of slices is not in the header.")
        if frame.frame_number is None and count_frames(frame.header) > 1:
            raise refuse(frames, "NUMBER_OF_FRAMES", "several frames in a single-frame object.")
        if frame.rows < 0 or frame.columns < 0:
            raise refuse(frames, "BAD_SIZE", f"Rows and Columns are {frame.rows} and {frame.columns}.")


def _is_tiled(frame: Frame) -> bool:
    """A Siemens mosaic always is; UIH's VFRAME is one of several slices only where it says so."""
    return "MOSAIC" in frame.image_type or (grid_count(PrivateBlocks(frame.header)) or 0) > 1


def _check_alike(frames: Sequence[Frame]) -> None:
    first = frames[0]
    sizes = {(frame.columns, frame.rows) for frame in frames}
    if len(sizes) > 1:
        listed = ", ".join(f"{columns} x {rows}" for columns, rows in sorted(sizes)[:4])
        raise refuse(frames, "MIXED_SIZES", f"slices of one size are needed, found {listed}.")
    orientations = np.array([frame.orientation for frame in frames])
    if np.abs(orientations - orientations[0]).max() > _SAME_ORIENTATION:
        raise refuse(frames, "MIXED_ORIENTATIONS", "slices of one orientation are needed, found several.")
    spacings = np.array([frame.spacing_mm for frame in frames])
    if np.abs(spacings / np.asarray(first.spacing_mm) - 1).max() > _SAME_SPACING:
        raise refuse(frames, "MIXED_SPACINGS", "slices of one pixel spacing are needed, found several.")


def _slice_step(ordered: Sequence[Frame], along: Array) -> float:
    """Distance between slices in mm, after checking that it is one distance."""
    if len(ordered) == 1:
        raise refuse(ordered, "ONE_SLICE", "a volume is needed, found one slice.")
    steps = np.diff(along)
    if steps.min() < _SAME_POSITION_MM:
        doubled = int((steps < _SAME_POSITION_MM).sum())
        raise refuse(ordered, "DUPLICATE_SLICES", f"{doubled} of {len(ordered)} slices lie where another one lies.")
    median = float(np.median(steps))
    deviation = np.abs(steps - median)
    if deviation.max() > max(_UNEVEN * median, _SAME_POSITION_MM):
        multiples = steps / steps.min()
        gaps = multiples > 1.5
        if gaps.any() and np.abs(multiples - np.round(multiples)).max() < 0.1:
            lost = int(np.round(multiples[gaps] - 1).sum())
            where = float(along[:-1][gaps][0])
            what = f"{lost} slices are missing, the first after {where:.1f} mm; found {len(ordered)}."
            raise refuse(ordered, "MISSING_SLICES", what)
        what = f"evenly spaced slices are needed, found steps of {steps.min():.2f} to {steps.max():.2f} mm."
        raise refuse(ordered, "UNEVEN_SLICES", what)
    _check_three_d(ordered, median)
    return float((along[-1] - along[0]) / (len(ordered) - 1))


def _check_three_d(ordered: Sequence[Frame], step: float) -> None:
    """Every second slice of a 3D acquisition missing is even spacing: only the thickness shows it.

    3D partitions touch or overlap; gaps exist in 2D only.
    """
    thickness = ordered[0].thickness_mm
    is_3d = text(ordered[0].header, "MRAcquisitionType").upper() == "3D"
    if is_3d and thickness and step > 1.6 * thickness:
        what = f"slices of a 3D acquisition are {thickness:g} mm thick and {step:g} mm apart: some are missing."
        raise refuse(ordered, "MISSING_SLICES", what)


def _check_shear(ordered: Sequence[Frame], normal: Array) -> None:
    positions = np.array([frame.position for frame in ordered])
    offsets = positions - positions[0]
    in_plane = offsets - np.outer(offsets @ normal, normal)
    drift = float(np.linalg.norm(in_plane, axis=1).max())
    if drift > _SHEAR_PIXELS * min(ordered[0].spacing_mm):
        what = f"slices are shifted against each other by up to {drift:.1f} mm in their plane (gantry tilt or shear)."
        raise refuse(ordered, "SHEARED_SLICES", what)
