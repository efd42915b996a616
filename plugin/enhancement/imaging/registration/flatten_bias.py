"""Level out the receive field of a series, roughly and within a fraction of a second, before series are compared.

Two coils' sensitivities are smooth, so the mutual information that they have with one another changes with the pose
as slowly as they do: it pulls the optimum aside, by half a millimetre where grey and white matter differ much, by
several where they hardly do. What is taken out with the field (how bright the neighbourhood of 15 mm is) is no
loss: edges carry the pose. The field that the network's input is divided by is estimated with care elsewhere
(`bias_field.py`).
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.imaging.registration.similarity import resample_isotropic

_LATTICE_MM = 6.0
_SIGMA_MM = 15.0
_OUTLIERS = (0.4, 2.0)  # of the brain's median: air, CSF and vessels shall not pass for a field
_LARGEST_FACTOR = 4.0  # of the field, which goes on far from the brain
_FAINT = 1e-3  # weight of "no field at all", which wins far from the brain


def flatten_bias(image: sitk.Image, brain: sitk.Image, to_image: sitk.Transform | None = None) -> sitk.Image:
    """Divide a series by a smooth surface through the brain, and then by the mean of the brain around each point.

    Parameters
    ----------
    image : sitk.Image
        Non-negative, on its own grid.
    brain : sitk.Image, uint8
        The brain in the fixed space.
    to_image : sitk.Transform, optional
        Linear; points of the fixed space to points of the image, right within some mm. Not needed where the two are
        one space.

    Returns
    -------
    sitk.Image, float32
        On the grid of the image, in about its numbers; unchanged if it shows no brain.
    """
    small = resample_isotropic(image, _LATTICE_MM)
    back = to_image.GetInverse() if to_image is not None else sitk.Transform()
    soft = sitk.Resample(sitk.Cast(brain, sitk.sitkFloat32), small, back, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
    values, weights = sitk.GetArrayFromImage(small), sitk.GetArrayFromImage(soft)
    inside = weights > 0.5
    median = float(np.median(values[inside])) if inside.any() else 0.0
    if median <= 0:
        return sitk.Cast(image, sitk.sitkFloat32)
    ramp = _quadratic(values / median, inside, small)
    values = values / median / ramp
    weights = weights * _tissue(values)
    level = float((values * weights).sum() / weights.sum())
    local = _blurred(values * weights + level * _FAINT, small) / _blurred(weights + _FAINT, small)
    field = _image(ramp * local / level, small)
    full = sitk.Resample(field, image, sitk.Transform(), sitk.sitkLinear, 1.0, sitk.sitkFloat32)
    return sitk.Cast(image, sitk.sitkFloat32) / full


def _tissue(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.asarray((values > _OUTLIERS[0]) & (values < _OUTLIERS[1]))


def _quadratic(values: NDArray[np.floating], inside: NDArray[np.bool_], grid: sitk.Image) -> NDArray[np.float64]:
    """The smooth part of the field: a local mean alone would flatten a slope too little at the brain's edge."""
    axes = [(np.arange(n) - n / 2) * s / 100.0 for n, s in zip(inside.shape, grid.GetSpacing()[::-1], strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    terms = np.stack([np.ones_like(x), x, y, z, x * x, y * y, z * z, x * y, y * z, z * x], axis=-1)
    inside = inside & _tissue(values)
    factors = np.linalg.lstsq(terms[inside], np.log(values[inside]), rcond=None)[0]
    bound = np.log(_LARGEST_FACTOR)
    return np.asarray(np.exp(np.clip(terms @ factors, -bound, bound)))


def _blurred(array_zyx: NDArray[np.floating], grid: sitk.Image) -> NDArray[np.float32]:
    return np.asarray(sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(_image(array_zyx, grid), _SIGMA_MM)))


def _image(array_zyx: NDArray[np.floating], grid: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array_zyx.astype(np.float32))
    image.CopyInformation(grid)
    return image
