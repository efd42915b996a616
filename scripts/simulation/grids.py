"""Acquisition grids: which way a stack of slices was cut, how finely, and how it was tilted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

Plane = Literal["axial", "sagittal", "coronal"]

# Columns are the directions of x (along a row), y (down a column) and z (through the slices) in LPS, as a radiologist
# sees the plane: patient's left on the right, or the face on the left, and the head up.
PLANE_AXES: dict[Plane, NDArray[np.float64]] = {
    "axial": np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "sagittal": np.array([[0.0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


@dataclass(frozen=True)
class Grid:
    """A regular grid in patient space.

    Parameters
    ----------
    size : (columns, rows, slices)
    spacing_mm : (between columns, between rows, between slices)
    axes : (3, 3)
        Columns are unit vectors of x, y, z in LPS.
    center_mm : (3,)
        LPS position of the middle of the volume.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    axes: NDArray[np.float64]
    center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def origin_mm(self) -> NDArray[np.float64]:
        half = (np.array(self.size) - 1) / 2 * np.array(self.spacing_mm)
        return np.asarray(np.array(self.center_mm) - self.axes @ half)

    def image(self, array_zyx: NDArray[np.floating]) -> sitk.Image:
        """Give `array_zyx` (slices, rows, columns) this geometry."""
        image = sitk.GetImageFromArray(np.ascontiguousarray(array_zyx, dtype=np.float32))
        image.SetSpacing(self.spacing_mm)
        image.SetOrigin(self.origin_mm.tolist())
        image.SetDirection(self.axes.flatten().tolist())
        return image

    def empty(self) -> sitk.Image:
        """A reference image for resampling."""
        return self.image(np.zeros(self.size[::-1], dtype=np.float32))

    def points_mm(self) -> NDArray[np.float64]:
        """(z, y, x, 3) LPS position of every voxel."""
        indices = np.stack(np.meshgrid(*(np.arange(n) for n in self.size[::-1]), indexing="ij"), axis=-1)[..., ::-1]
        scaled = indices * np.array(self.spacing_mm)
        return np.asarray(self.origin_mm + scaled @ self.axes.T)


def make_grid(
    plane: Plane = "axial",
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
    extent_mm: Sequence[float] = (230.0, 230.0, 170.0),
    *,
    tilt_deg: Sequence[float] = (0.0, 0.0, 0.0),
    center_mm: Sequence[float] = (0.0, 0.0, 0.0),
    slices: int | None = None,
) -> Grid:
    """A grid over a box of the patient.

    Parameters
    ----------
    spacing_mm : in plane (x, y), then between slices
    extent_mm : left-right, front-back, foot-head
        The box; the grid covers it along the plane's own axes.
    tilt_deg : about the axes L, P, S
        Obliquity, or the rotation of a gantry-like frame.
    slices : int, optional
        Number of slices instead of what the box needs.
    """
    axes = PLANE_AXES[plane]
    along = np.abs(axes.T) @ np.array(extent_mm, dtype=float)
    size = [max(1, math.ceil(length / step - 1e-9)) for length, step in zip(along, spacing_mm, strict=True)]
    if slices is not None:
        size[2] = slices
    columns, rows, count = size
    x, y, z = (float(step) for step in spacing_mm)
    center = (float(center_mm[0]), float(center_mm[1]), float(center_mm[2]))
    return Grid((columns, rows, count), (x, y, z), rotation(tilt_deg) @ axes, center)


def rotation(degrees: Sequence[float]) -> NDArray[np.float64]:
    """(3, 3) rotation about L, then P, then S."""
    a, b, c = np.radians(np.asarray(degrees, dtype=float))
    about_l = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_p = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_s = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_s @ about_p @ about_l)


def radiological(image: sitk.Image) -> sitk.Image:
    """The same voxels in the order in which a scanner would have written them.

    Axes are permuted and flipped, nothing is resampled. The slices are cut along the axis with the widest spacing,
    or along the last axis where the voxels are cubes.
    """
    spacing = np.array(image.GetSpacing())
    through = int(np.argmax(spacing)) if spacing.max() > 1.05 * spacing.min() else 2
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, through]
    code = ("PIR", "LIP", "LPS")[int(np.argmax(np.abs(normal)))]
    return sitk.DICOMOrient(image, code)
