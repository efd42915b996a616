"""Where to measure: brain tissue that is calm, found the same way in simulated and in real cases.

Calm tissue is grey or white matter away from lesions and from whatever enhances in the *T1c*. T1c-pro never
takes part in choosing a region, or a false enhancement would exclude itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

from enhancement.arrays import Mask, Volume

Spacing = tuple[float, float, float]

_BIAS_SIGMA_MM = 25.0
_LESION_MARGIN_MM = 5.0
_VESSEL_MARGIN_MM = 2.0
_SMALLEST_WHITE_MM3 = 1000.0


@dataclass(frozen=True)
class Regions:
    """Masks of one case, each (z, y, x).

    Parameters
    ----------
    brain : mask
        The brain mask that the image was made with.
    white : mask
        All calm white matter, one voxel inside its border.
    roi : mask
        The part of `white` in the 16 mm cube that holds most of it: what a person would draw as brain region.
    tissue : mask
        Calm grey and white matter up to the mask's edge: where glow is looked for.
    lesion : mask
        Enhancing lesion.
    spacing_zyx_mm : (z, y, x)
    """

    brain: Mask
    white: Mask
    roi: Mask
    tissue: Mask
    lesion: Mask
    spacing_zyx_mm: Spacing


def find_regions(
    t1: Volume,
    t1c: Volume,
    brain: Mask,
    *,
    lesion: Mask,
    abnormal: Mask,
    white_prior: Mask | None = None,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
) -> Regions:
    """Find calm tissue from the acquired images.

    Grey and white matter are the two brighter of three classes (multi-Otsu) of the T1 after its smooth bias
    is divided out. A voxel enhances where T1c/T1, over its own slow variation, exceeds its median by 10 %
    and by three robust standard deviations.

    Parameters
    ----------
    t1, t1c : (z, y, x), intensities
        On one grid.
    brain : (z, y, x)
    lesion, abnormal : (z, y, x)
        Enhancing voxels; all that is not normal brain (oedema, necrosis, other lesions) with them.
    white_prior : (z, y, x), optional
        Where white matter may be, from an atlas or the truth: many a T1 tells it badly from grey matter. Where a T1
        doesn't tell them apart at all, as some spin echoes, all its tissue there is taken for white.
    spacing_zyx_mm : (z, y, x)

    Returns
    -------
    Regions

    Raises
    ------
    ValueError
        If no white matter is left.
    """
    grey, bright = tissue_classes(t1, brain, spacing_zyx_mm)
    near_lesion = dilate(abnormal | lesion, _LESION_MARGIN_MM, spacing_zyx_mm)
    vivid = dilate(enhancing(t1, t1c, brain, spacing_zyx_mm), _VESSEL_MARGIN_MM, spacing_zyx_mm)
    calm = brain & ~near_lesion & ~vivid
    candidates = [bright] if white_prior is None else [bright & white_prior, (grey | bright) & white_prior]
    eroded = (ndimage.binary_erosion(white) & calm for white in candidates)
    found = (_drop_small(white, _SMALLEST_WHITE_MM3, spacing_zyx_mm) for white in eroded)
    inner = next((white for white in found if white.any()), None)
    if inner is None:
        raise ValueError("no calm white matter found")
    roi = reader_roi(inner, spacing_zyx_mm)
    return Regions(brain, inner, roi, (grey | bright) & calm, lesion, spacing_zyx_mm)


def reader_roi(white: Mask, spacing_zyx_mm: Spacing, *, edge_mm: float = 16.0) -> Mask:
    """White matter within the cube that holds most of it (the first such place in z, y, x order)."""
    size = [max(1, round(edge_mm / step)) for step in spacing_zyx_mm]
    density = ndimage.uniform_filter(white.astype(np.float32), size, mode="constant")
    place = np.unravel_index(int(np.argmax(density)), density.shape)
    roi = np.zeros_like(white)
    window = tuple(slice(max(int(i) - n // 2, 0), int(i) - n // 2 + n) for i, n in zip(place, size, strict=True))
    roi[window] = white[window]
    return roi


def tissue_classes(t1: Volume, brain: Mask, spacing_zyx_mm: Spacing) -> tuple[Mask, Mask]:
    """Grey and white matter of a T1, by multi-Otsu on three classes.

    Returns
    -------
    grey, white : (z, y, x)
    """
    sigma = [_BIAS_SIGMA_MM / step for step in spacing_zyx_mm]
    flat = np.where(brain, t1, 0) / np.maximum(masked_smooth(t1, brain, sigma), 1e-6)
    smooth = masked_smooth(flat.astype(np.float32), brain, [0.6 / step for step in spacing_zyx_mm])
    values = smooth[brain]
    low, high = np.percentile(values, [1, 99])
    csf_to_grey, grey_to_white = threshold_multiotsu(np.clip(values, low, high), classes=3, nbins=128)
    white = brain & (smooth > grey_to_white)
    return brain & (smooth > csf_to_grey) & ~white, white


def enhancing(t1: Volume, t1c: Volume, brain: Mask, spacing_zyx_mm: Spacing) -> Mask:
    """Voxels that are brighter after contrast than the tissue around them."""
    valid = brain & (t1 > 0.1 * float(np.median(t1[brain])))
    ratio = np.where(valid, t1c / np.where(valid, t1, 1), 0).astype(np.float32)
    ratio = np.minimum(ratio, 3 * float(np.median(ratio[valid])))
    near = masked_smooth(ratio, valid, [0.8 / step for step in spacing_zyx_mm])
    slow = masked_smooth(ratio, valid, [_BIAS_SIGMA_MM / 2 / step for step in spacing_zyx_mm])
    relative = near / np.maximum(slow, 1e-6)
    centre = float(np.median(relative[valid]))
    spread = 1.4826 * float(np.median(np.abs(relative[valid] - centre)))
    return valid & (relative > centre + max(0.10, 3 * spread))


def masked_smooth(volume: Volume, mask: Mask, sigma: list[float]) -> Volume:
    """Gaussian smoothing that only sees voxels of the mask (normalised convolution); 0 where it sees none.

    A Gaussian wider than six voxels is applied to means of blocks, a sixth of its width at most, and interpolated:
    the result differs by less than noise, the time by two orders.
    """
    factor = [max(1, int(s // 6)) for s in sigma]
    inside = np.where(mask, volume, 0).astype(np.float32)
    if max(factor) == 1:
        return _normalised(inside, mask.astype(np.float32), sigma)
    coarse = [s / f for s, f in zip(sigma, factor, strict=True)]
    small = _normalised(block_mean(inside, factor), block_mean(mask.astype(np.float32), factor), coarse)
    places = [(np.arange(n, dtype=np.float32) - (f - 1) / 2) / f for n, f in zip(volume.shape, factor, strict=True)]
    for axis, place in enumerate(places):
        small = _interpolate(small, place.astype(np.float32), axis)
    return small


def _normalised(inside: Volume, weight: Volume, sigma: list[float]) -> Volume:
    seen = ndimage.gaussian_filter(weight, sigma, mode="constant", truncate=3)
    total = ndimage.gaussian_filter(inside, sigma, mode="constant", truncate=3)
    return np.where(seen > 1e-4, total / np.maximum(seen, 1e-4), 0).astype(np.float32)


def _interpolate(volume: Volume, places: NDArray[np.float32], axis: int) -> Volume:
    """Linear interpolation along one axis, held constant beyond its ends."""
    last = volume.shape[axis] - 1
    places = np.clip(places, 0, last)
    low = np.minimum(places.astype(np.intp), max(last - 1, 0))
    shape = [1, 1, 1]
    shape[axis] = len(places)
    part = (places - low).astype(np.float32).reshape(shape)
    high = np.minimum(low + 1, last)
    below, above = np.take(volume, low, axis=axis), np.take(volume, high, axis=axis)
    return np.asarray(below * (1 - part) + above * part, np.float32)


def block_mean(volume: Volume, factor: list[int]) -> Volume:
    """Mean of whole blocks; what is left over at the far ends is filled up with zeros."""
    if max(factor) == 1:
        return volume
    short = [(0, -size % f) for size, f in zip(volume.shape, factor, strict=True)]
    padded = np.pad(volume, short)
    shape = [n for size, f in zip(padded.shape, factor, strict=True) for n in (size // f, f)]
    return np.asarray(padded.reshape(shape).mean(axis=(1, 3, 5)), dtype=np.float32)


def dilate(mask: Mask, margin_mm: float, spacing_zyx_mm: Spacing) -> Mask:
    """All voxels within a distance of the mask (a ball of whole voxels)."""
    if not mask.any():
        return mask.copy()
    radius = [int(margin_mm / step + 1e-6) for step in reversed(spacing_zyx_mm)]
    grown = sitk.BinaryDilate(sitk.GetImageFromArray(mask.astype(np.uint8)), radius, sitk.sitkBall)
    return np.asarray(sitk.GetArrayFromImage(grown) > 0)


def _drop_small(mask: Mask, smallest_mm3: float, spacing_zyx_mm: Spacing) -> Mask:
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes * float(np.prod(spacing_zyx_mm)) >= smallest_mm3
    keep[0] = False
    return np.asarray(keep[labels])
