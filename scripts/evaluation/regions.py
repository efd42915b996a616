"""Where to measure: brain tissue that is calm, found the same way in simulated and in real cases.

Calm tissue is grey or white matter away from lesions and from whatever enhances in the *T1c*. T1c-pro never
takes part in choosing a region, or a false enhancement would exclude itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_multiotsu

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
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
    spacing_zyx_mm : (z, y, x)

    Returns
    -------
    Regions

    Raises
    ------
    ValueError
        If no white matter is left.
    """
    grey, white = tissue_classes(t1, brain, spacing_zyx_mm)
    near_lesion = dilate(abnormal | lesion, _LESION_MARGIN_MM, spacing_zyx_mm)
    vivid = dilate(enhancing(t1, t1c, brain, spacing_zyx_mm), _VESSEL_MARGIN_MM, spacing_zyx_mm)
    calm = brain & ~near_lesion & ~vivid
    inner = _drop_small(ndimage.binary_erosion(white) & calm, _SMALLEST_WHITE_MM3, spacing_zyx_mm)
    if not inner.any():
        raise ValueError("no calm white matter found")
    roi = reader_roi(inner, spacing_zyx_mm)
    return Regions(brain, inner, roi, (grey | white) & calm, lesion, spacing_zyx_mm)


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
    """Gaussian smoothing that only sees voxels of the mask (normalised convolution); 0 where it sees none."""
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="constant", truncate=3)
    total = ndimage.gaussian_filter(np.where(mask, volume, 0).astype(np.float32), sigma, mode="constant", truncate=3)
    seen = weight > 1e-4
    return np.where(seen, total / np.where(seen, weight, 1), 0).astype(np.float32)


def dilate(mask: Mask, margin_mm: float, spacing_zyx_mm: Spacing) -> Mask:
    """All voxels within a distance of the mask."""
    if not mask.any():
        return mask.copy()
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing_zyx_mm)
    return np.asarray(distance <= margin_mm)


def _drop_small(mask: Mask, smallest_mm3: float, spacing_zyx_mm: Spacing) -> Mask:
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = sizes * float(np.prod(spacing_zyx_mm)) >= smallest_mm3
    keep[0] = False
    return np.asarray(keep[labels])
