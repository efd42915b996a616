"""What a rigid registration leaves between two series of one anatomy: small, smooth displacements.

A head that moved within a scan, gradients that are not linear and two sequences that distort differently leave a
millimetre or two. At a border of grey and white matter that looks like enhancement. The displacement is found from the
difference of the two series and the slope of the tissue (Lucas and Kanade 1981), over a window much wider than what
enhances, so that a lesion does not pull its surroundings along.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask, Volume

#: Values of one series to what the other shows of the same tissue.
Expect = Callable[[NDArray[np.float64]], NDArray[np.float64]]

MOST_MM = 3.0
_ROUNDS = 3
_WINDOW_MM = 12.0
_COARSE = 4  # the displacement is smooth: a node every 4 mm
_EDGE_MM = 2.0  # nearer to the mask's edge a slope is the mask's
_CLIP = 0.3  # of the brain's median: what enhances shall not pull
_SMOOTH_MM = 0.7
_STIFF = 0.1  # of the mean slope: where there is none, nothing is displaced


def aligned(moving: Volume, fixed: Volume, brain: Mask, expect: Expect) -> Volume:
    """Move a series by the smooth displacement, at most `MOST_MM` an axis, that brings it onto another.

    Parameters
    ----------
    moving, fixed : (z, y, x)
        On one grid of 1 mm.
    brain : (z, y, x)
        Where they are compared; some voxels at least.
    expect : callable
        What `fixed` should show where `moving` has these values, in the units of `fixed`.

    Returns
    -------
    (z, y, x), float32
        `moving`, displaced in the brain and the same outside it.
    """
    window = _window(brain)
    inside = brain[window]
    level = max(float(np.median(fixed[brain])), 1e-6)
    wanted = (fixed[window] / level).astype(np.float32)
    deep = (ndimage.distance_transform_edt(inside) > _EDGE_MM).astype(np.float32)
    moved = moving[window].astype(np.float32)
    spline = ndimage.spline_filter(moved, order=3, output=np.float32, mode="mirror")
    places = np.argwhere(inside).T.astype(np.float32)
    nodes = np.zeros((3, *(-(-n // _COARSE) for n in inside.shape)), dtype=np.float32)
    for _ in range(_ROUNDS):
        seen = wanted.copy()
        seen[inside] = expect(moved[inside].astype(np.float64)) / level
        nodes = np.clip(nodes + _step(seen, wanted, deep), -MOST_MM, MOST_MM)
        at = places + np.stack([_between(axis, places) for axis in nodes])
        moved[inside] = ndimage.map_coordinates(spline, at, order=3, prefilter=False, mode="mirror")
    whole = moving.astype(np.float32)
    whole[window] = moved
    return whole


def _step(seen: Volume, wanted: Volume, weight: Volume) -> Volume:
    """The displacement at the nodes, (3, z, y, x), that explains most of the difference, to first order."""
    error = weight * np.clip(wanted - seen, -_CLIP, _CLIP)
    slopes = np.gradient(ndimage.gaussian_filter(seen, _SMOOTH_MM))
    normal = {(i, j): _averaged(weight * slopes[i] * slopes[j]) for i in range(3) for j in range(i + 1)}
    right = np.stack([_averaged(slope * error) for slope in slopes], axis=-1)
    matrix = np.stack([np.stack([normal[max(i, j), min(i, j)] for j in range(3)], -1) for i in range(3)], -2)
    mean = sum(float(normal[i, i].mean()) for i in range(3)) / (3 * max(float(weight.mean()), 1e-6))
    stiff = np.float32(max(_STIFF * mean, 1e-9)) * np.eye(3, dtype=np.float32)
    return np.moveaxis(np.linalg.solve(matrix + stiff, right[..., None])[..., 0], -1, 0)


def _averaged(volume: Volume) -> Volume:
    """Over the window, at the nodes."""
    padded = np.pad(volume, [(0, -n % _COARSE) for n in volume.shape])
    z, y, x = (n // _COARSE for n in padded.shape)
    blocks = padded.reshape(z, _COARSE, y, _COARSE, x, _COARSE).mean((1, 3, 5))
    return np.asarray(ndimage.gaussian_filter(blocks, _WINDOW_MM / _COARSE, mode="constant"), dtype=np.float32)


def _between(nodes: Volume, places: Volume) -> Volume:
    """Linearly, at voxels (3, n)."""
    at = (places - np.float32((_COARSE - 1) / 2)) / np.float32(_COARSE)
    return np.asarray(ndimage.map_coordinates(nodes, at, order=1, mode="nearest"), dtype=np.float32)


def _window(brain: Mask) -> tuple[slice, ...]:
    found = ndimage.find_objects(brain.astype(np.uint8))[0]
    return tuple(slice(max(part.start - _COARSE, 0), part.stop + _COARSE) for part in found)
