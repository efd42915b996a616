"""The last step of registration: derivatives, receive fields, interpolation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.errors import RegistrationFailed
from enhancement.imaging.registration.flatten_bias import flatten_bias
from enhancement.imaging.registration.mutual_information import MutualInformation, interpolate
from enhancement.imaging.registration.prepared_pair import FixedSeries, MovingSeries, PreparedPair
from enhancement.imaging.registration.refinement import refine
from enhancement.imaging.registration.similarity import index_to_physical, mask_points, resample_isotropic
from enhancement.imaging.registration.transforms import of_points, rotation_about

_SPACING_MM = (2.5, 2.5, 3.0)


def _tissue(points: NDArray[np.float64], white: float, grey: float, fluid: float) -> NDArray[np.float64]:
    """A ball of white matter with folds of grey and lakes of fluid, in air."""
    x, y, z = points.T
    radius = np.linalg.norm(points * [1.0, 0.85, 1.1], axis=1)
    folds = np.sin(x / 3.5) * np.cos(y / 4 + 1) + np.sin(z / 4 + x / 15)
    value = np.where(folds > 0.6, grey, white)
    value = np.where((np.hypot(x - 8, z) < 9) & (np.abs(y) < 25), fluid, value)
    return np.where(radius > 62, 0.03, np.where(radius > 57, fluid, value))


def _scan(tissue: tuple[float, float, float], turn: list[float], origin_mm: list[float]) -> sitk.Image:
    grid = sitk.Image([60, 64, 48], sitk.sitkFloat32)
    grid.SetSpacing(_SPACING_MM)
    grid.SetOrigin(origin_mm)
    grid.SetDirection(of_points(rotation_about(np.radians(turn), np.zeros(3), np.zeros(3)))(np.eye(3)).T.ravel())
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.GetSize()[::-1]), indexing="ij"), -1)[..., ::-1]
    shifts = product((-0.25, 0.25), repeat=3)  # a voxel is an average
    parts = [_tissue(index_to_physical(grid, index.reshape(-1, 3) + np.array(shift)), *tissue) for shift in shifts]
    image = sitk.GetImageFromArray(np.mean(parts, axis=0).reshape(grid.GetSize()[::-1]).astype(np.float32))
    image.CopyInformation(grid)
    return image


def _field(image: sitk.Image, slope: list[float]) -> sitk.Image:
    """Times a sensitivity that changes by a factor of e over 1 / slope mm."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in image.GetSize()[::-1]), indexing="ij"), -1)[..., ::-1]
    points = index_to_physical(image, index.reshape(-1, 3))
    factor = np.exp(points @ slope + 4e-5 * (points**2).sum(1)).reshape(image.GetSize()[::-1])
    result = sitk.GetImageFromArray((sitk.GetArrayFromImage(image) * factor).astype(np.float32))
    result.CopyInformation(image)
    return result


@pytest.fixture(scope="module")
def pair() -> tuple[sitk.Image, sitk.Image, sitk.Image]:
    """A T1, its brain, and another contrast on a turned grid; in one space, so that the true transform is none."""
    t1 = _scan((1.0, 0.85, 0.3), [0, 0, 0], [-74.0, -79.0, -70.0])
    other = _scan((0.8, 1.0, 0.1), [5, -4, 7], [-70.0, -84.0, -66.0])
    smooth = sitk.SmoothingRecursiveGaussian(t1, 2.0)
    return t1, sitk.Cast(smooth > 0.15, sitk.sitkUInt8), other


def _pair(fixed: sitk.Image, brain: sitk.Image, moving: sitk.Image) -> PreparedPair:
    return PreparedPair(FixedSeries(fixed, brain), MovingSeries(moving))


def _error_mm(found: sitk.Transform, brain: sitk.Image) -> float:
    points = mask_points(brain, 8.0)
    return float(np.linalg.norm(of_points(found)(points) - points, axis=1).mean())


@pytest.mark.parametrize("slope", [[0.0, 0.0, 0.0], [0.004, -0.002, 0.006], [-0.006, 0.004, -0.004]])
def test_receive_fields_do_not_pull_the_optimum_aside(
    pair: tuple[sitk.Image, sitk.Image, sitk.Image], slope: list[float]
) -> None:
    """Within a tenth of a voxel from 5 mm and 6 degrees away, whatever the two coils' sensitivities."""
    t1, brain, other = pair
    start = rotation_about(np.radians([4.0, -3.0, 3.0]), np.zeros(3), np.array([3.0, -3.0, 2.5]))
    fixed, moving = _field(t1, [-s for s in slope]), _field(other, slope)
    assert _error_mm(start, brain) > 5
    assert _error_mm(refine(_pair(fixed, brain, moving), start), brain) < 0.25


