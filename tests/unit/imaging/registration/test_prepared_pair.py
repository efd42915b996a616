"""What search, refinement and quality share of two series."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from enhancement.errors import RegistrationFailed
from enhancement.imaging.registration.prepared_pair import LEVELS_MM, FixedSeries, MovingSeries, PreparedPair


@pytest.fixture(scope="module")
def fixed() -> FixedSeries:
    """A bright ball of 60 mm radius in air, and the ball as its brain."""
    axes = np.meshgrid(*(np.arange(n) * 2.5 for n in (60, 64, 64)), indexing="ij")
    ball = sum((a - 78.0) ** 2 for a in axes) < 60.0**2
    image, brain = (sitk.GetImageFromArray(ball.astype(kind)) for kind in (np.float32, np.uint8))
    for one in (image, brain):
        one.SetSpacing([2.5] * 3)
    return FixedSeries(image * 100, brain)


def test_nothing_is_made_twice(fixed: FixedSeries) -> None:
    """Who asks again gets the same image, so two series that are registered to one share it."""
    assert fixed.coarse is fixed.coarse
    assert fixed.levels is fixed.levels
    assert fixed.scattered is fixed.scattered
    moving = MovingSeries(fixed.image)
    assert moving.small is moving.small
    assert moving.levels is moving.levels


def test_each_level_has_points_of_its_own(fixed: FixedSeries) -> None:
    """In the brain and its rim of 6 mm, to a voxel."""
    assert len(fixed.levels) == len(fixed.scattered) == len(LEVELS_MM)
    coarse, fine = fixed.scattered
    assert not np.array_equal(coarse, fine)
    radius = np.linalg.norm(fine - 78.0, axis=1)
    assert 63.0 < radius.max() < 66.0 + 4.5


def test_centers_are_those_of_the_ball(fixed: FixedSeries) -> None:
    """The brain's and the head's, within 2 mm."""
    assert fixed.center == pytest.approx(np.full(3, 78.0), abs=2.0)
    assert MovingSeries(fixed.image).center == pytest.approx(np.full(3, 78.0), abs=2.0)


def test_the_moving_series_is_flattened_where_the_pose_has_the_brain(fixed: FixedSeries) -> None:
    """A slope of sensitivity is taken out of a series that lies 40 mm aside."""
    array = sitk.GetArrayFromImage(fixed.image) * np.linspace(0.7, 1.3, 64)
    moving = sitk.GetImageFromArray(array.astype(np.float32))
    moving.CopyInformation(fixed.image)
    moving.SetOrigin([40.0, 0.0, 0.0])
    aside = sitk.AffineTransform(3)
    aside.SetTranslation([40.0, 0.0, 0.0])
    flat = sitk.GetArrayFromImage(PreparedPair(fixed, MovingSeries(moving)).moving_level(1, aside))
    left, right = (flat[20:40, 20:40, x].mean() for x in (15, 47))
    assert left == pytest.approx(right, rel=0.03)


def test_an_empty_mask_is_refused(fixed: FixedSeries) -> None:
    """Whoever asks first says what is lacking."""
    empty = FixedSeries(fixed.image, fixed.brain * 0)
    with pytest.raises(RegistrationFailed, match="brain mask"):
        _ = empty.center
