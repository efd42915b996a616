"""A stated automatic reader of enhancing lesions, the same for T1c, T1c-pro and every baseline.

What it does is fixed; its few numbers were set on T1c images of simulated development patients, never on an
enhanced image:

1. The image over its brain median, minus the T1 carried to the same scale tissue by tissue (median of the
   image in each quantile bin of the T1), minus what varies slower than 15 mm: what is brighter than the
   tissue should be. T1-bright blood, fat and melanin vanish here, and so does a difference of gain.
2. Scale-space maxima of the normalised Laplacian of Gaussian, for diameters of 2 to 35 mm. The response is in
   units of the contrast that a sphere of the matched size has to its surroundings, 1 = the brain's median.
3. A blob counts if its contrast exceeds both a fixed threshold of visibility and five robust standard
   deviations of the response at its scale, so that both contrast and noise decide, as for a person.
4. Vessels and dura go by shape: at a blob's own scale the weakest of the three second derivatives must be at
   least a given part of the strongest. Small blobs wholly surrounded by CSF (choroid plexus, vessels in
   sulci, pituitary stalk) go as well.
5. A blob that touches a higher-ranking one (contrast x square root of diameter) is part of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.regions import Mask, Spacing, Volume, masked_smooth

# -sigma^2 laplacian(G_sigma * sphere) at the centre of a sphere of radius sqrt(3) sigma and contrast 1.
_SPHERE_RESPONSE = float(np.sqrt(2 / np.pi) * 3**1.5 * np.exp(-1.5))
_CSF = 0.65  # of the brain's median, in the T1


@dataclass(frozen=True)
class ReaderSettings:
    """The reader's numbers; a report states them.

    Parameters
    ----------
    threshold : float
        Least contrast, in units of the brain's median.
    noise_factor : float
        Least contrast, in robust standard deviations of the response at that scale.
    blobness : float
        Least ratio of the weakest to the strongest curvature.
    csf_shell : float
        Most that the shell around a small blob may be CSF.
    small_mm : float
        Up to this diameter the shell is looked at.
    """

    threshold: float = 0.12
    noise_factor: float = 5.0
    blobness: float = 0.30
    csf_shell: float = 0.5
    small_mm: float = 12.0
    diameters_mm: tuple[float, ...] = (2.5, 3.3, 4.4, 5.9, 7.8, 10.4, 13.9, 18.5, 24.6, 32.8)


@dataclass(frozen=True)
class Detection:
    """One mark of the reader: centre (z, y, x) in mm from the first voxel, diameter in mm, score."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    score: float


def read_lesions(
    image: Volume,
    t1: Volume,
    brain: Mask,
    *,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
    settings: ReaderSettings | None = None,
) -> list[Detection]:
    """Mark the enhancing lesions of an image.

    Parameters
    ----------
    image, t1 : (z, y, x), intensities
        The image read, and the image before contrast on the same grid.
    brain : (z, y, x)
    spacing_zyx_mm : (z, y, x)
    settings : ReaderSettings, optional

    Returns
    -------
    Detections, strongest first.
    """
    settings = settings or ReaderSettings()
    excess, csf = enhancement_map(image, t1, brain, spacing_zyx_mm)
    found: list[tuple[Detection, NDArray[np.intp]]] = []
    for diameter in settings.diameters_mm:
        found.extend(_maxima(excess, brain, diameter, spacing_zyx_mm, settings))
    kept = _suppress([item for item in found if _is_lesion(item, excess, csf, brain, spacing_zyx_mm, settings)])
    return sorted(kept, key=lambda mark: -mark.score)


