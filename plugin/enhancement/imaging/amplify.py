"""The image that is shown: denoised anatomy, plus probability of disease times the enhancement at k times the dose.

Choosing and adding are told apart. The networks say where disease is and how much the agent added. What may be added
is held to what the two acquired series themselves measured, so nothing is added where nothing was measured, whatever
the networks say. What the networks take for noise is held to the size of noise, and is given back where a lesion would
lose by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from enhancement.imaging.measured_enhancement import Measured, smoothed_within


@dataclass(frozen=True)
class Answers:
    """What the networks say of each voxel, in the units of the T1c.

    Attributes
    ----------
    probability : (z, y, x), in [0, 1]
        That it is enhancing disease.
    noise : (z, y, x)
        What noise added to the T1c.
    enhancement : (z, y, x)
        What the agent added beyond calm tissue, 0 and more.
    """

    probability: Volume
    noise: Volume
    enhancement: Volume


@dataclass(frozen=True)
class AmplifySettings:
    """How the answers become an image.

    Attributes
    ----------
    noise_sds : float
        Standard deviations of the measured enhancement's noise that are taken off it where disease is improbable;
        none where the probability is one half and more.
    headroom : float
        Times the measured enhancement that the networks' own may reach: the measurement blurs small lesions.
    denoise_sds : float
        Standard deviations of a voxel's noise that may be taken for noise.
    """

    noise_sds: float = 2.0
    headroom: float = 2.0
    denoise_sds: float = 3.0


def amplify(
    t1c: Volume,
    brain: Mask,
    answers: Answers,
    measured: Measured,
    k: float,
    settings: AmplifySettings | None = None,
) -> Volume:
    """Show the T1c with less noise, and disease as k times the dose would show it.

    Parameters
    ----------
    t1c : (z, y, x)
        Bias field removed.
    brain : (z, y, x)
        Outside it the T1c is returned as it is.
    answers : Answers
    measured : Measured
        Of the acquired series, in the units of the T1c.
    k : float
        Multiple of the dose that was given, 1 and more; 1 shows the T1c with less noise.
    settings : AmplifySettings, optional

    Returns
    -------
    (z, y, x), float32

    Raises
    ------
    ValueError
        If k is below 1.
    """
    if k < 1:
        raise ValueError(f"the dose can be multiplied by 1 and more, found {k:g}")
    settings = settings or AmplifySettings()
    chosen = choosing(answers.probability)
    held = np.minimum(np.maximum(answers.enhancement, 0), allowed(measured, chosen, settings))
    added = chosen * at_dose(held, k, measured.level)
    shown = denoised(t1c, brain, answers, measured, chosen, settings) + added
    return np.asarray(np.where(brain, shown, t1c), dtype=np.float32)


def choosing(probability: Volume) -> Volume:
    """The part of the enhancement that is shown: a voxel's probability and its brightest neighbour's, half each.

    A lesion's edge is half a voxel of doubt wide; without the neighbour the rim of a small one would stay as it was.
    """
    inside = np.clip(probability, 0, 1)
    return np.asarray((inside + ndimage.maximum_filter(inside, size=3)) / 2, dtype=np.float32)


def allowed(measured: Measured, chosen: Volume, settings: AmplifySettings) -> Volume:
    """How much enhancement the acquired series support: the measured one, less its noise where disease is improbable.

    The brightest neighbour counts, because the smoothing took from a lesion's edge.
    """
    doubt = 1 - np.minimum(2 * chosen, 1)
    found = ndimage.maximum_filter(measured.excess_zyx, size=3) - settings.noise_sds * measured.noise * doubt
    return np.asarray(settings.headroom * np.maximum(found, 0), dtype=np.float32)


def at_dose(enhancement: Volume, k: float, level: float) -> Volume:
    """What k times the dose adds to what the dose itself added.

    (k - 1) F / (1 + (k - 1) F / 3 B), with F the enhancement and B the brain's level: a spoiled gradient echo's answer
    within some percent for F up to 0.8 B and k from 3 to 8. A spin echo answers less, an inversion-prepared sequence
    more.
    """
    more = np.float32(k - 1)
    return np.asarray(more * enhancement / (1 + more * enhancement / np.float32(3 * max(level, 1e-12))), np.float32)


def denoised(
    t1c: Volume, brain: Mask, answers: Answers, measured: Measured, chosen: Volume, settings: AmplifySettings
) -> Volume:
    """The T1c less its noise, which dims no lesion.

    Noise has a mean of zero. What is taken off on the mean over some voxels was no noise; where there may be disease
    it is given back. Where the probability is one half and more, no voxel is dimmed.
    """
    most = np.float32(settings.denoise_sds * measured.voxel_noise)
    taken = np.clip(answers.noise, -most, most)
    lost = np.maximum(smoothed_within(taken, brain, 0.7), 0)
    stands_out = np.clip(measured.excess_zyx / np.float32(max(3 * measured.noise, 1e-12)), 0, 1)
    back = np.maximum(chosen, stands_out) * lost
    kept = np.where(taken > 0, np.maximum(taken - back, 0) * (1 - np.minimum(2 * chosen, 1)), taken)
    return np.asarray(t1c - kept, dtype=np.float32)
