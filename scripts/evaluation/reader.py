"""A stated automatic reader of enhancing lesions, the same for T1c, T1c-pro and every baseline.

What it does is fixed; its few numbers were set on T1c images of simulated development patients, never on an
enhanced image:

1. The image over its brain median, and the *excess*: that minus the T1 carried to the same scale tissue by
   tissue (median of the image in each quantile bin of the T1) and minus what varies slower than 15 mm.
   T1-bright blood, fat and melanin vanish in the excess, and so does a difference of gain.
2. The normalised Laplacian of Gaussian of both, for diameters of 2.5 to 27 mm, in units of the contrast that a
   sphere of the matched size has to its surroundings (1 = the brain's median). A blob's contrast is the lesser
   of the two: what is a lesion is brighter than its surroundings *and* brighter than before. White matter of
   a thin gyrus is bright only in the image, an edge that moved only in the excess.
3. A maximum of that contrast over place counts if it exceeds both a threshold of visibility and five robust
   standard deviations of it at its scale, so that both contrast and noise decide, as for a person.
4. Vessels and dura go by shape: at a blob's own scale the weakest of the three second derivatives must be at
   least a given part of the strongest, and what is connected to the blob above half of its height must be no
   longer than twice the ball of its volume. What lies in the ventricles (dark T1, closed over 6 mm, deeper
   than 12 mm) is plexus, and a small blob mostly surrounded by CSF or by more of what enhances is plexus or a
   vessel: they go as well, and so does a mark within the known anatomy that the caller names, for a person
   knows by its place what a number can't tell.
5. A blob that touches a higher-ranking one (contrast x square root of diameter) is part of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from evaluation.regions import Mask, Spacing, Volume, block_mean, masked_smooth

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
    elongation : float
        Most that the connected part above half height may be longer than the ball of its volume.
    csf_shell : float
        Most that the shell around a small blob may be CSF, outside, or enhancing itself.
    small_mm : float
        Up to this diameter the shell is looked at.
    """

    threshold: float = 0.35
    noise_factor: float = 5.0
    blobness: float = 0.30
    elongation: float = 2.0
    csf_shell: float = 0.5
    small_mm: float = 12.0
    diameters_mm: tuple[float, ...] = (2.5, 3.7, 5.4, 8.0, 12.0, 18.0, 27.0)


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
    known: Mask | None = None,
    settings: ReaderSettings | None = None,
) -> list[Detection]:
    """Mark the enhancing lesions of an image: the candidates of which none touches a higher-ranking one."""
    marks = candidate_lesions(image, t1, brain, spacing_zyx_mm=spacing_zyx_mm, known=known, settings=settings)
    return [marks[i] for i in suppress(marks)]


