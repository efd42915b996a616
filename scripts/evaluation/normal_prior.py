"""Where in the atlas normal structures enhance, and where a reader is misled: counted over development patients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from evaluation.regions import block_mean
from simulation.frames import SHAPE
from simulation.layers import Label
from training.simulated import PHYSIOLOGICAL

PATH = Path(__file__).with_name("normal_prior.npz")
_ENHANCES = 0.25  # of the brain's median
_SMOOTH_MM = 1.5
_PITFALL_MM = 3.0
_LOG_FLOOR = np.float32(15.9)
HALF = (SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2] // 2)


def normal_enhancement(with_agent: Volume, without: Volume, brain: Mask, labels: NDArray[np.uint8]) -> Volume:
    """Where a patient's normal structures enhance, blurred, at half of the resolution.

    Parameters
    ----------
    with_agent, without : (z, y, x), intensities
        Noise-free images of one sequence.
    brain : (z, y, x)
    labels : (z, y, x)
    """
    normal = np.isin(labels, [int(label) for label in (Label.NONE, *PHYSIOLOGICAL)])
    shown = (with_agent - without) / np.float32(np.median(with_agent[brain])) > _ENHANCES
    blurred = ndimage.gaussian_filter((shown & normal).astype(np.float32), _SMOOTH_MM)
    return block_mean(blurred, [2, 2, 2])


def pitfall_marks(
    centres_mm: Sequence[tuple[float, float, float]], likely: NDArray[np.float64], shape: tuple[int, int, int] = HALF
) -> Volume:
    """A patient's false candidates at half of the resolution: each with its probability, at most a half, and its twin.

    Parameters
    ----------
    centres_mm : (z, y, x) each
    likely : (n,)
        How likely the reader took them for lesions.
    """
    marks = np.zeros(shape, np.float32)
    for centre, p in zip(centres_mm, likely, strict=True):
        z, y, x = (int(np.clip(round(at / 2), 0, n - 1)) for at, n in zip(centre, shape, strict=True))
        marks[z, y, x] += min(p, 0.5) / 2
        marks[z, y, min(shape[2] - x, shape[2] - 1)] += min(p, 0.5) / 2
    return marks


def pitfall_map(total: Volume, patients: int) -> Volume:
    """Blurred marks a patient, half resolution; `total` is the sum of so many patients' marks."""
    return np.asarray(ndimage.gaussian_filter(total, _PITFALL_MM / 2) / max(patients, 1), dtype=np.float32)


def write_prior(normal: Volume, pitfalls: Volume, path: Path) -> None:
    """Both maps as bytes: the first in 1/255, the logarithm of the second in 1/16 from -15.9 on."""
    logs = np.clip(np.rint(16 * (np.log(np.maximum(pitfalls, 1e-7)) + _LOG_FLOOR)), 0, 255)
    np.savez_compressed(
        path, normal=np.rint(np.clip(normal, 0, 1) * 255).astype(np.uint8), pitfalls=logs.astype(np.uint8)
    )


@lru_cache(maxsize=1)
def load_prior(path: Path = PATH) -> tuple[Volume, Volume]:
    """How often normal structures enhance (0 to 1), and pitfalls (marks a patient in 8 mm3), on the atlas grid."""
    with np.load(path) as file:
        return whole(file["normal"] / np.float32(255)), np.exp(whole(file["pitfalls"] / np.float32(16)) - _LOG_FLOOR)


def whole(half: Volume) -> Volume:
    """A map of half the resolution on the atlas grid, by linear interpolation."""
    scale = [n / m for n, m in zip(SHAPE, half.shape, strict=True)]
    return np.asarray(ndimage.zoom(half, scale, order=1, grid_mode=True, mode="nearest"), dtype=np.float32)


def symmetric(half: Volume) -> Volume:
    """The mean of a map and its mirror image."""
    return np.asarray((half + half[:, :, ::-1]) / 2, dtype=np.float32)
