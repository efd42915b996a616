"""Rigid registration of every series to the T1c, and one affine step of the T1c to the atlas.

A coarse search (`search.py`) finds the head wherever it lies, a quasi-Newton climb (`refinement.py`) improves the pose
on two levels, and `agreement.py` measures how far the result can be believed. Transforms map points of the fixed
space to points of the moving one, so that `compose` and one resampling bring every series to the network's grid.
"""

from __future__ import annotations

import SimpleITK as sitk

from enhancement.imaging.registration.diffusion_motion import align_diffusion
from enhancement.imaging.registration.refinement import refine
from enhancement.imaging.registration.registration_quality import Registration, judge
from enhancement.imaging.registration.search import find_in_atlas, find_rigid
from enhancement.imaging.registration.transforms import compose, linear_parts, rotation_matrix
from enhancement.imaging.resampling import Interpolation, bounding_window, resample

__all__ = [
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


def register_rigid(fixed: sitk.Image, fixed_brain: sitk.Image, moving: sitk.Image) -> Registration:
    """Find where another series of the same head lies.

    Parameters
    ----------
    fixed : sitk.Image, float32
        The series whose brain is known.
    fixed_brain : sitk.Image, uint8
        Its brain mask. What is far from it does not count, so that a moved jaw or neck don't either.
    moving : sitk.Image, float32
        The other series, with skull.

    Raises
    ------
    RegistrationFailed
        If no pose has the two overlap.
    """
    transform = refine(fixed, fixed_brain, moving, find_rigid(fixed, fixed_brain, moving))
    return judge(fixed, fixed_brain, moving, transform)


def judge_alignment(fixed: sitk.Image, fixed_brain: sitk.Image, moving: sitk.Image) -> Registration:
    """How well two series agree as they lie, without moving one; for volumes that share a grid."""
    return judge(fixed, fixed_brain, moving, sitk.AffineTransform(3))


def register_affine(template: sitk.Image, template_brain: sitk.Image, moving: sitk.Image) -> Registration:
    """Find the brain of a patient in the atlas by 12 parameters.

    Parameters
    ----------
    template : sitk.Image, float32
        The atlas' T1, brain only.
    template_brain : sitk.Image, uint8
        Its brain mask.
    moving : sitk.Image, float32
        A series of the patient, 0 outside the brain.

    Raises
    ------
    RegistrationFailed
        If no pose has the two overlap.
    """
    start = find_in_atlas(template, template_brain, moving)
    transform = refine(template, template_brain, moving, start, freedom="affine")
    return judge(template, template_brain, moving, transform)
