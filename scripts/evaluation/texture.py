"""Noise, glow and edges: what a gain of contrast must not be bought with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special
from scipy.optimize import curve_fit

from enhancement.arrays import Mask, Volume
from evaluation.regions import Spacing, masked_smooth

_FWHM_TO_SIGMA = 1 / 2.3548


def white_matter_noise(image: Volume, white: Mask, *, edge: int = 5) -> float:
    """Median SD of 5^3-voxel cubes that lie wholly in white matter, over the mean of white matter.

    Parameters
    ----------
    image : (z, y, x), intensities
    white : (z, y, x)
    edge : int
        Cube's edge in voxels; where no cube of 5 fits, the largest odd one that does is taken.

    Returns
    -------
    Coefficient of variation, dimensionless; NaN where not even a cube of 3 fits.

    Examples
    --------
    >>> generator = np.random.default_rng(0)
    >>> image = (100 + 5 * generator.standard_normal((30, 30, 30))).astype(np.float32)
    >>> bool(abs(white_matter_noise(image, np.ones_like(image, dtype=bool)) - 0.05) < 0.001)
    True
    """
    values = image.astype(np.float64)
    for size in range(edge, 1, -2):
        whole = ndimage.binary_erosion(white, np.ones((size, size, size)))
        if not whole.any():
            continue
        offset = float(values[white].mean())  # variance of small differences: no cancellation
        centred = values - offset
        mean = ndimage.uniform_filter(centred, size)
        variance = ndimage.uniform_filter(centred**2, size) - mean**2
        unbiased = np.maximum(variance, 0) * size**3 / (size**3 - 1)
        return float(np.median(np.sqrt(unbiased[whole])) / offset)
    return float("nan")


@dataclass(frozen=True)
class Glow:
    """How far the ratio of two images strays in calm tissue, after smoothing.

    Parameters
    ----------
    percentile_99 : float
        99th percentile of |smoothed ratio / its median - 1|; Gaussian of 3 mm full width at half maximum.
    percentile_99_wide : float
        The same with a Gaussian of 3 mm standard deviation.
    above_10_percent : float
        Fraction of calm tissue where the smoothed ratio exceeds its median by more than 10 %.
    """

    percentile_99: float
    percentile_99_wide: float
    above_10_percent: float


def glow(enhanced: Volume, t1c: Volume, tissue: Mask, spacing_zyx_mm: Spacing) -> Glow:
    """Measure false brightening where nothing enhances.

    The ratio is smoothed within the mask only, so nothing leaks in from lesions, vessels or from outside.

    Raises
    ------
    ValueError
        If no calm voxel has a positive T1c.
    """
    valid = tissue & (t1c > 0.05 * float(np.median(t1c[tissue]))) if tissue.any() else tissue
    if not valid.any():
        raise ValueError("no calm tissue to look for glow in")
    ratio = np.where(valid, enhanced / np.where(valid, t1c, 1), 0).astype(np.float32)
    narrow = _deviation(ratio, valid, 3.0 * _FWHM_TO_SIGMA, spacing_zyx_mm)
    wide = _deviation(ratio, valid, 3.0, spacing_zyx_mm)
    return Glow(
        percentile_99=float(np.percentile(np.abs(narrow), 99)),
        percentile_99_wide=float(np.percentile(np.abs(wide), 99)),
        above_10_percent=float(np.mean(narrow > 0.10)),
    )


def _deviation(ratio: Volume, mask: Mask, sigma_mm: float, spacing_zyx_mm: Spacing) -> NDArray[np.float32]:
    smooth = masked_smooth(ratio, mask, [sigma_mm / step for step in spacing_zyx_mm])[mask]
    return np.asarray(smooth / np.median(smooth) - 1)


@dataclass(frozen=True)
class Edge:
    """The mean edge between grey and white matter.

    Parameters
    ----------
    width_mm : float
        Standard deviation of the Gaussian whose integral fits the mean profile best.
    height : float
        Step of the fitted profile, in units of the image.
    slope : float
        Steepest slope, height / (width sqrt(2 pi)), in units of the image per mm.
    """

    width_mm: float
    height: float
    slope: float


def edge(image: Volume, guide: Volume, tissue: Mask, spacing_zyx_mm: Spacing, *, profiles: int = 4000) -> Edge:
    """Mean profile across the sharpest edges of a guide, fitted with an error function.

    Places and directions come from the guide (the T1), never from the images compared, whose own noise would
    choose edges that look sharp in them.

    Parameters
    ----------
    image, guide : (z, y, x)
        On one grid.
    tissue : (z, y, x)
        Calm tissue; only edges within it count.
    profiles : int
        How many of the steepest places to average.

    Raises
    ------
    ValueError
        If there are fewer than 20 places, or the profile fits no edge.
    """
    points, normals = _edge_points(guide, tissue, spacing_zyx_mm, profiles)
    if len(points) < 20:
        raise ValueError(f"only {len(points)} edge points in the tissue mask, need 20")
    distance = np.arange(-4, 4.01, 0.25)
    step = np.asarray(spacing_zyx_mm)
    places = points[:, None, :] + distance[None, :, None] * normals[:, None, :] / step
    values = ndimage.map_coordinates(image, places.reshape(-1, 3).T, order=1, mode="nearest")
    profile = values.reshape(len(points), -1).mean(axis=0).astype(np.float64)
    return _fit_edge(distance, profile)


def _edge_points(
    guide: Volume, tissue: Mask, spacing_zyx_mm: Spacing, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sigma = [1.0 / step for step in spacing_zyx_mm]
    smooth = ndimage.gaussian_filter(guide, sigma)
    gradient = np.stack(np.gradient(smooth, *spacing_zyx_mm))
    length = np.sqrt((gradient**2).sum(axis=0))
    inner = ndimage.binary_erosion(tissue, iterations=2)
    candidates = np.where(inner, length, 0)
    order = np.argsort(candidates, axis=None)[::-1][:count]
    index = np.stack(np.unravel_index(order, length.shape), axis=1)
    index = index[candidates[tuple(index.T)] > 0]
    normals = gradient[:, index[:, 0], index[:, 1], index[:, 2]].T
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True) if len(index) else normals
    return _on_the_edge(index.astype(np.float64), normals, length, spacing_zyx_mm), normals


def _on_the_edge(
    points: NDArray[np.float64], normals: NDArray[np.float64], steepness: Volume, spacing_zyx_mm: Spacing
) -> NDArray[np.float64]:
    """Move points along their normals to the steepest place: voxel centres lie up to a voxel beside the edge."""
    if not len(points):
        return points
    along = np.arange(-1.5, 1.51, 0.25)
    unit = normals / np.asarray(spacing_zyx_mm)
    places = points[:, None, :] + along[None, :, None] * unit[:, None, :]
    values = ndimage.map_coordinates(steepness, places.reshape(-1, 3).T, order=1, mode="nearest")
    weight = np.maximum(values.reshape(len(points), -1), 1e-12) ** 4  # the centroid of the peak: steadier than its top
    shift = (weight * along).sum(axis=1) / weight.sum(axis=1)
    return np.asarray(points + shift[:, None] * unit)


def _fit_edge(distance: NDArray[np.float64], profile: NDArray[np.float64]) -> Edge:
    def step(x: NDArray[np.float64], low: float, height: float, centre: float, width: float) -> NDArray[np.float64]:
        return np.asarray(low + height * 0.5 * (1 + special.erf((x - centre) / (np.sqrt(2) * width))))

    # Beyond +- 2.5 mm the next gyrus or sulcus begins; fit the edge itself.
    near = np.abs(distance) <= 2.5
    start = [float(profile[near].min()), float(np.ptp(profile[near])), 0.0, 1.0]
    try:
        found, _ = curve_fit(
            step, distance[near], profile[near], p0=start, bounds=([-np.inf, 0, -2, 0.05], [np.inf, np.inf, 2, 6])
        )
    except RuntimeError as error:
        raise ValueError(f"no edge fits the mean profile: {error}") from None
    _, height, _, width = (float(value) for value in found)
    return Edge(width_mm=width, height=height, slope=height / (width * np.sqrt(2 * np.pi)))
