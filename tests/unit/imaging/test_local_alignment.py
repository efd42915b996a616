"""Smooth displacements between two series: found, bounded, and not driven by what enhances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Volume
from enhancement.imaging.local_alignment import MOST_MM, aligned
from enhancement.imaging.measured_enhancement import measured_enhancement

_SHAPE = (64, 72, 60)


def _brain() -> NDArray[np.bool_]:
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in _SHAPE)
    far = (z / 28)[:, None, None] ** 2 + (y / 32)[:, None] ** 2 + (x / 26) ** 2
    return np.asarray(far < 1)


def _tissue(seed: int = 0) -> Volume:
    """Grey and white matter of 0.8 and 1.2 with soft borders, a few millimetres apart."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=_SHAPE), 2.5)
    return np.asarray(1.0 + 0.2 * np.tanh(3 * noise / noise.std()), dtype=np.float32)


def _moved(volume: Volume, shift_mm: tuple[float, ...]) -> Volume:
    return np.asarray(ndimage.shift(volume, shift_mm, order=3, mode="reflect"), dtype=np.float32)


def _same(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values


def _difference(a: Volume, b: Volume) -> float:
    deep = ndimage.binary_erosion(_brain(), iterations=4)
    return float(np.sqrt(np.mean((a - b)[deep] ** 2)))


class TestAligned:
    @given(shift_mm=st.tuples(*[st.floats(-2, 2)] * 3))
    @settings(max_examples=10, deadline=None)
    def test_a_shift_is_undone(self, shift_mm: tuple[float, float, float]) -> None:
        """Four fifths of the difference go, or it is as small as a tenth of a voxel's shift."""
        tissue = _tissue()
        moved = _moved(tissue, shift_mm)
        left = _difference(aligned(moved, tissue, _brain(), _same), tissue)
        assert left < max(0.2 * _difference(moved, tissue), _difference(_moved(tissue, (0.1, 0, 0)), tissue))

    def test_a_displacement_that_differs_by_place(self) -> None:
        """1.5 mm one way on one side, the other way on the other."""
        tissue = _tissue()
        at = np.indices(_SHAPE).astype(np.float32)
        at[2] += 1.5 * np.cos(np.pi * at[0] / _SHAPE[0])
        bent = np.asarray(ndimage.map_coordinates(tissue, at, order=3, mode="reflect"), dtype=np.float32)
        assert _difference(aligned(bent, tissue, _brain(), _same), tissue) < 0.35 * _difference(bent, tissue)

    def test_another_contrast_under_noise(self) -> None:
        """A T1c of half the contrast and another gain, 5 % noise in both."""
        rng, tissue = np.random.default_rng(1), _tissue()
        fixed = (300 + 150 * (tissue - 1) + rng.normal(0, 15, _SHAPE)).astype(np.float32)
        moving = (_moved(tissue, (1.2, -0.8, 0.5)) + rng.normal(0, 0.05, _SHAPE)).astype(np.float32)
        found = aligned(moving, fixed, _brain(), lambda values: 300 + 150 * (values - 1))
        smooth = [ndimage.gaussian_filter(volume, 1.0) for volume in (found, tissue, moving)]
        assert _difference(smooth[0], smooth[1]) < 0.4 * _difference(smooth[2], smooth[1])

    def test_no_farther_than_the_most(self) -> None:
        """A ramp tells how far it was moved: 6 mm are not followed."""
        ramp = np.broadcast_to(np.linspace(0.5, 1.5, _SHAPE[2], dtype=np.float32), _SHAPE).copy()
        step = float(ramp[0, 0, 1] - ramp[0, 0, 0])
        found = aligned(ramp, ramp + 6 * step, _brain(), _same)
        assert np.abs((found - ramp)[_brain()]).max() <= MOST_MM * step * 1.01

    def test_what_enhances_does_not_pull(self) -> None:
        """Beside a ball of 16 mm twice as bright, aligned series stay where they are, to 0.15 mm."""
        tissue = _tissue()
        z, y, x = np.indices(_SHAPE)
        ball = (z - 32) ** 2 + (y - 36) ** 2 + (x - 38) ** 2 < 8**2
        found = aligned(tissue, np.where(ball, tissue * 2, tissue), _brain(), _same)
        assert _difference(found, tissue) < _difference(_moved(tissue, (0.15, 0, 0)), tissue)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_a_series_without_slopes(self, value: float) -> None:
        """Nothing tells a displacement, so there is none."""
        flat = np.full(_SHAPE, value, dtype=np.float32)
        np.testing.assert_allclose(aligned(flat, _tissue(), _brain(), _same), flat, atol=1e-6)

    def test_outside_the_brain_nothing_changes(self) -> None:
        """Nor are the inputs written to."""
        tissue, moved = _tissue(), _moved(_tissue(), (1.0, 1.0, 0.0))
        before = moved.copy()
        found = aligned(moved, tissue, _brain(), _same)
        np.testing.assert_array_equal(moved, before)
        np.testing.assert_array_equal(found[~_brain()], moved[~_brain()])

    def test_a_brain_at_the_end_of_the_grid(self) -> None:
        """A window that the grid cuts, and a few voxels of brain."""
        everywhere = np.ones(_SHAPE, dtype=bool)
        found = aligned(_moved(_tissue(), (1.0, 0.0, 0.0)), _tissue(), everywhere, _same)
        assert _difference(found, _tissue()) < 0.2 * _difference(_moved(_tissue(), (1.0, 0.0, 0.0)), _tissue())
        speck = np.zeros(_SHAPE, dtype=bool)
        speck[:2, :2, :2] = True
        np.testing.assert_allclose(aligned(_tissue(), _tissue(1), speck, _same), _tissue(), atol=1e-6)


def test_a_border_that_moved_is_no_enhancement() -> None:
    """Of a T1 1.5 mm beside the T1c less than a third of what would differ is measured, and of a lesion as much."""
    tissue, brain = 100 * _tissue(), _brain()
    z, y, x = np.indices(_SHAPE)
    lesion = (z - 30) ** 2 + (y - 36) ** 2 + (x - 30) ** 2 < 4**2
    t1c = np.where(lesion, tissue + 60, tissue).astype(np.float32)
    moved = _moved(tissue, (1.2, 0.9, 0.0))
    differs = ndimage.gaussian_filter(moved - tissue, 1.0)[brain]
    still, beside = (measured_enhancement(t1, t1c, brain) for t1 in (tissue, moved))
    assert beside.noise < 1.4826 * float(np.median(np.abs(differs - np.median(differs)))) / 3
    assert beside.excess_zyx[lesion].mean() == pytest.approx(still.excess_zyx[lesion].mean(), rel=0.1)