def candidate_lesions(
    image: Volume,
    t1: Volume,
    brain: Mask,
    *,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
    known: Mask | None = None,
    settings: ReaderSettings | None = None,
) -> list[Detection]:
    """Mark every blob of an image that could be an enhancing lesion, touching ones as well.

    Parameters
    ----------
    image, t1 : (z, y, x), intensities
        The image read, and the image before contrast on the same grid.
    brain : (z, y, x)
    spacing_zyx_mm : (z, y, x)
    known : (z, y, x), optional
        Normal structures that enhance and that a person knows by their place, such as the choroid plexus.
    settings : ReaderSettings, optional

    Returns
    -------
    Detections, strongest first.
    """
    settings = settings or ReaderSettings()
    window = _box(brain)
    normal = np.where(brain, image, 0)[window].astype(np.float32) / np.float32(np.median(image[brain]))
    # Air is set to the brain's median: the brain's edge is not to be a blob's edge.
    inside = brain[window]
    normal = np.where(inside, normal, 1).astype(np.float32)
    excess, csf = enhancement_map(image[window], t1[window], inside, spacing_zyx_mm)
    fine = ndimage.gaussian_filter(excess, [0.6 / step for step in spacing_zyx_mm])
    excluded = _ventricles(csf, inside, spacing_zyx_mm)
    if known is not None:
        excluded |= known[window]
    around = _Surroundings(csf | ~inside, excluded, fine, spacing_zyx_mm)
    found: list[Detection] = []
    for diameter in settings.diameters_mm:
        for mark, voxel in _maxima(normal, excess, inside, diameter, spacing_zyx_mm, settings):
            if around.is_lesion(voxel, mark, settings):
                found.append(mark)
    offset = [part.start * step for part, step in zip(window, spacing_zyx_mm, strict=True)]
    return sorted((_moved(mark, offset) for mark in found), key=lambda mark: -mark.score)


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
    normal: Volume, excess: Volume, brain: Mask, diameter_mm: float, spacing_zyx_mm: Spacing, settings: ReaderSettings
) -> list[tuple[Detection, NDArray[np.intp]]]:
    """Blob-shaped maxima of one scale, each with its voxel; large scales on a coarser grid."""
    factor = [max(1, int(diameter_mm / (5 * step))) for step in spacing_zyx_mm]
    step: Spacing = tuple(s * f for s, f in zip(spacing_zyx_mm, factor, strict=True))  # type: ignore[assignment]
    smooth = _smooth(block_mean(excess, factor), diameter_mm, step)
    contrast = np.minimum(
        _laplacian_contrast(smooth, diameter_mm, step),
        sphere_response(block_mean(normal - 1, factor), diameter_mm, step),
    )
    inside = block_mean(brain.astype(np.float32), factor) > 0.5
    noise = 1.4826 * float(np.median(np.abs(contrast[inside] - np.median(contrast[inside]))))
    least = max(settings.threshold, settings.noise_factor * noise)
    high = (contrast >= least) & inside
    peak = high & (ndimage.maximum_filter(contrast, size=3) == contrast)
    marks = []
    for index in np.argwhere(peak):
        if blobness(smooth, index, step) < settings.blobness:
            continue
        # The centre of a block of f voxels lies (f - 1) / 2 voxels beyond its first one.
        place = [f * i + (f - 1) / 2 for f, i in zip(factor, _refine(contrast, index), strict=True)]
        centre = (place[0] * spacing_zyx_mm[0], place[1] * spacing_zyx_mm[1], place[2] * spacing_zyx_mm[2])
        voxel = np.clip(np.rint(place).astype(np.intp), 0, np.asarray(excess.shape) - 1)
        marks.append((Detection(centre, diameter_mm, float(contrast[tuple(index)])), voxel))
    return marks


def sphere_response(volume: Volume, diameter_mm: float, spacing_zyx_mm: Spacing) -> Volume:
    """Contrast of the best sphere of one diameter at every voxel (normalised Laplacian of Gaussian)."""
    return _laplacian_contrast(_smooth(volume, diameter_mm, spacing_zyx_mm), diameter_mm, spacing_zyx_mm)


def _smooth(volume: Volume, diameter_mm: float, spacing_zyx_mm: Spacing) -> Volume:
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
    corner = [int(np.clip(i, 1, n - 2)) for i, n in zip(index, smooth.shape, strict=True)]
    near = smooth[tuple(slice(i - 1, i + 2) for i in corner)].astype(np.float64)
    hessian = np.empty((3, 3))
    for a in range(3):
        for b in range(a, 3):
            hessian[a, b] = hessian[b, a] = _second_difference(near, a, b) / (spacing_zyx_mm[a] * spacing_zyx_mm[b])
    curvature = -np.linalg.eigvalsh(hessian)
    return float(curvature.min() / curvature.max()) if curvature.max() > 0 else -1.0


def _second_difference(near: NDArray[np.float64], a: int, b: int) -> float:
    unit = np.eye(3, dtype=int)

    def at(offset: NDArray[np.int_]) -> float:
        return float(near[tuple(1 + offset)])

    if a == b:
        return at(unit[a]) - 2 * at(0 * unit[a]) + at(-unit[a])
    return (at(unit[a] + unit[b]) - at(unit[a] - unit[b]) - at(unit[b] - unit[a]) + at(-unit[a] - unit[b])) / 4


