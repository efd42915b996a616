"""Where vessels may run in one head: its midline, its tentorium, the inner surface of its skull, and its fluid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from enhancement.arrays import Volume
from simulation import head_labels
from simulation.anatomy import Anatomy
from simulation.frames import ORIGIN_MNI, mni_to_voxel

edt = ndimage.distance_transform_edt
Points = NDArray[np.float64]
#: A signed distance in mm at points (n, 3; z, y, x voxels).
Field = Callable[[Points], NDArray[np.float64]]
# The average anatomy's dura lies about this far outside its mask.
_RIM_MM = 1.5


@dataclass(frozen=True)
class Terrain:
    """What vessels are snapped to.

    Attributes
    ----------
    anatomy
    side
        From the plane between the hemispheres, positive in the right one.
    roof
        From the tentorium, positive above it.
    skull
        From the inner surface of the dura, positive outside.
    wall
        From the wall of the ventricles, positive outside them.
    outside : (z, y, x), mm
        From the inner surface of the dura, dense.
    fluid : (z, y, x)
        Fraction of CSF, smoothed by 1 mm: what vessels of the surface climb.
    seen
        Voxels of large sinuses and arteries in the head's label map, if it has one.
    """

    anatomy: Anatomy
    side: Field
    roof: Field
    skull: Field
    wall: Field
    outside: Volume
    fluid: Volume
    seen: dict[str, cKDTree]

    def place(self, points_mni: NDArray[np.floating]) -> Points:
        """(n, 3) MNI points in mm to (z, y, x) voxels of this head."""
        return self.anatomy.deformation.to_patient(mni_to_voxel(points_mni))


def build_terrain(anatomy: Anatomy) -> Terrain:
    """The terrain of one head: from its labels, or from the template's planes where it has none."""
    outside = anatomy.distance - np.float32(_RIM_MM) if anatomy.cavity is None else anatomy.cavity
    side, roof = _from_template(anatomy) if anatomy.labels is None else _from_labels(anatomy.labels)
    fluid = np.asarray(ndimage.gaussian_filter(anatomy.csf, 1.0), np.float32)
    return Terrain(
        anatomy,
        side,
        roof,
        skull=lambda points: at(outside, points),
        wall=_wall(anatomy.ventricle),
        outside=outside,
        fluid=fluid,
        seen=_seen(anatomy),
    )


def _wall(ventricle: Volume) -> Field:
    """Signed distance from the ventricles, from every second voxel."""
    hollow = ventricle[::2, ::2, ::2] > 0.5
    if not hollow.any():
        return lambda points: np.full(len(points), np.inf)
    signed = np.asarray(2 * (edt(~hollow) - edt(hollow)), np.float32)
    signed = np.asarray(ndimage.gaussian_filter(signed, 0.7), np.float32)
    return lambda points: at(signed, points / 2)


def _seen(anatomy: Anatomy) -> dict[str, cKDTree]:
    if anatomy.labels is None:
        return {}
    found = {"sinus": head_labels.VEIN, "artery": head_labels.ARTERY}
    voxels = {name: np.argwhere(anatomy.labels == number).astype(float) for name, number in found.items()}
    return {name: cKDTree(points) for name, points in voxels.items() if len(points) > 100}


def _from_template(anatomy: Anatomy) -> tuple[Field, Field]:
    """Midline and tentorium of the average; the tentorium's heights were read off the template."""

    def mni(points: Points) -> tuple[NDArray[np.float64], ...]:
        z, y, x = anatomy.deformation.to_atlas(points).T
        return x + ORIGIN_MNI[0], y + ORIGIN_MNI[1], z + ORIGIN_MNI[2]

    def roof(points: Points) -> NDArray[np.float64]:
        x, y, z = mni(points)
        fall = np.where(y < -46, 3 + 0.667 * (y + 46), 3)
        return np.asarray(z - (fall - np.interp(y, (-95, -60), (0.25, 0.45)) * np.abs(x)))

    return lambda points: mni(points)[0], roof


def _from_labels(labels: head_labels.Labels) -> tuple[Field, Field]:
    """Half the difference of the distances from left and right, and from cerebellum and cerebrum."""
    coarse = labels[::2, ::2, ::2]
    left, right = head_labels.LEFT_CEREBRUM, head_labels.RIGHT_CEREBRUM

    def between(one: tuple[int, ...], other: tuple[int, ...]) -> Field:
        gap = [edt(~head_labels.select(coarse, s), sampling=2.0) for s in (one, other)]
        signed = np.asarray(ndimage.gaussian_filter((gap[0] - gap[1]) / 2, 1.0), np.float32)
        return lambda points: at(signed, points / 2)

    return between(left, right), between(head_labels.CEREBELLUM, (*left, *right))


def at(volume: Volume, points: Points) -> NDArray[np.float64]:
    """Linear interpolation of a volume at points (n, 3)."""
    return np.asarray(ndimage.map_coordinates(volume, points.T, order=1, mode="nearest", output=np.float64))


def gradient(field: Field, points: Points, step: float = 1.0) -> Points:
    """Central differences of a field at points (n, 3), per voxel."""
    shifts = step * np.concatenate([np.eye(3), -np.eye(3)])
    values = field((points[None] + shifts[:, None]).reshape(-1, 3)).reshape(2, 3, -1)
    return np.asarray((values[0] - values[1]).T / (2 * step))


def onto_level(field: Field, points: Points, level: float | NDArray[np.floating], weight: float = 1.0) -> Points:
    """One Newton step along the gradient of a signed distance towards a level (at most 3 mm)."""
    slope = gradient(field, points)
    square = np.maximum((slope**2).sum(1), 0.25)
    step = np.clip(weight * (field(points) - level) / square, -3, 3)
    return np.asarray(points - step[:, None] * slope)
