"""Where a real head lies in ICBM space: an affine map from its tissue labels to the template's tissue maps."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.arrays import Volume
from enhancement.errors import InputError
from simulation.frames import ORIGIN_MNI
from simulation.head_labels import CSF, GREY, VENTRICLES, WHITE, Labels, select

# Pseudo-T1 of white matter, grey matter and fluid, in which template and labels look alike.
_WHITE, _GREY, _FLUID = 1.0, 0.65, 0.25
_LEAST_CORRELATION = 0.85


def affine_to_head(labels: Labels, wm: Volume, gm: Volume, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The affine map from MNI coordinates (mm; x right, y anterior, z superior) to voxels (x, y, z) of the label map.

    Parameters
    ----------
    labels : (z, y, x)
        At 1 mm, x to the right, y to the front, z up.
    wm, gm, inside : (z, y, x)
        The template's maps on the network grid.

    Returns
    -------
    (3, 4) float64
        Rounded to 1e-4, so that machines agree.

    Raises
    ------
    InputError
        If the head and the template don't correlate afterwards.
    """
    fixed = _image(_WHITE * wm + _GREY * gm + _FLUID * np.clip(inside - wm - gm, 0, 1))
    fixed.SetOrigin([float(o) for o in ORIGIN_MNI])
    moving = _image(_pseudo_t1(labels))
    moving = sitk.SmoothingRecursiveGaussian(moving, 1.5)
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.AffineTransform(3), sitk.CenteredTransformInitializerFilter.MOMENTS
    )
    transform, correlation = _register(fixed, moving, start)
    if correlation < _LEAST_CORRELATION:
        raise InputError(
            "a label map has to show a whole brain in FreeSurfer's numbers: its correlation with the template after "
            f"alignment is {correlation:.2f}, at least {_LEAST_CORRELATION} is needed; take it out of the folder"
        )
    return _matrix(transform)


def _pseudo_t1(labels: Labels) -> Volume:
    brain = select(labels, (*WHITE, *GREY, *VENTRICLES))
    near = sitk.GetArrayFromImage(sitk.BinaryDilate(_image(brain.astype(np.uint8)), (3, 3, 3)))
    fluid = select(labels, VENTRICLES) | ((labels == CSF) & (near > 0))
    image = _WHITE * select(labels, WHITE) + _GREY * select(labels, GREY) + _FLUID * fluid
    return np.asarray(image, np.float32)


def _image(array: NDArray[np.generic]) -> sitk.Image:
    return sitk.GetImageFromArray(np.ascontiguousarray(array.astype(np.float32) if array.dtype == float else array))


def _register(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform) -> tuple[sitk.Transform, float]:
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsCorrelation()
    method.SetInterpolator(sitk.sitkLinear)
    method.SetInitialTransform(start, inPlace=False)
    method.SetOptimizerAsGradientDescentLineSearch(1.0, 60, 1e-5, 8)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([8, 4])
    method.SetSmoothingSigmasPerLevel([3, 1])
    transform = method.Execute(fixed, moving)
    return transform, -float(method.GetMetricValue())


def _matrix(transform: sitk.Transform) -> NDArray[np.float64]:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], float) * 100
    moved = np.array([transform.TransformPoint(p) for p in points.tolist()])
    linear = (moved[1:] - moved[0]).T / 100
    return np.round(np.concatenate([linear, moved[:1].T], axis=1), 4)