def enhancement_map(image: Volume, t1: Volume, brain: Mask, spacing_zyx_mm: Spacing) -> tuple[Volume, Mask]:
    """What is brighter in `image` than the tissue should be, in units of the brain's median; and CSF.

    Returns
    -------
    excess : (z, y, x), 0 outside the brain
    csf : (z, y, x)
        Where the T1 is below 0.65 of the brain's median: darker than any grey matter.
    """
    normal = image / float(np.median(image[brain]))
    before = t1[brain] / float(np.median(t1[brain]))
    edges = np.quantile(before, np.linspace(0, 1, 65))
    bins = np.clip(np.searchsorted(edges, before, side="right") - 1, 0, 63)
    values = normal[brain]
    medians = np.array([np.median(values[bins == b]) if (bins == b).any() else np.nan for b in range(64)])
    centres = np.array([np.median(before[bins == b]) if (bins == b).any() else np.nan for b in range(64)])
    known = np.isfinite(medians)
    expected = np.interp(before, centres[known], ndimage.gaussian_filter1d(medians[known], 1.0))
    # Beyond the brightest bin the expectation grows with the T1: T1-bright tissue stays as bright as it was.
    expected = expected * np.maximum(before / edges[-2], 1.0)
    excess = np.zeros(image.shape, dtype=np.float32)
    excess[brain] = values - expected
    slow = masked_smooth(np.clip(excess, -0.1, 0.1), brain, [15.0 / step for step in spacing_zyx_mm])
    excess = np.where(brain, excess - slow, 0).astype(np.float32)
    csf = np.zeros(image.shape, dtype=bool)
    csf[brain] = before < _CSF
    return excess, csf


def _maxima(
    excess: Volume, brain: Mask, diameter_mm: float, spacing_zyx_mm: Spacing, settings: ReaderSettings
) -> list[tuple[Detection, NDArray[np.intp]]]:
    """Maxima of one scale, each with its voxel in `excess`; large scales on a coarser grid."""
    factor = [max(1, int(diameter_mm / (5 * step))) for step in spacing_zyx_mm]
    coarse_step = tuple(step * f for step, f in zip(spacing_zyx_mm, factor, strict=True))
    response = sphere_response(_block_mean(excess, factor), diameter_mm, coarse_step)  # type: ignore[arg-type]
    inside_brain = _block_mean(brain.astype(np.float32), factor) > 0.5
    inside = response[inside_brain]
    noise = 1.4826 * float(np.median(np.abs(inside - np.median(inside))))
    least = max(settings.threshold, settings.noise_factor * noise)
    peak = (response >= least) & (ndimage.maximum_filter(response, size=3) == response) & inside_brain
    marks = []
    for index in np.argwhere(peak):
        # The centre of a block of f voxels lies (f - 1) / 2 voxels beyond its first one.
        place = [f * i + (f - 1) / 2 for f, i in zip(factor, _refine(response, index), strict=True)]
        centre = (place[0] * spacing_zyx_mm[0], place[1] * spacing_zyx_mm[1], place[2] * spacing_zyx_mm[2])
        voxel = np.minimum(np.rint(place).astype(np.intp), np.asarray(excess.shape) - 1)
        marks.append((Detection(centre, diameter_mm, float(response[tuple(index)])), voxel))
    return marks


