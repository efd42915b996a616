"""Bring an image to another grid, and find the part of a grid that a mask needs."""

from __future__ import annotations

from typing import Literal

import SimpleITK as sitk

from enhancement.errors import RegistrationFailed

Interpolation = Literal["spline", "linear", "nearest"]


def resample(
    image: sitk.Image,
    grid: sitk.Image,
    transform: sitk.Transform | None = None,
    interpolation: Interpolation = "spline",
) -> sitk.Image:
    """Bring an image to a grid; float32, 0 where it has no data.

    A cubic B-spline rings at edges, so its result is held to the range of the image.
    """
    kind = {"spline": sitk.sitkBSpline, "linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}[interpolation]
    moved = sitk.Resample(
        sitk.Cast(image, sitk.sitkFloat32), grid, transform or sitk.Transform(), kind, 0.0, sitk.sitkFloat32
    )
    if interpolation != "spline":
        return moved
    extremes = sitk.MinimumMaximumImageFilter()
    extremes.Execute(image)
    return sitk.Clamp(moved, sitk.sitkFloat32, min(extremes.GetMinimum(), 0.0), extremes.GetMaximum())


def antialiased(
    image: sitk.Image, spacing_mm: float, *, strength: float = 0.4, coarse_already: float = 0.75
) -> sitk.Image:
    """Smooth the axes that are finer than the grid that an image is to be sampled on.

    Sampling 0.5 mm voxels at 1 mm would fold their noise into the result, where the acquired resolution is worth four
    averages.

    Parameters
    ----------
    image : sitk.Image
        Any spacing.
    spacing_mm : float
        Of the grid.
    strength : float
        Sigma of the Gaussian, as a share of sqrt(spacing_mm^2 - own spacing^2).
    coarse_already : float
        Axes with a spacing of at least this share of `spacing_mm` keep their sharpness.

    Returns
    -------
    sitk.Image, float32
        On the image's own grid.
    """
    smooth = sitk.Cast(image, sitk.sitkFloat32)
    for axis, own_mm in enumerate(image.GetSpacing()):
        if own_mm < coarse_already * spacing_mm:
            sigma_mm = strength * (spacing_mm**2 - own_mm**2) ** 0.5
            smooth = sitk.RecursiveGaussian(smooth, sigma_mm, False, sitk.RecursiveGaussianImageFilter.ZeroOrder, axis)
    return smooth


def bounding_window(mask: sitk.Image, margin_mm: float) -> tuple[list[int], list[int]]:
    """Size and first voxel of the box around a mask, for sitk.RegionOfInterest.

    Raises
    ------
    RegistrationFailed
        If the mask is empty.
    """
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(mask > 0, sitk.sitkUInt8))
    if not shape.HasLabel(1):
        raise RegistrationFailed("a mask with voxels was needed, found an empty one")
    box = shape.GetBoundingBox(1)
    margin = [round(margin_mm / s) for s in mask.GetSpacing()]
    first = [max(0, box[i] - margin[i]) for i in range(3)]
    last = [min(mask.GetSize()[i], box[i] + box[i + 3] + margin[i]) for i in range(3)]
    return [b - a for a, b in zip(first, last, strict=True)], first