@dataclass(frozen=True)
class _Surroundings:
    """What lies around a mark: `wet` is CSF or outside the brain, `excluded` is where nothing is a lesion."""

    wet: Mask
    excluded: Mask
    excess: Volume
    spacing_zyx_mm: Spacing

    def is_lesion(self, voxel: NDArray[np.intp], mark: Detection, settings: ReaderSettings) -> bool:
        if self.excluded[tuple(voxel)]:
            return False
        if self._elongation(voxel, mark.diameter_mm) > settings.elongation:
            return False
        small = mark.diameter_mm <= settings.small_mm
        return not small or self._busy_shell(voxel, mark) <= settings.csf_shell

    def _window(self, voxel: NDArray[np.intp], reach_mm: float) -> tuple[tuple[slice, ...], tuple[int, ...]]:
        """A box around a voxel, cut at the volume's ends, and the voxel's place in it."""
        reach = [int(np.ceil(reach_mm / step)) for step in self.spacing_zyx_mm]
        window = tuple(slice(max(int(i) - r, 0), int(i) + r + 1) for i, r in zip(voxel, reach, strict=True))
        return window, tuple(int(i) - part.start for i, part in zip(voxel, window, strict=True))

    def _elongation(self, voxel: NDArray[np.intp], diameter_mm: float) -> float:
        """Length of what is connected above half height, over the diameter of the ball of its volume."""
        window, at = self._window(voxel, 3 * diameter_mm + 3)
        near = self.excess[window]
        centre = tuple(slice(max(i - 1, 0), i + 2) for i in at)
        labels, _ = ndimage.label(near > 0.5 * near[centre].max(), np.ones((3, 3, 3)))
        own = np.unique(labels[centre])
        places = np.argwhere(np.isin(labels, own[own > 0])) * np.asarray(self.spacing_zyx_mm)
        if not len(places):
            return 1.0
        length = 2 * float(np.linalg.norm(places - places.mean(axis=0), axis=1).max())
        volume = len(places) * float(np.prod(self.spacing_zyx_mm))
        return (length + min(self.spacing_zyx_mm)) / float(np.cbrt(6 * volume / np.pi))

    def _busy_shell(self, voxel: NDArray[np.intp], mark: Detection) -> float:
        """Part of the shell from just beyond the blob to one diameter + 1 mm that is wet or enhances itself."""
        outer = mark.diameter_mm + 1.0
        window, at = self._window(voxel, outer)
        busy = self.wet[window] | (self.excess[window] > 0.3 * mark.score)
        z, y, x = (
            ((np.arange(n) - i) * step) ** 2 for n, i, step in zip(busy.shape, at, self.spacing_zyx_mm, strict=True)
        )
        distance = np.sqrt(z[:, None, None] + y[None, :, None] + x[None, None, :])
        shell = (distance > 0.5 * mark.diameter_mm + 1.0) & (distance <= outer)
        return float(busy[shell].mean()) if shell.any() else 0.0


def _ventricles(csf: Mask, brain: Mask, spacing_zyx_mm: Spacing) -> Mask:
    """Deep CSF, closed over what floats in it; found at 2 mm."""
    factor = [max(1, round(2.0 / step)) for step in spacing_zyx_mm]
    step = [s * f for s, f in zip(spacing_zyx_mm, factor, strict=True)]
    depth = ndimage.distance_transform_edt(block_mean(brain.astype(np.float32), factor) > 0.5, sampling=step)
    deep = (block_mean(csf.astype(np.float32), factor) > 0.5) & (depth > 12)
    labels, _ = ndimage.label(deep)
    sizes = np.bincount(labels.ravel()) * float(np.prod(step))
    sizes[0] = 0
    large = (sizes >= 300)[labels]  # a lacune is smaller than the ventricles
    if not large.any():
        return np.zeros_like(csf)
    grown = ndimage.distance_transform_edt(~large, sampling=step) <= 6
    closed = ndimage.distance_transform_edt(grown, sampling=step) > 6
    for axis, f in enumerate(factor):
        closed = np.repeat(closed, f, axis=axis)
    return np.asarray(closed[tuple(slice(n) for n in csf.shape)])


def _box(brain: Mask) -> tuple[slice, slice, slice]:
    found = ndimage.find_objects(brain.astype(np.uint8))[0]
    return found[0], found[1], found[2]


def _moved(mark: Detection, offset_mm: list[float]) -> Detection:
    z, y, x = (c + o for c, o in zip(mark.centre_mm, offset_mm, strict=True))
    return Detection((z, y, x), mark.diameter_mm, mark.score)


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
