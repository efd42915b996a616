"""Two series made ready for comparison: each is resampled once to each resolution, whoever asks.

Search, refinement and quality look at the same two series at 6, 4 and 2 mm. What they share is here: an image or a set
of points is made when it is first asked for, and kept. A fixed series serves all series that are registered to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk

from enhancement.errors import RegistrationFailed
from enhancement.imaging.registration.flatten_bias import flatten_bias
from enhancement.imaging.registration.similarity import Points, mask_points, resample_isotropic
from enhancement.imaging.registration.transforms import Vector
from enhancement.imaging.resampling import bounding_window

COARSE_MM = 6.0
LEVELS_MM = (4.0, 2.0)  # of the refinement; the last is made of the series, the others of the last
RIM_MM = 6.0  # CSF, skull and scalp next to the brain tell where its edge is
_AROUND_MM = 20.0  # the search sees skull, scalp and air next to the brain too: they tell poses far apart
_WINDOW_MM = 30.0
_SCATTERED = 30_000
_LEAST_POINTS = 100  # of a brain
_LEAST_TISSUE = 10


@dataclass(frozen=True)
class FixedSeries:
    """A series whose brain is known.

    Attributes
    ----------
    image : sitk.Image
        Non-negative, on its own grid.
    brain : sitk.Image, uint8
        Its brain mask. What is far from it does not count, so that a moved jaw or neck don't either.
    rim_mm : float
        How much around the brain counts in the refinement.
    """

    image: sitk.Image
    brain: sitk.Image
    rim_mm: float = RIM_MM

    @cached_property
    def coarse(self) -> sitk.Image:
        """The whole series at 6 mm, flattened."""
        return flatten_bias(self._small, self.brain)

    @cached_property
    def levels(self) -> tuple[sitk.Image, ...]:
        """The brain and 30 mm around it on each level of the refinement, flattened."""
        return tuple(flatten_bias(image, self.brain) for image in _levels(self._fine))

    @cached_property
    def center(self) -> Vector:
        """Of the brain; (3,), LPS, mm.

        Raises
        ------
        RegistrationFailed
            If the mask has next to no voxels.
        """
        inside = mask_points(self._coarse_brain, COARSE_MM)
        if len(inside) < _LEAST_POINTS:
            raise RegistrationFailed("a brain mask to register was needed, found next to no voxels in it")
        center: Vector = inside.mean(axis=0)
        return center

    def around(self, spacing_mm: float) -> Points:
        """The brain and 20 mm around it, on a lattice of about `spacing_mm`, 6 mm or more."""
        return mask_points(self._coarse_surroundings, spacing_mm)

    @cached_property
    def scattered(self) -> tuple[Points, ...]:
        """For each level of the refinement new points anywhere in the voxels of the brain and its rim.

        Raises
        ------
        RegistrationFailed
            If the mask has no voxels.
        """
        near = sitk.Resample(self.brain, self._fine, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
        voxels = mask_points(_dilated(near, self.rim_mm), 0.0)
        if len(voxels) == 0:
            raise RegistrationFailed("a brain mask to register was needed, found next to no voxels in it")
        axes = np.reshape(near.GetDirection(), (3, 3)) * np.asarray(near.GetSpacing())
        return tuple(_scatter(voxels, axes, np.random.default_rng(number)) for number in range(len(LEVELS_MM)))

    @cached_property
    def _small(self) -> sitk.Image:
        return resample_isotropic(self.image, COARSE_MM)

    @cached_property
    def _fine(self) -> sitk.Image:
        return resample_isotropic(
            sitk.RegionOfInterest(self.image, *bounding_window(self.brain, _WINDOW_MM)), LEVELS_MM[-1]
        )

    @cached_property
    def _coarse_brain(self) -> sitk.Image:
        return sitk.Resample(self.brain, self._small, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)

    @cached_property
    def _coarse_surroundings(self) -> sitk.Image:
        return _dilated(self._coarse_brain, _AROUND_MM)


@dataclass(frozen=True)
class MovingSeries:
    """A series that is to be found in the space of another; nothing is known of where its brain lies.

    Attributes
    ----------
    image : sitk.Image
        Non-negative, on its own grid.
    """

    image: sitk.Image

    @cached_property
    def small(self) -> sitk.Image:
        """At 6 mm, not flattened."""
        return resample_isotropic(self.image, COARSE_MM)

    @cached_property
    def levels(self) -> tuple[sitk.Image, ...]:
        """For each level of the refinement, not flattened."""
        return _levels(resample_isotropic(self.image, LEVELS_MM[-1]))

    @cached_property
    def head(self) -> sitk.Image:
        """What is not air (Otsu), at 6 mm; uint8."""
        return sitk.OtsuThreshold(self.small, 0, 1, 64)

    @cached_property
    def center(self) -> Vector:
        """Of what is not air; (3,), LPS, mm. Of the whole grid where nothing stands out."""
        points = mask_points(self.head, COARSE_MM)
        if len(points) <= _LEAST_TISSUE:
            points = mask_points(self.small * 0 + 1, COARSE_MM)
        center: Vector = points.mean(axis=0)
        return center

    @cached_property
    def coarse(self) -> sitk.Image:
        """At 6 mm, flattened over the whole head."""
        return flatten_bias(self.small, self.head)


@dataclass(frozen=True)
class PreparedPair:
    """A series whose brain is known, and one that is to be found in its space.

    Attributes
    ----------
    fixed : FixedSeries
    moving : MovingSeries
    """

    fixed: FixedSeries
    moving: MovingSeries

    def moving_coarse(self, pose: sitk.Transform) -> sitk.Image:
        """The moving series at 6 mm, flattened over the brain where a pose has it (linear, right within some mm)."""
        return flatten_bias(self.moving.small, self.fixed.brain, pose)

    def moving_level(self, number: int, pose: sitk.Transform) -> sitk.Image:
        """The moving series on a level of the refinement, flattened over the brain where a pose has it."""
        return flatten_bias(self.moving.levels[number], self.fixed.brain, pose)


def _levels(fine: sitk.Image) -> tuple[sitk.Image, ...]:
    return (*(resample_isotropic(fine, spacing_mm) for spacing_mm in LEVELS_MM[:-1]), fine)


def _dilated(mask: sitk.Image, rim_mm: float) -> sitk.Image:
    return sitk.BinaryDilate(sitk.Cast(mask > 0, sitk.sitkUInt8), [round(rim_mm / s) for s in mask.GetSpacing()])


def _scatter(voxels: Points, axes: Points, rng: np.random.Generator) -> Points:
    chosen = voxels[rng.integers(0, len(voxels), _SCATTERED)]
    scattered: Points = chosen + rng.uniform(-0.5, 0.5, chosen.shape) @ axes.T
    return scattered
