"""Rigid registration of every series to the T1c, and one affine step of the T1c to the atlas.

A coarse search (`search.py`) finds the head wherever it lies, a quasi-Newton climb (`refinement.py`) improves the pose
on two levels, and `registration_quality.py` measures how far the result can be believed. All three look at the same
prepared pair (`prepared_pair.py`). Transforms map points of the fixed space to points of the moving one, so that
`compose` and one resampling bring every series to the network's grid.
"""

from __future__ import annotations

import SimpleITK as sitk

from enhancement.imaging.registration.diffusion_motion import align_diffusion
from enhancement.imaging.registration.prepared_pair import FixedSeries, MovingSeries, PreparedPair
from enhancement.imaging.registration.refinement import refine
from enhancement.imaging.registration.registration_quality import Registration, judge
from enhancement.imaging.registration.search import find_in_atlas, find_rigid
from enhancement.imaging.registration.transforms import compose, linear_parts, rotation_matrix
from enhancement.imaging.resampling import Interpolation, bounding_window, resample

__all__ = [
    "FixedSeries",
    "Interpolation",
    "Registration",
    "align_diffusion",
    "bounding_window",
    "compose",
    "judge_alignment",
    "linear_parts",
    "register_affine",
    "register_rigid",
    "resample",
    "rotation_matrix",
]


def register_rigid(fixed: FixedSeries, moving: sitk.Image) -> Registration:
    """Find where another series of the same head lies.

    Parameters
    ----------
    fixed : FixedSeries
        The series whose brain is known. Make it once for all series that are registered to it.
    moving : sitk.Image, float32
        The other series, with skull.

    Raises
    ------
    RegistrationFailed
        If no pose has the two overlap.
    """
    pair = PreparedPair(fixed, MovingSeries(moving))
    return judge(pair, refine(pair, find_rigid(pair)))


def judge_alignment(fixed: FixedSeries, moving: sitk.Image) -> Registration:
    """How well two series agree as they lie, without moving one; for volumes that share a grid."""
    return judge(PreparedPair(fixed, MovingSeries(moving)), sitk.AffineTransform(3))


def register_affine(template: FixedSeries, moving: sitk.Image) -> Registration:
    """Find the brain of a patient in the atlas by 12 parameters.

    Parameters
    ----------
    template : FixedSeries
        The atlas' T1, brain only, and its brain mask.
    moving : sitk.Image, float32
        A series of the patient, 0 outside the brain.

    Raises
    ------
    RegistrationFailed
        If no pose has the two overlap.
    """
    pair = PreparedPair(template, MovingSeries(moving))
    return judge(pair, refine(pair, find_in_atlas(pair), freedom="affine"))
