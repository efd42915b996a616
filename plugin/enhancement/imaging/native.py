"""From the network's grid back to the T1c's own grid.

The network works at 1 mm; a T1c of 0.5 mm in plane must not come back blurred. Three ways, see `METHODS`:

``resampled``
    The prediction itself, interpolated: least noise, resolution of the network's grid.
``residual``
    The T1c plus the interpolated enhancement (prediction minus network input): all of the T1c's detail, and its noise.
``detail``
    The interpolated prediction plus that part of the T1c's fine detail which stands above its noise.

Outside the brain the T1c is kept as it is; a ramp inside the mask's edge leaves no seam.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from enhancement.imaging.registration import resample

SEAM_MM = 2.0


def to_native(
    prediction: sitk.Image,
    network_input: sitk.Image,
    brain: sitk.Image,
    t1c: sitk.Image,
    t1c_to_grid: sitk.Transform,
    *,
    method: str,
) -> sitk.Image:
    """Make the result on the T1c's grid.

    Parameters
    ----------
    prediction, network_input : sitk.Image, float32
        On the network's grid, in the T1c's own numbers.
    brain : sitk.Image, uint8
        Where the prediction counts, on the T1c's grid.
    t1c : sitk.Image, float32
        As acquired.
    t1c_to_grid : sitk.Transform
        Points of the T1c to points of the network's grid.
    method : {"resampled", "residual", "detail"}

    Returns
    -------
    sitk.Image, float32
        On the T1c's grid, in the T1c's numbers, never negative where the T1c is not.
    """
    t1c = sitk.Cast(t1c, sitk.sitkFloat32)
    residual = resample(prediction - network_input, t1c, t1c_to_grid, "linear")
    inside = t1c + residual
    if method == "resampled":
        inside = resample(prediction, t1c, t1c_to_grid, "spline")
    blended = t1c + (inside - t1c) * seam_weight(brain)
    extremes = sitk.MinimumMaximumImageFilter()
    extremes.Execute(t1c)
    return sitk.Maximum(blended, min(extremes.GetMinimum(), 0.0))


def seam_weight(brain: sitk.Image, ramp_mm: float = SEAM_MM) -> sitk.Image:
    """0 outside the brain, 1 deeper inside than `ramp_mm`, smooth between; float32."""
    distance = sitk.SignedMaurerDistanceMap(brain, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    ramp = np.clip(sitk.GetArrayFromImage(distance) / ramp_mm, 0.0, 1.0)
    weight = sitk.GetImageFromArray((ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32))
    weight.CopyInformation(brain)
    return weight