def test_affine_finds_a_larger_head(pair: tuple[sitk.Image, sitk.Image, sitk.Image]) -> None:
    """Spacing that is 6 % larger along one axis comes back as a scale, well enough for an atlas: within 1 mm."""
    t1, brain, other = pair
    stretched = sitk.Image(other)
    stretched.SetSpacing([s * f for s, f in zip(other.GetSpacing(), (1.0, 1.06, 1.0), strict=True)])
    found = refine(_pair(t1, brain, stretched), sitk.AffineTransform(3), freedom="affine")
    index = np.array([other.TransformPhysicalPointToContinuousIndex(p) for p in mask_points(brain, 12.0).tolist()])
    truth = index_to_physical(stretched, index)
    errors = np.linalg.norm(of_points(found)(mask_points(brain, 12.0)) - truth, axis=1)
    assert errors.mean() < 1.0


def test_nothing_in_common(pair: tuple[sitk.Image, sitk.Image, sitk.Image]) -> None:
    """A start that takes the brain out of the other series is refused."""
    t1, brain, other = pair
    away = rotation_about(np.zeros(3), np.zeros(3), np.array([500.0, 0.0, 0.0]))
    with pytest.raises(RegistrationFailed, match="overlap"):
        refine(_pair(t1, brain, other), away)


def test_information_and_its_derivative_agree(pair: tuple[sitk.Image, sitk.Image, sitk.Image]) -> None:
    """The pull on all points together is the change of the information by a small shift."""
    t1, brain, other = pair
    rng = np.random.default_rng(0)
    points = mask_points(brain, 5.0)
    points = points + rng.uniform(-2, 2, points.shape)
    information = MutualInformation.of(t1, points, other, lambda p: p + 1.0)
    shift = np.array([1.1, 0.9, 1.05])
    slope = information(information.points + shift)[1].sum(axis=0)
    for axis in np.eye(3) * 0.01:
        higher, lower = (information(information.points + shift + sign * axis)[0] for sign in (1, -1))
        assert (higher - lower) / 0.02 == pytest.approx(float(slope @ axis) * 100, rel=0.03, abs=2e-4)


def test_interpolation_is_trilinear() -> None:
    """Values and slopes as of scipy's linear spline; held at the edge and flat beyond it."""
    rng = np.random.default_rng(1)
    array = rng.random((5, 6, 7)).astype(np.float32)
    index = rng.uniform([0, 0, 0], [6, 5, 4], (50, 3))
    values, slopes = interpolate(array, index)
    np.testing.assert_allclose(values, ndimage.map_coordinates(array, index[:, ::-1].T, order=1), atol=1e-5)
    step = index + np.array([1e-4, 0.0, 0.0])
    inside = np.floor(step[:, 0]) == np.floor(index[:, 0])
    np.testing.assert_allclose((interpolate(array, step)[0] - values)[inside], 1e-4 * slopes[inside, 0], atol=1e-7)
    beyond = interpolate(array, np.array([[9.0, 2.0, 2.0]]))
    assert beyond[0][0] == pytest.approx(array[2, 2, 6])
    assert beyond[1][0, 0] == 0


def test_one_slice_can_be_interpolated() -> None:
    """An axis of one voxel has no neighbour to read."""
    values, slopes = interpolate(np.ones((1, 3, 3), np.float32), np.array([[1.5, 2.0, 0.3]]))
    assert values[0] == 1
    assert not slopes.any()


class TestLevelOut:
    def test_takes_out_a_sensitivity(self, pair: tuple[sitk.Image, sitk.Image, sitk.Image]) -> None:
        """White matter that differed by a factor of two across the brain is alike within 15 %."""
        t1, brain, _ = pair
        level = sitk.GetArrayFromImage(flatten_bias(_field(t1, [0.006, 0.0, 0.0]), brain))
        white = ndimage.binary_erosion(np.abs(sitk.GetArrayFromImage(t1) - 1.0) < 0.03, iterations=1)
        assert np.std(level[white]) / np.mean(level[white]) < 0.15

    def test_without_brain_nothing_changes(self, pair: tuple[sitk.Image, sitk.Image, sitk.Image]) -> None:
        """A mask that lies elsewhere leaves the numbers alone."""
        t1, brain, _ = pair
        away = rotation_about(np.zeros(3), np.zeros(3), np.array([500.0, 0.0, 0.0]))
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(flatten_bias(t1, brain, away)), sitk.GetArrayFromImage(t1).astype(np.float32)
        )


def test_thick_slices_stay_as_they_are() -> None:
    """Only the axes that are much finer than wanted are resampled."""
    image = sitk.Image([40, 40, 8], sitk.sitkFloat32)
    image.SetSpacing([1.0, 1.0, 5.0])
    small = resample_isotropic(image, 2.0)
    assert small.GetSize() == (20, 20, 8)
    assert small.GetSpacing() == pytest.approx((2.0, 2.0, 5.0))
    assert small.TransformContinuousIndexToPhysicalPoint([-0.5] * 3) == pytest.approx((-0.5, -0.5, -2.5))
