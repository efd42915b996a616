"""What a network has to beat: the T1c, the smoothed T1c, and the signal equation inverted voxel by voxel."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from enhancement.imaging.measured_enhancement import measured_enhancement
from enhancement.imaging.scaled_subtraction import scaled_subtraction
from evaluation.dose import Spgr
from evaluation.regions import Spacing, masked_smooth

#: Assumed where it is not known voxel by voxel; the result depends on it little.
TISSUE_T1_S = 1.3


def smoothed(t1c: Volume, brain: Mask, spacing_zyx_mm: Spacing, *, fwhm_mm: float = 2.5) -> Volume:
    """T1c smoothed within the brain: less noise, no enhancement.

    Parameters
    ----------
    t1c : (z, y, x), intensities
    fwhm_mm : float
        Full width at half maximum of the Gaussian.
    """
    sigma = [fwhm_mm / 2.3548 / step for step in spacing_zyx_mm]
    return np.where(brain, masked_smooth(t1c, brain, sigma), t1c).astype(np.float32)


def closed_form(
    t1: Volume,
    t1c: Volume,
    brain: Mask,
    *,
    dose_factor: float = 4.0,
    protocol: Spgr | None = None,
    denoise_fwhm_mm: float = 1.5,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
    tissue_t1_s: float = TISSUE_T1_S,
) -> Volume:
    """The spoiled-gradient-echo equation inverted to dR1, denoised, times k, and forward again.

    Parameters
    ----------
    t1, t1c : (z, y, x), intensities
        On one grid; the gain between them is the median of their ratio in bins of T1, so that a difference of
        protocol is not taken for enhancement.
    brain : (z, y, x)
        Outside, the T1c is returned as it is.
    dose_factor : float
        k.
    protocol : Spgr, optional
    denoise_fwhm_mm : float
        Gaussian on dR1; 0 switches it off.
    tissue_t1_s : float
        T1 before contrast of every voxel.

    Returns
    -------
    (z, y, x), intensities of the T1c
    """
    protocol = protocol or Spgr()
    before = _matched(t1, t1c, brain)
    valid = brain & (before > 0)
    ratio = np.where(valid, t1c / np.where(valid, before, 1), 1).astype(np.float64)
    # A signal that no relaxation rate explains (noise, vessels at saturation) is held just below saturation.
    ceiling = 0.98 * float(np.sin(np.deg2rad(protocol.flip_angle_deg)) / protocol.signal(tissue_t1_s))
    rise = np.maximum(protocol.delta_r1(np.clip(ratio, 1e-3, ceiling), tissue_t1_s), 0.0)
    if denoise_fwhm_mm > 0:
        sigma = [denoise_fwhm_mm / 2.3548 / step for step in spacing_zyx_mm]
        rise = ndimage.gaussian_filter(np.where(brain, rise, 0), sigma)
    more = protocol.signal(1.0 / (1.0 / tissue_t1_s + dose_factor * rise))
    plain = protocol.signal(1.0 / (1.0 / tissue_t1_s + rise))
    return np.where(valid, t1c * more / plain, t1c).astype(np.float32)


def subtraction(t1: Volume, t1c: Volume, brain: Mask, *, dose_factor: float = 4.0) -> Volume:
    """Scaled subtraction, the plugin's own (`imaging.scaled_subtraction`).

    Parameters
    ----------
    t1, t1c : (z, y, x), intensities
        On one grid of about 1 mm.
    brain : (z, y, x)
        Outside, the T1c is returned as it is.
    dose_factor : float
        k.

    Returns
    -------
    (z, y, x), intensities of the T1c
    """
    return scaled_subtraction(t1c, brain, measured_enhancement(t1, t1c, brain), dose_factor)


def _matched(t1: Volume, t1c: Volume, brain: Mask) -> Volume:
    """T1 in the units of T1c, by the median ratio in 32 quantile bins of the T1."""
    inside = t1[brain].astype(np.float64)
    ratio = t1c[brain] / np.maximum(inside, 1e-6)
    edges = np.quantile(inside, np.linspace(0, 1, 33))
    bins = np.clip(np.searchsorted(edges, inside, side="right") - 1, 0, 31)
    occupied = [b for b in range(32) if (bins == b).any()]
    centres = [float(np.median(inside[bins == b])) for b in occupied]
    gains = ndimage.gaussian_filter1d([float(np.median(ratio[bins == b])) for b in occupied], 1.0)
    return np.asarray(t1 * np.interp(t1, centres, gains), dtype=np.float32)
