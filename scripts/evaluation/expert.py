"""A stated automatic reader of enhancing lesions who knows vessels, the same for T1c, T1c-pro and every baseline.

1. Candidates are blob-shaped maxima of what is brighter than its surroundings and brighter than before contrast
   (`evaluation.reader`).
2. Each is described by its shape, by what it hangs on, by its place, by its twin on the other side, and by how often
   normal structures enhance there (`evaluation.surroundings`, `evaluation.normal_prior`).
3. A logistic model that was fitted on T1c images of development patients says how likely it is disease
   (`evaluation.judge`). Its probability is the mark's score.
4. Of marks that touch the one of most score times root of diameter is kept.
"""

from __future__ import annotations

import numpy as np

from enhancement.arrays import Mask, Volume
from evaluation.judge import Judge, load_judge
from evaluation.normal_prior import load_prior
from evaluation.reader import Detection, ReaderSettings, find_candidates, suppress, survey
from evaluation.regions import Spacing
from evaluation.surroundings import Place, describe


def read_lesions(
    image: Volume,
    t1: Volume,
    brain: Mask,
    *,
    place: Place | None,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
    settings: ReaderSettings | None = None,
    judge: Judge | None = None,
) -> list[Detection]:
    """Mark the enhancing lesions of an image: the candidates of which none touches a higher-ranking one."""
    marks = candidate_lesions(
        image, t1, brain, place=place, spacing_zyx_mm=spacing_zyx_mm, settings=settings, judge=judge
    )
    return [marks[i] for i in suppress(marks)]


def candidate_lesions(
    image: Volume,
    t1: Volume,
    brain: Mask,
    *,
    place: Place | None,
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0),
    settings: ReaderSettings | None = None,
    judge: Judge | None = None,
) -> list[Detection]:
    """Mark every candidate that is likely enough to be a lesion, touching ones as well.

    Parameters
    ----------
    image, t1 : (z, y, x), intensities
        The image read, and the image before contrast on the same grid.
    brain : (z, y, x)
    place : Place or None
        Where normal structures enhance and how to mirror, on this grid. None where nobody knows: shapes alone count.
    spacing_zyx_mm : (z, y, x)
    settings : ReaderSettings, optional
    judge : Judge, optional
        Another than the one that was fitted for this program.

    Returns
    -------
    Detections, likeliest first.
    """
    settings, judge = settings or ReaderSettings(), judge or load_judge()
    ground = survey(image, t1, brain, spacing_zyx_mm)
    candidates = find_candidates(ground, settings)
    if not candidates:
        return []
    likely = judge.probability(describe(candidates, ground, t1, place or _nowhere(image.shape)))
    marks = [
        Detection(candidate.mark.centre_mm, candidate.mark.diameter_mm, float(p))
        for candidate, p in zip(candidates, likely, strict=True)
        if p >= settings.threshold
    ]
    return sorted(marks, key=lambda mark: -mark.score)


def atlas_place() -> Place:
    """Of an image on the atlas grid, as simulated patients are."""
    normal, pitfalls = load_prior()
    return Place(normal, mirrored, pitfalls)


def _nowhere(shape: tuple[int, ...]) -> Place:
    nothing = np.zeros(shape, np.float32)
    return Place(nothing, lambda _: nothing, nothing)


def mirrored(volume: Volume) -> Volume:
    """Left and right swapped, on the atlas grid: its midline is the 81st of 160 voxels."""
    return np.asarray(np.roll(volume[:, :, ::-1], 1, axis=2))
