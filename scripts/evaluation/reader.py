"""Marks that could be lesions: blob-shaped maxima of what an image adds to the tissue that its T1 expects.

This is what a reader's eye stops at. Which of them are lesions is another question (`evaluation.expert`): at the
brightness of a lesion a brain has hundreds of vessels' bends, crossings and ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from evaluation.regions import Spacing, block_mean, masked_smooth

# -sigma^2 laplacian(G_sigma * sphere) at the centre of a sphere of radius sqrt(3) sigma and contrast 1.
_SPHERE_RESPONSE = float(np.sqrt(2 / np.pi) * 3**1.5 * np.exp(-1.5))
_CSF = 0.65  # of the brain's median, in the T1


@dataclass(frozen=True)
class ReaderSettings:
    """The reader's numbers; a report states them.

    Parameters
    ----------
    threshold : float
        Least probability of disease at which a mark is made.
    contrast : float
        Least contrast of a candidate, in units of the brain's median.
    noise_factor : float
        Least contrast of a candidate, in robust standard deviations of the response at that scale.
    blobness : float
        Least ratio of a candidate's weakest to its strongest curvature.
    """

    threshold: float = 0.5
    contrast: float = 0.15
    noise_factor: float = 3.5
    blobness: float = 0.20
    diameters_mm: tuple[float, ...] = (2.5, 3.7, 5.4, 8.0, 12.0, 18.0, 27.0)


@dataclass(frozen=True)
class Detection:
    """One mark of the reader: centre (z, y, x) in mm from the first voxel, diameter in mm, score."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    score: float


@dataclass(frozen=True)
class Candidate:
    """A mark whose score is its contrast, and its voxel in the window of its `Ground`."""

    mark: Detection
    voxel: NDArray[np.intp]


@dataclass(frozen=True)
class Ground:
    """An image prepared for reading, cut to the brain.

    Parameters
    ----------
    window : slices
        Of the brain in the image.
    normal, excess : (z, y, x), brain medians
        The image, and what it has beyond what its T1 expects.
    csf, inside : (z, y, x)
    spacing_zyx_mm : (z, y, x)
    """

    window: tuple[slice, slice, slice]
    normal: Volume
    excess: Volume
    csf: Mask
    inside: Mask
    spacing_zyx_mm: Spacing

    def factor(self, diameter_mm: float) -> list[int]:
        """Large marks are looked at on a coarser grid: voxels a side of its blocks."""
        return [max(1, int(diameter_mm / (5 * step))) for step in self.spacing_zyx_mm]

    def step(self, diameter_mm: float) -> Spacing:
        """The spacing of that grid, mm."""
        z, y, x = (s * f for s, f in zip(self.spacing_zyx_mm, self.factor(diameter_mm), strict=True))
        return z, y, x


def survey(image: Volume, t1: Volume, brain: Mask, spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0)) -> Ground:
    """Prepare an image for reading.

    Parameters
    ----------
    image, t1 : (z, y, x), intensities
        The image read, and the image before contrast on the same grid.
    brain : (z, y, x)
    spacing_zyx_mm : (z, y, x)
    """
    window = _box(brain)
    normal = np.where(brain, image, 0)[window].astype(np.float32) / np.float32(np.median(image[brain]))
    # Air is set to the brain's median: the brain's edge is not to be a blob's edge.
    inside = brain[window]
    normal = np.where(inside, normal, 1).astype(np.float32)
    excess, csf = enhancement_map(image[window], t1[window], inside, spacing_zyx_mm)
    return Ground(window, normal, excess, csf, inside, spacing_zyx_mm)


def find_candidates(ground: Ground, settings: ReaderSettings | None = None) -> list[Candidate]:
    """Every blob of an image that could be an enhancing lesion, touching ones as well; strongest first."""
    settings = settings or ReaderSettings()
    found = [candidate for diameter in settings.diameters_mm for candidate in _maxima(ground, diameter, settings)]
    return sorted(found, key=lambda candidate: -candidate.mark.score)


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


def _maxima(ground: Ground, diameter_mm: float, settings: ReaderSettings) -> list[Candidate]:
    """Blob-shaped maxima of one scale."""
    factor, step, spacing = ground.factor(diameter_mm), ground.step(diameter_mm), ground.spacing_zyx_mm
    smooth = smooth_at(block_mean(ground.excess, factor), diameter_mm, step)
    contrast = np.minimum(
        _laplacian_contrast(smooth, diameter_mm, step),
        sphere_response(block_mean(ground.normal - 1, factor), diameter_mm, step),
    )
    inside = block_mean(ground.inside.astype(np.float32), factor) > 0.5
    noise = 1.4826 * float(np.median(np.abs(contrast[inside] - np.median(contrast[inside]))))
    high = (contrast >= max(settings.contrast, settings.noise_factor * noise)) & inside
    peak = high & (ndimage.maximum_filter(contrast, size=3) == contrast)
    found = []
    for index in np.argwhere(peak):
        if blobness(smooth, index, step) < settings.blobness:
            continue
        # The centre of a block of f voxels lies (f - 1) / 2 voxels beyond its first one.
        place = [f * i + (f - 1) / 2 for f, i in zip(factor, _refine(contrast, index), strict=True)]
        z, y, x = ((at + w.start) * s for at, w, s in zip(place, ground.window, spacing, strict=True))
        voxel = np.clip(np.rint(place).astype(np.intp), 0, np.asarray(ground.excess.shape) - 1)
        found.append(Candidate(Detection((z, y, x), diameter_mm, float(contrast[tuple(index)])), voxel))
    return found