def _block_mean(volume: Volume, factor: list[int]) -> Volume:
    """Mean of whole blocks; what is left over at the far ends is filled up with zeros."""
    if max(factor) == 1:
        return volume
    short = [(0, -size % f) for size, f in zip(volume.shape, factor, strict=True)]
    padded = np.pad(volume, short)
    shape = [n for size, f in zip(padded.shape, factor, strict=True) for n in (size // f, f)]
    return np.asarray(padded.reshape(shape).mean(axis=(1, 3, 5)), dtype=np.float32)


def sphere_response(excess: Volume, diameter_mm: float, spacing_zyx_mm: Spacing) -> Volume:
    """Contrast of the best sphere of one diameter at every voxel (normalised Laplacian of Gaussian)."""
    sigma_mm = diameter_mm / (2 * np.sqrt(3))
    sigma = [sigma_mm / step for step in spacing_zyx_mm]
    smooth = ndimage.gaussian_filter(excess, sigma, mode="constant", truncate=3.5)
    total = np.zeros_like(smooth)
    for axis, step in enumerate(spacing_zyx_mm):
        total += ndimage.correlate1d(smooth, [1.0, -2.0, 1.0], axis=axis, mode="constant") / step**2
    # On the grid the second difference sees a Gaussian wider by 1/12 voxel variance each way; at 2.5 mm this
    # and the partial volume lower the response by a tenth, equally for every image read.
    return np.asarray(-(sigma_mm**2) * total / _SPHERE_RESPONSE, dtype=np.float32)


def _refine(response: Volume, index: NDArray[np.intp]) -> list[float]:
    """Centre of a maximum between voxels, by a parabola along each axis."""
    place = []
    for axis in range(3):
        i = int(index[axis])
        if i in (0, response.shape[axis] - 1):
            place.append(float(i))
            continue
        before, here, after = (
            float(response[tuple(np.where(np.arange(3) == axis, j, index))]) for j in (i - 1, i, i + 1)
        )
        curvature = before - 2 * here + after
        place.append(i + (0.5 * (before - after) / curvature if curvature < 0 else 0.0))
    return place


def _is_lesion(
    item: tuple[Detection, NDArray[np.intp]],
    excess: Volume,
    csf: Mask,
    brain: Mask,
    spacing_zyx_mm: Spacing,
    settings: ReaderSettings,
) -> bool:
    mark, index = item
    if blobness(excess, index, mark.diameter_mm, spacing_zyx_mm) < settings.blobness:
        return False
    if mark.diameter_mm > settings.small_mm:
        return True
    return _csf_around(csf, brain, index, mark.diameter_mm, spacing_zyx_mm) <= settings.csf_shell


def blobness(excess: Volume, index: NDArray[np.intp], diameter_mm: float, spacing_zyx_mm: Spacing) -> float:
    """Weakest over strongest curvature at a place and scale: 1 for a ball, 0 for a tube or a sheet.

    Negative where the place is a saddle.
    """
    sigma_mm = diameter_mm / (2 * np.sqrt(3))
    sigma = [sigma_mm / step for step in spacing_zyx_mm]
    reach = [int(np.ceil(4 * s)) + 1 for s in sigma]
    window = tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip(index, reach, strict=True))
    at = tuple(int(i - s.start) for i, s in zip(index, window, strict=True))
    smooth = ndimage.gaussian_filter(excess[window], sigma, mode="constant")
    hessian = np.empty((3, 3))
    for a in range(3):
        slope = np.gradient(smooth, spacing_zyx_mm[a], axis=a)
        for b in range(a, 3):
            hessian[a, b] = hessian[b, a] = np.gradient(slope, spacing_zyx_mm[b], axis=b)[at]
    curvature = -np.linalg.eigvalsh(hessian)
    return float(curvature.min() / curvature.max()) if curvature.max() > 0 else -1.0


def _csf_around(csf: Mask, brain: Mask, index: NDArray[np.intp], diameter_mm: float, spacing_zyx_mm: Spacing) -> float:
    """Fraction of the shell between 0.5 and 1 diameter + 1 mm that is CSF or outside the brain."""
    outer = diameter_mm + 1.0
    reach = [int(np.ceil(outer / step)) for step in spacing_zyx_mm]
    window = tuple(slice(max(i - r, 0), i + r + 1) for i, r in zip(index, reach, strict=True))
    axes = [
        (np.arange(s.start, s.start + brain[window].shape[a]) - index[a]) * spacing_zyx_mm[a]
        for a, s in enumerate(window)
    ]
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    shell = (distance > 0.5 * diameter_mm + 0.5) & (distance <= outer)
    wet = csf[window] | ~brain[window]
    return float(wet[shell].mean()) if shell.any() else 0.0


def _suppress(found: list[tuple[Detection, NDArray[np.intp]]]) -> list[Detection]:
    """Of marks whose spheres touch, keep the one that ranks highest by contrast x square root of diameter.

    Contrast alone would prefer a nodule on a rim to the lesion that it belongs to.
    """
    kept: list[Detection] = []
    for mark, _ in sorted(found, key=lambda item: -item[0].score * item[0].diameter_mm**0.5):
        if all(_apart(mark, other) for other in kept):
            kept.append(mark)
    return kept


def _apart(a: Detection, b: Detection) -> bool:
    distance = float(np.linalg.norm(np.subtract(a.centre_mm, b.centre_mm)))
    return distance > (a.diameter_mm + b.diameter_mm) / 2
