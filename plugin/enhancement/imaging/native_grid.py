"""From the network's grid back to the reference series' own grid.

The network works at 1 mm; a series of 0.5 mm in plane must not come back blurred. Three ways, by Output.NativeMethod:

``resampled``
    The prediction itself, interpolated: least noise, resolution of the network's grid.
``residual``
    The series plus the interpolated change (prediction minus network input): all of its detail, and its noise.
``detail``
    The interpolated prediction plus that part of the series' fine detail which stands above its noise.

Outside the brain the series is kept as it is; a ramp inside the mask's edge leaves no seam.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from enhancement.imaging.registration.register import bounding_window, resample

SEAM_MM = 2.0
_MARGIN_MM = 6.0
_WINDOW_MM = 2.0
_THICK_MM = 2.0  # slices thicker than this have nothing in common at the scale of fine detail
_NOISE_FACTOR = 1.6


def to_native_grid(
    prediction: sitk.Image,
    network_input: sitk.Image,
    brain: sitk.Image,
    reference: sitk.Image,
    to_grid: sitk.Transform,
    *,
    method: str,
) -> sitk.Image:
    """Make the result on the reference's grid.

    Parameters
    ----------
    prediction, network_input : sitk.Image, float32
        On the network's grid, in the reference's own numbers.
    brain : sitk.Image, uint8
        Where the prediction counts, on the reference's grid.
    reference : sitk.Image, float32
        As acquired.
    to_grid : sitk.Transform
        Points of the reference to points of the network's grid.
    method : {"resampled", "residual", "detail"}

    Returns
    -------
    sitk.Image, float32
        On the reference's grid, in its numbers, never negative where it is not.
    """
    whole = sitk.Cast(reference, sitk.sitkFloat32)
    window = bounding_window(brain, _MARGIN_MM)
    reference, brain = sitk.RegionOfInterest(whole, *window), sitk.RegionOfInterest(brain, *window)
    if method == "residual":
        inside = reference + resample(prediction - network_input, reference, to_grid, "spline")
    else:
        inside = resample(prediction, reference, to_grid, "spline")
    if method == "detail":
        inside = inside + fine_detail(reference, resample(network_input, reference, to_grid, "spline"), brain)
    blended = reference + (inside - reference) * seam_weight(brain)
    extremes = sitk.MinimumMaximumImageFilter()
    extremes.Execute(whole)
    blended = sitk.Maximum(blended, min(extremes.GetMinimum(), 0.0))
    return sitk.Paste(whole, blended, blended.GetSize(), [0, 0, 0], window[1])


def fine_detail(reference: sitk.Image, seen: sitk.Image, brain: sitk.Image) -> sitk.Image:
    """What the reference has beyond the network's resolution, where it stands above its noise.

    The difference of the reference and what the network saw of it is noise almost everywhere and edges in some places.
    It is weighted with (v - k s) / v, v being its local mean square and s the median of v over the brain (a Wiener
    filter whose noise is measured in the image itself).

    Parameters
    ----------
    reference, seen : sitk.Image, float32
        The series, and its image on the network's grid brought back.
    brain : sitk.Image, uint8
        Where the noise is measured.
    """
    difference = sitk.GetArrayFromImage(reference - seen)
    inside = sitk.GetArrayViewFromImage(brain) > 0
    size = [2 * max(1, round(_WINDOW_MM / 2 / s)) + 1 if s < _THICK_MM else 1 for s in reference.GetSpacing()]
    power = ndimage.uniform_filter(difference * difference, size[::-1])
    noise = float(np.median(power[inside])) if inside.any() else 0.0
    weight = np.clip(1.0 - _NOISE_FACTOR * noise / np.maximum(power, 1e-12), 0.0, 1.0)
    detail = sitk.GetImageFromArray((difference * weight).astype(np.float32))
    detail.CopyInformation(reference)
    return detail


def seam_weight(brain: sitk.Image, ramp_mm: float = SEAM_MM) -> sitk.Image:
    """0 outside the brain, 1 deeper inside than `ramp_mm`, smooth between; float32."""
    distance = sitk.SignedMaurerDistanceMap(brain, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    ramp = np.clip(sitk.GetArrayFromImage(distance) / ramp_mm, 0.0, 1.0)
    weight = sitk.GetImageFromArray((ramp * ramp * (3.0 - 2.0 * ramp)).astype(np.float32))
    weight.CopyInformation(brain)
    return weight
