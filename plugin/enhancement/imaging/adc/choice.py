"""Which ADC map is taken where a study has both: the one computed here, or the scanner's.

The computed one is what a study is processed with by default: its b-values, its directions and its unit are known, and
motion between b = 0 and the weighted images has been taken out. The scanner's map is taken where it is better: it was
made on the scanner from all that was measured, which the archive may hold only in part. Criteria, in this order:

1. a computed map that cannot be the ADC of a brain loses (`plausibility.py`);
2. a scanner's map of another acquisition loses;
3. the map that covers at least 10 mm more of the head wins;
4. where the patient moved between the b-values the computed map wins, which was corrected for it, unless it differs
from
   the scanner's by more than 20 %: what looks like motion may be distortion of the other phase-encoding direction;
5. a mean of directions that point unevenly, or that are unknown, is not the trace: the scanner's map wins;
6. b = 0 and b > 0 in two series may be scaled apart: where the medians then differ by more than 10 % the scanner's map
   wins;
7. where the weighted signal is lost in the noise, or the fit fails in 10 % more of the head, the scanner's map wins;
8. where the median voxel differs by more than 10 % a plausible map of the scanner wins;
9. else the computed map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from enhancement.arrays import Mask, Volume
from enhancement.imaging.adc.plausibility import disagreement, implausible

_DIFFERENT = 0.10
_DIFFERENT_AFTER_MOTION = 0.20
_SAME_MEDIAN = 0.10
_MORE_COVERAGE_MM = 10.0
_UNEVEN = 0.25
_LEAST_SIGNAL_TO_NOISE = 3.0
_MORE_FAILED = 0.10
_HEAD = 0.2  # of the brightest signal at b = 0


@dataclass(frozen=True, eq=False)
class ComputedMap:
    """An ADC map fitted here, and from what.

    Attributes
    ----------
    adc, b0, weighted : sitk.Image
        The map in mm^2/s, and the images of the lowest and the highest b-value, on one grid.
    unevenness : float
        Of the directions whose mean was taken, 0 for a trace image; see `diffusion.unevenness_of`.
    apart : bool
        Whether b = 0 and b > 0 come from two series.
    moved : bool
        Whether motion between the b-values was corrected.
    noise_sigma : float
        In the images' numbers; 0 where it is not known.
    """

    adc: sitk.Image
    b0: sitk.Image
    weighted: sitk.Image
    unevenness: float
    apart: bool
    moved: bool
    noise_sigma: float


@dataclass(frozen=True)
class AdcChoice:
    """Whether the scanner's map is taken, and why."""

    takes_scanners: bool
    why: str


def choose_adc(computed: ComputedMap, scanners: sitk.Image, *, same_acquisition: bool) -> AdcChoice:
    """Choose by the criteria of this module.

    Parameters
    ----------
    computed : ComputedMap
    scanners : sitk.Image
        In mm^2/s, in the same frame of reference.
    same_acquisition : bool
        Whether the scanner made it from the images that were fitted here.
    """
    head = head_of(computed.b0)
    own, other = _values(computed.adc, head), _values(_onto(scanners, computed.adc), head)
    median, other_median = _median(own), _median(other)
    if why := implausible(computed.adc, head):
        return AdcChoice(True, f"of the computed one, {why}")
    if not same_acquisition:
        return AdcChoice(False, "the scanner's map is of another acquisition")
    further = coverage_mm(scanners) - coverage_mm(computed.adc)
    if abs(further) >= _MORE_COVERAGE_MM:
        return AdcChoice(further > 0, f"it covers {abs(further):.0f} mm more")
    difference = abs(other_median - median) / median if median else 1.0
    wrong = _told_by_scanners(own, other, scanners, _DIFFERENT_AFTER_MOTION if computed.moved else _DIFFERENT)
    if computed.moved and wrong:
        return AdcChoice(True, wrong)
    if computed.moved:
        return AdcChoice(False, "the patient moved between the b-values, which is corrected in it")
    choice = _by_quality(computed, own, other, head, difference)
    return AdcChoice(True, wrong) if wrong and not choice.takes_scanners else choice


def _told_by_scanners(own: Volume, other: Volume, scanners: sitk.Image, tolerance: float) -> str:
    """How far a plausible map of the scanner is from the computed one, where that is too far; "" elsewhere."""
    apart = disagreement(own, other)
    if apart <= tolerance or implausible(scanners, head_of(scanners)):
        return ""
    return f"the computed one differs from it by {apart:.0%}, so one of them is wrong"


def _by_quality(
    computed: ComputedMap,
    own: Volume,
    other: Volume,
    head: Mask,
    difference: float,
) -> AdcChoice:
    if computed.unevenness > _UNEVEN:
        return AdcChoice(True, "only directions were sent, and their mean is not the trace")
    if computed.apart and difference > _SAME_MEDIAN:
        return AdcChoice(True, f"b = 0 and b > 0 are two series, and the medians differ by {difference:.0%}")
    signal = _median(_values(computed.weighted, head))
    if computed.noise_sigma > 0 and signal < _LEAST_SIGNAL_TO_NOISE * computed.noise_sigma:
        ratio = signal / computed.noise_sigma
        return AdcChoice(True, f"the weighted signal is only {ratio:.1f} times the noise")
    failed = float(np.mean(own <= 0)) - float(np.mean(other <= 0))
    if failed > _MORE_FAILED:
        return AdcChoice(True, f"the fit failed in {failed:.0%} more of the head")
    return AdcChoice(False, f"its median and the scanner's differ by {difference:.0%}")


def head_of(b0: sitk.Image) -> Mask:
    """Where the b = 0 image has tissue, (z, y, x)."""
    array = sitk.GetArrayViewFromImage(b0)
    return np.asarray(array > _HEAD * float(np.percentile(array, 99)))


def coverage_mm(image: sitk.Image) -> float:
    """Extent across the slices."""
    return float(image.GetSize()[2] * image.GetSpacing()[2])


def _onto(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    return sitk.Resample(image, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, sitk.sitkFloat32)


def _values(image: sitk.Image, head: Mask) -> Volume:
    return np.asarray(sitk.GetArrayViewFromImage(image)[head], dtype=np.float32)


def _median(values: Volume) -> float:
    positive = values[values > 0]
    return float(np.median(positive)) if positive.size else 0.0
