"""Whether an ADC map can be that of a brain.

A wrong partner, a lost scale or a wrong b-value gives a map that looks like one. The middle of the head is asked, where
fat, eyes and air are not. Measured there on scans of Siemens (E11, XA30), Canon, UIH and Philips (R2.5, R5.3), b from
930
to 2500 s/mm^2: medians of 0.65 to 0.84e-3 mm^2/s, not one voxel without a fit, and 0.4 % between the computed map and
the scanner's.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from enhancement.arrays import Mask, Volume

# Large ventricles lift the median; b = 3000 lowers it. A newborn's brain has 1.1 to 1.5e-3, which is also what a wrong
# scale gives: its map is dropped, and the reason says so.
BRAIN_MEDIAN_MM2_S = (0.58e-3, 1.15e-3)
_NEWBORN = 1.6e-3
MOST_WITHOUT_A_FIT = 0.05
_FEWEST_VOXELS = 50


def implausible(adc: sitk.Image, head_zyx: Mask) -> str:
    """Why a map cannot be the ADC of a brain; "" where it can.

    Parameters
    ----------
    adc : sitk.Image, mm^2/s
    head_zyx : (z, y, x)
        Where there is tissue, on the map's grid.
    """
    values = np.asarray(sitk.GetArrayViewFromImage(adc)[middle_of(head_zyx)])
    if values.size < _FEWEST_VOXELS:
        return ""  # too little of a head to judge by
    failed = float(np.mean(values <= 0))
    if failed > MOST_WITHOUT_A_FIT:
        return f"the signal does not fall with b in {failed:.0%} of the brain"
    median = float(np.median(values))
    if not BRAIN_MEDIAN_MM2_S[0] <= median <= BRAIN_MEDIAN_MM2_S[1]:
        low, high = BRAIN_MEDIAN_MM2_S
        what = f"its median, {median:.2e} mm^2/s, is not that of a grown brain ({low:.2e} to {high:.2e})"
        return f"{what}; a newborn's can be, and is not told from a wrong scale" if high < median < _NEWBORN else what
    return ""


def middle_of(head_zyx: Mask) -> Mask:
    """The tissue in the middle half of the box around the head, where the brain is."""
    inside = np.zeros_like(head_zyx)
    places = np.nonzero(head_zyx)
    if not places[0].size:
        return inside
    box = []
    for axis in places:
        low, high = int(axis.min()), int(axis.max()) + 1
        quarter = (high - low) // 4
        box.append(slice(low + quarter, max(high - quarter, low + quarter + 1)))
    inside[tuple(box)] = head_zyx[tuple(box)]
    return inside


def disagreement(first: Volume, second: Volume) -> float:
    """Median over the voxels of the relative difference of two maps, where both have a value."""
    both = (first > 0) & (second > 0)
    if not both.any():
        return 0.0
    return float(np.median(np.abs(first[both] - second[both]) / second[both]))
