"""From the labels of a real head, aligned to ICBM space, to the maps that an anatomy is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Volume
from simulation.frames import HEAD_ORIGIN_MNI, HEAD_SHAPE, ORIGIN_MNI, SHAPE, window
from simulation.head_labels import (
    ARTERY,
    BRAIN_STEM,
    CEREBELLUM,
    CSF,
    GREY,
    LEFT_CEREBRUM,
    LOG_T1,
    MIXTURE,
    PARENCHYMA,
    RIGHT_CEREBRUM,
    VEIN,
    VENTRICLES,
    WHITE,
    Labels,
    select,
    swap_sides,
    table,
)

# Labels are hard. Half a voxel of blur makes a partial volume out of them that is as wide as a scanner's.
_BLUR_MM = 0.6
# Sulci narrower than twice the first belong to the brain, and so does what lies over it by less than the second: of
# the outermost millimetre 0.58 is no parenchyma then, as in the mask of the ICBM average, and of real tumours 0.62.
_CLOSING_MM, _COVER_MM = 9.0, 0.8
_SHEET_MM = 0.7


@dataclass(frozen=True)
class HeadMaps:
    """One real head in ICBM space.

    Attributes
    ----------
    wm, gm : (160, 192, 160) float32
        Fractions of white and grey matter on the network grid; what is left is fluid or lies outside.
    distance : mm
        Signed distance from the edge of the brain mask (parenchyma, ventricles, sulci), positive outside.
    cavity : mm
        Signed distance from the inner surface of the dura, positive outside.
    mixture
        Share of white matter in the grey nuclei, and, less than 0, of grey matter in the brain stem and the like.
    log_t1
        Logarithm of T1 relative to this mixture.
    ventricle
        Fraction of the ventricles, choroid plexus included.
    septa
        Falx and tentorium as thin sheets.
    labels : (220, 240, 200) int16
        On the head grid (`simulation.frames`), numbers of `simulation.head_labels`.
    """

    wm: Volume
    gm: Volume
    distance: Volume
    cavity: Volume
    mixture: Volume
    log_t1: Volume
    ventricle: Volume
    septa: Volume
    labels: Labels

    def mirrored(self) -> HeadMaps:
        """The same head with left and right exchanged, about the plane x = 0 of MNI space."""
        volumes: dict[str, Any] = {f.name: _mirror(getattr(self, f.name)) for f in fields(self)}
        return HeadMaps(**volumes | {"labels": swap_sides(volumes["labels"])})


def _mirror(volume: NDArray[np.generic]) -> NDArray[np.generic]:
    """x to -x; both grids have one plane more on the left, which stays as it is."""
    return np.concatenate([volume[:, :, :1], volume[:, :, :0:-1]], axis=2)


def derive(native: Labels, to_voxel: NDArray[np.float64]) -> HeadMaps:
    """All maps of one head.

    Parameters
    ----------
    native : (z, y, x)
        Labels as in the file, x to the right, y to the front, z up.
    to_voxel : (3, 4)
        MNI coordinates to native voxels (x, y, z), see `simulation.head_alignment`.
    """
    head = _resample(native, to_voxel, HEAD_SHAPE, HEAD_ORIGIN_MNI, sitk.sitkNearestNeighbor).astype(np.int16)
    labels = head[window()]
    wm, gm, ventricle = (_fraction(native, kind, to_voxel) for kind in (WHITE, GREY, VENTRICLES))
    cavity = _cavity(labels)
    return HeadMaps(
        wm, gm, _brain_distance(labels, cavity), cavity, _soft(labels, MIXTURE), _soft(labels, LOG_T1), ventricle,
        _septa(labels, wm + gm), head,
    )  # fmt: skip


def _resample(
    array: NDArray[np.generic],
    to_voxel: NDArray[np.float64],
    shape: tuple[int, int, int],
    origin_mni: tuple[int, int, int],
    interpolator: int,
) -> NDArray[np.generic]:
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(to_voxel[:, :3].reshape(-1).tolist())
    transform.SetTranslation(to_voxel[:, 3].tolist())
    image = sitk.GetImageFromArray(array)
    grid = sitk.Image(shape[::-1], image.GetPixelID())
    grid.SetOrigin([float(o) for o in origin_mni])
    return np.asarray(sitk.GetArrayFromImage(sitk.Resample(image, grid, transform, interpolator, 0.0)))


def _fraction(native: Labels, kinds: tuple[int, ...], to_voxel: NDArray[np.float64]) -> Volume:
    soft = ndimage.gaussian_filter(select(native, kinds).astype(np.float32), _BLUR_MM, truncate=4)
    return np.asarray(_resample(soft, to_voxel, SHAPE, ORIGIN_MNI, sitk.sitkLinear), np.float32)


def _distance(mask: NDArray[np.bool_]) -> Volume:
    """Signed distance to the surface of a mask in mm, positive outside."""
    image = sitk.SignedMaurerDistanceMap(sitk.GetImageFromArray(mask.astype(np.uint8)), squaredDistance=False)
    return np.asarray(sitk.GetArrayFromImage(image), np.float32)


def _smooth_distance(mask: NDArray[np.bool_]) -> Volume:
    """Without the steps that a mask of voxels has."""
    return np.asarray(ndimage.gaussian_filter(_distance(mask), 1.0, truncate=3), np.float32)


def _closed(mask: NDArray[np.bool_], reach_mm: float) -> NDArray[np.bool_]:
    """Closing with a ball, and no holes left."""
    shrunk = _distance(_distance(mask) < reach_mm) < -reach_mm
    return np.asarray(ndimage.binary_fill_holes(shrunk | mask), bool)


def _cavity(labels: Labels) -> Volume:
    """What lies within the dura: brain, fluid, sinuses, and the specks between them that have no label."""
    brain = select(labels, (*PARENCHYMA, *VENTRICLES))
    near = _distance(brain)
    inside = (
        brain | ((labels == CSF) & (near < 20)) | ((labels == VEIN) & (near < 8)) | ((labels == ARTERY) & (near < 4))
    )
    return _smooth_distance(_largest(_closed(inside, 2.0)))


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.reshape(-1))
    sizes[0] = 0
    return np.asarray(parts == int(sizes.argmax()), bool)


def _brain_distance(labels: Labels, cavity: Volume) -> Volume:
    parenchyma = select(labels, (*PARENCHYMA, *VENTRICLES))
    closed = _smooth_distance(_largest(_closed(parenchyma, _CLOSING_MM) & (cavity < 0)))
    return np.asarray(np.maximum(closed - np.float32(_COVER_MM), cavity), np.float32)


def _soft(labels: Labels, values: Mapping[int, float]) -> Volume:
    return np.asarray(ndimage.gaussian_filter(table(values)[labels], 0.8, truncate=3), np.float32)


def _septa(labels: Labels, parenchyma: Volume) -> Volume:
    """Falx and tentorium: half-way between the hemispheres, and between cerebrum and cerebellum.

    They are looked for where there is fluid or a sinus. The free edge of the falx is an arch from the crista galli
    over the corpus callosum to the straight sinus; the tentorium leaves the brain stem its notch.
    """
    left, right, below, stem = (
        _distance(select(labels, kinds)) for kinds in (LEFT_CEREBRUM, RIGHT_CEREBRUM, CEREBELLUM, BRAIN_STEM)
    )
    above = np.minimum(left, right)
    z, y, x = (np.arange(n, dtype=np.float32) + o for n, o in zip(SHAPE, reversed(ORIGIN_MNI), strict=True))
    edge = np.interp(y, (-97, -79, -46, -20, 10, 35, 60, 72), (-27, -19, 3, 34, 36, 24, 0, -12))
    over = (z[:, None, None] > edge[None, :, None]) & (np.abs(x) < 12)[None, None, :]
    falx = _between(left, right, 8) * over
    tent = _between(above, below, 9) * (stem > 5) * (y < -25)[None, :, None]
    return np.asarray(np.maximum(falx, tent) * np.clip(1.2 - parenchyma, 0, 1), np.float32)


def _between(one: Volume, other: Volume, reach_mm: float) -> Volume:
    """A sheet half-way between two surfaces, no farther from them than this."""
    middle = np.clip(_SHEET_MM + 0.5 - np.abs(one - other) / 2, 0, 1)
    return np.asarray(middle * (np.maximum(one, other) < reach_mm) * (one + other > -1), np.float32)
