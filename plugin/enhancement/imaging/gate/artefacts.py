"""What spoils a series that is the right one and lies in the right place: noise, ghosts, clipping.

Everything is measured on the network's grid of 1 mm.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, ndimage

from enhancement.arrays import Mask, Volume

_STEP = 2
_SHORTEST_MM, _LONGEST_MM = 14, 80  # of a ghost's shift; nearer than this the folds of the cortex look alike
_BROAD_MM = 4.0
_PLATEAU = 0.005  # how near to the largest value a voxel counts as clipped, relative
_NEAR = 2


def noise_level(array_zyx: Volume, brain: Mask) -> float:
    """Noise in brain means, from differences that cancel anatomy (Immerkaer's Laplacian difference, robust).

    Source: Immerkaer 1996, Comput Vis Image Underst 64(2):300.
    """
    kernel = np.array([1.0, -2.0, 1.0])
    response = array_zyx[::2]  # the kernel lies within a slice; half of the slices are enough
    for axis in (1, 2):
        response = ndimage.correlate1d(response, kernel, axis=axis)
    inside = ndimage.binary_erosion(brain, iterations=3)[::2]
    if not inside.any():
        return float("nan")
    sigma = 1.4826 * float(np.median(np.abs(response[inside]))) / 6.0
    return sigma / max(float(array_zyx[brain].mean()), 1e-12)


def ghosting(array_zyx: Volume, brain: Mask) -> float:
    """Strength of the strongest ghost in the brain: how much of the picture comes again some way off.

    The fine structure inside the brain is compared with that of the whole picture at every shift of 14 to 80 mm. A
    ghost is a narrow peak, its height 0.7 to 1 of its strength; folds that run alike over centimetres are broad, and
    are taken off. Without a ghost it stays under 0.09 (simulated and real studies).

    Parameters
    ----------
    array_zyx : (z, y, x), mm
        One series.
    brain : (z, y, x)
    """
    if not brain.any():
        return 0.0
    inside, structure = _fine_structure(array_zyx, brain)
    size = [fft.next_fast_len(count + _LONGEST_MM // _STEP, real=True) for count in structure.shape]
    within = np.where(inside, structure, np.float32(0.0))
    spectrum = np.conj(fft.rfftn(within, size)) * fft.rfftn(structure, size)
    share = fft.irfftn(spectrum, size) / max(float((within**2).sum()), 1e-12)
    narrow = share - ndimage.gaussian_filter(share, _BROAD_MM / _STEP, mode="wrap")
    squares = [np.square(fft.fftfreq(count, 1.0 / count) * _STEP) for count in size]
    distance = np.sqrt(squares[0][:, np.newaxis, np.newaxis] + squares[1][:, np.newaxis] + squares[2])
    return max(0.0, float(narrow[(distance >= _SHORTEST_MM) & (distance <= _LONGEST_MM)].max()))


def _fine_structure(array_zyx: Volume, brain: Mask) -> tuple[Mask, Volume]:
    """The brain and what is finer than some 5 mm, every second voxel, in robust SDs and cut at 4 of them."""
    small = ndimage.gaussian_filter(array_zyx, 0.8)[::_STEP, ::_STEP, ::_STEP]
    inside = brain[::_STEP, ::_STEP, ::_STEP]
    box = ndimage.find_objects(inside.astype(np.uint8))
    if box:
        small, inside = small[box[0]], inside[box[0]]
    fine = small - ndimage.gaussian_filter(small, 1.5)
    sd = 1.4826 * float(np.median(np.abs(fine[inside]))) if inside.any() else 0.0
    return inside, np.asarray(np.clip(fine / max(sd, 1e-12), -4, 4), dtype=np.float32)


def clipped_share(array_zyx: Volume, brain: Mask) -> float:
    """Share of the brain and its rim that has the largest value there is: bright tissue that was cut off.

    Of a series that was not clipped only a few voxels come within half a percent of the 99.99th percentile.
    """
    near = ndimage.binary_dilation(brain, iterations=_NEAR)
    values = array_zyx[near]
    if values.size == 0:
        return 0.0
    top = float(np.percentile(values, 99.99))
    return float(np.mean(np.abs(values - top) <= _PLATEAU * abs(top))) if top > 0 else 0.0
