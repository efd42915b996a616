"""Scaled subtraction: the T1c plus some times what it measures beyond its tissue, calm tissue smoothed.

It has no network, and every model has to beat it. It is shown in the place of a model whose weights can't be used.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from enhancement.imaging.measured_enhancement import Measured, smoothed_within

_NOISE_SDS = 2.0
_SMOOTH_MM = 0.7
_SMOOTH_SHARE = 0.5
#: Calm tissue lies farther than this from whatever stands out.
_MARGIN_VOXELS = 2


def scaled_subtraction(t1c: Volume, brain: Mask, measured: Measured, k: float) -> Volume:
    """T1c + (k - 1) max(E - 2 noise, 0), with E the measured enhancement; calm tissue half smoothed.

    Parameters
    ----------
    t1c : (z, y, x)
        Bias field removed, voxels of 1 mm.
    brain : (z, y, x)
        Outside it the T1c is returned as it is.
    measured : Measured
        In the units of the T1c.
    k : float
        Multiple of the dose that was given, 1 and more.

    Returns
    -------
    (z, y, x), float32
    """
    added = (k - 1) * np.maximum(measured.excess_zyx - _NOISE_SDS * measured.noise, 0)
    calm = brain & ~ndimage.binary_dilation(added > 0, iterations=_MARGIN_VOXELS)
    smooth = smoothed_within(t1c, brain, _SMOOTH_MM)
    anatomy = np.where(calm, t1c + _SMOOTH_SHARE * (smooth - t1c), t1c)
    return np.asarray(np.where(brain, anatomy + added, t1c), dtype=np.float32)