def sphere_response(volume: Volume, diameter_mm: float, spacing_zyx_mm: Spacing) -> Volume:
    """Contrast of the best sphere of one diameter at every voxel (normalised Laplacian of Gaussian)."""
    return _laplacian_contrast(smooth_at(volume, diameter_mm, spacing_zyx_mm), diameter_mm, spacing_zyx_mm)


def smooth_at(volume: Volume, diameter_mm: float, spacing_zyx_mm: Spacing) -> Volume:
    """Gaussian smoothing of the width that fits a sphere of this diameter."""
    sigma = [diameter_mm / (2 * np.sqrt(3)) / step for step in spacing_zyx_mm]
    return np.asarray(ndimage.gaussian_filter(volume, sigma, mode="constant", truncate=3.0))


def _laplacian_contrast(smooth: Volume, diameter_mm: float, spacing_zyx_mm: Spacing) -> Volume:
    total = np.zeros_like(smooth)
    for axis, step in enumerate(spacing_zyx_mm):
        total += ndimage.correlate1d(smooth, [1.0, -2.0, 1.0], axis=axis, mode="constant") / step**2
    # On the grid the second difference sees a Gaussian wider by 1/12 voxel variance each way; at 2.5 mm this
    # and the partial volume lower the response, equally for every image read.
    variance_mm2 = (diameter_mm / (2 * np.sqrt(3))) ** 2
    return np.asarray(-variance_mm2 * total / _SPHERE_RESPONSE, dtype=np.float32)


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


def blobness(smooth: Volume, index: NDArray[np.intp], spacing_zyx_mm: Spacing) -> float:
    """Weakest over strongest curvature of a smoothed volume at a voxel: 1 for a ball, 0 for a tube or a sheet.

    Negative where the place is a saddle.
    """
    curvature = -np.linalg.eigvalsh(hessian(smooth, index, spacing_zyx_mm))
    return float(curvature.min() / curvature.max()) if curvature.max() > 0 else -1.0


def hessian(smooth: Volume, index: NDArray[np.intp], spacing_zyx_mm: Spacing) -> NDArray[np.float64]:
    """Second derivatives of a smoothed volume at a voxel, (3, 3), per mm2."""
    corner = [int(np.clip(i, 1, n - 2)) for i, n in zip(index, smooth.shape, strict=True)]
    near = smooth[tuple(slice(i - 1, i + 2) for i in corner)].astype(np.float64)
    result = np.empty((3, 3))
    for a in range(3):
        for b in range(a, 3):
            result[a, b] = result[b, a] = _second_difference(near, a, b) / (spacing_zyx_mm[a] * spacing_zyx_mm[b])
    return result


def _second_difference(near: NDArray[np.float64], a: int, b: int) -> float:
    unit = np.eye(3, dtype=int)

    def at(offset: NDArray[np.int_]) -> float:
        return float(near[tuple(1 + offset)])

    if a == b:
        return at(unit[a]) - 2 * at(0 * unit[a]) + at(-unit[a])
    return (at(unit[a] + unit[b]) - at(unit[a] - unit[b]) - at(unit[b] - unit[a]) + at(-unit[a] - unit[b])) / 4


def _box(brain: Mask) -> tuple[slice, slice, slice]:
    found = ndimage.find_objects(brain.astype(np.uint8))[0]
    return found[0], found[1], found[2]


def suppress(marks: Sequence[Detection]) -> list[int]:
    """Places of the marks that are left when of those whose spheres touch the highest-ranking one is kept, ascending.

    Contrast alone would prefer a nodule on a rim to the lesion that it belongs to.
    """
    kept: list[int] = []
    for i in sorted(range(len(marks)), key=lambda i: -marks[i].score * marks[i].diameter_mm ** 0.5):
        if all(_apart(marks[i], marks[j]) for j in kept):
            kept.append(i)
    return sorted(kept)


def _apart(a: Detection, b: Detection) -> bool:
    return math.dist(a.centre_mm, b.centre_mm) > (a.diameter_mm + b.diameter_mm) / 2
