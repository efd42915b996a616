"""Contrast of enhancing tissue against brain, by the formulae of Bône et al. 2022.

All three take intensities of the image itself, never z-scores or other values with an offset: LBR and CEP
depend on where zero lies. The paper's brain region was drawn by hand; here it is `Regions.roi`, or all of
`Regions.white`, whose SD holds the bias field as well. Which of the two was used stands in every table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from enhancement.arrays import Mask, Volume


@dataclass(frozen=True)
class Contrast:
    """Contrast of one case, lesions pooled.

    Parameters
    ----------
    cnr : float
        (mean lesion - mean brain) / SD of the brain region.
    lbr : float
        Mean lesion / mean brain.
    cep : float
        100 (mean lesion - mean lesion before contrast) / mean lesion before contrast, percent; NaN without
        an image before contrast.
    brain_snr : float
        Mean / SD of the brain region: the factor by which (LBR - 1) becomes CNR.
    """

    cnr: float
    lbr: float
    cep: float
    brain_snr: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def contrast(image: Volume, lesion: Mask, brain: Mask, *, before: Volume | None = None) -> Contrast:
    """CNR, LBR and CEP of one image.

    Parameters
    ----------
    image : (z, y, x), intensities
        T1c, T1c-pro or a baseline.
    lesion, brain : (z, y, x)
        All enhancing lesion voxels of the case, and the brain region.
    before : (z, y, x), intensities in the units of `image`, optional
        Image before contrast; see `common_gain` for bringing it to the units of `image`.

    Returns
    -------
    Contrast

    Raises
    ------
    ValueError
        If a region is empty, or the brain's mean or SD is not positive.

    Examples
    --------
    >>> image = np.array([[[90.0, 110.0, 200.0]]], dtype=np.float32)
    >>> lesion = np.array([[[False, False, True]]])
    >>> found = contrast(image, lesion, ~lesion, before=image / 2)
    >>> found.cnr, found.lbr, found.cep
    (10.0, 2.0, 100.0)
    """
    if not lesion.any() or not brain.any():
        raise ValueError("contrast needs at least one voxel of lesion and of brain")
    values = image[brain].astype(np.float64)
    mean, sd = float(values.mean()), float(values.std())
    if mean <= 0 or sd <= 0:
        raise ValueError(f"the brain region needs a positive mean and SD, found {mean} and {sd}")
    inside = float(image[lesion].astype(np.float64).mean())
    cep = float("nan")
    if before is not None:
        reference = float(before[lesion].astype(np.float64).mean())
        cep = 100.0 * (inside - reference) / reference if reference > 0 else float("nan")
    return Contrast(cnr=(inside - mean) / sd, lbr=inside / mean, cep=cep, brain_snr=mean / sd)


@dataclass(frozen=True)
class Gain:
    """How one image's CNR came to differ from another's.

    Parameters
    ----------
    cnr : float
        Ratio of the CNRs; equals `contrast` x `noise`.
    contrast : float
        Ratio of (LBR - 1): more contrast against brain.
    noise : float
        Ratio of brain mean / SD: less noise, which smoothing gives as well.
    """

    cnr: float
    contrast: float
    noise: float


def gain(after: Contrast, before: Contrast) -> Gain:
    """Split a gain of CNR into contrast and noise.

    A plain smoother raises CNR; only the contrast part is enhancement.

    Examples
    --------
    >>> split = gain(Contrast(44.5, 1.66, 112.4, 67.4), Contrast(9.1, 1.31, 85.6, 29.35))
    >>> round(split.contrast, 2), round(split.noise, 2)
    (2.13, 2.3)
    """
    return Gain(
        cnr=_ratio(after.cnr, before.cnr),
        contrast=_ratio(after.lbr - 1.0, before.lbr - 1.0),
        noise=_ratio(after.brain_snr, before.brain_snr),
    )


def common_gain(before: Volume, after: Volume, region: Mask) -> float:
    """Factor that brings an image before contrast to the receiver gain of one after contrast.

    The median of the voxel-wise ratio in tissue that does not enhance: two series of one study differ in
    gain, and CEP needs both in one unit.

    Raises
    ------
    ValueError
        If no voxel of `region` is positive in both.
    """
    inside = region & (before > 0) & (after > 0)
    if not inside.any():
        raise ValueError("no voxel to compare the gain of the two images in")
    return float(np.median(after[inside].astype(np.float64) / before[inside].astype(np.float64)))


def _ratio(a: float, b: float) -> float:
    return a / b if b != 0 else float("nan")
