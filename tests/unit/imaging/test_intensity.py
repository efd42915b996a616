"""Normalisation there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from enhancement.errors import BrainExtractionFailed
from enhancement.imaging.intensity import (
    BrainStatistics,
    brain_statistics,
    from_unit,
    normalise,
    seen_voxels,
    to_unit,
)

volumes = hnp.arrays(
    np.float32, (4, 5, 6), elements=st.floats(0, 4095, width=32, allow_nan=False), unique=True, fill=st.nothing()
)


def _brain() -> np.ndarray:
    brain = np.zeros((4, 5, 6), dtype=bool)
    brain[1:3, 1:4, 1:5] = True
    return brain


def _z(volume: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """z-scores of the whole volume: limits so wide that nothing is clipped."""
    unit = to_unit(volume, brain_statistics(volume, brain), -1e6, 1e6)
    return unit * 2e6 - 1e6


class TestZScore:
    @given(volumes)
    def test_brain_has_mean_0_and_sd_1(self, volume: np.ndarray) -> None:
        """Whatever the numbers of the series were."""
        brain = _brain()
        if volume[brain].std() < 1e-2:  # float32 cannot hold more
            return
        z = _z(volume.astype(np.float64), brain)
        assert z[brain].mean() == pytest.approx(0, abs=2e-3)
        assert z[brain].std() == pytest.approx(1, abs=2e-3)

    @given(volumes, st.floats(0.01, 100))
    def test_gain_does_not_matter(self, volume: np.ndarray, gain: float) -> None:
        """A receiver gain changes no normalised value."""
        brain = _brain()
        if volume[brain].std() < 1:
            return
        exact = volume.astype(np.float64)
        np.testing.assert_allclose(_z(exact * gain, brain), _z(exact, brain), atol=1e-2)

    def test_outside_does_not_count(self) -> None:
        """A bright scalp does not move the brain's statistics."""
        volume, brain = np.random.default_rng(1).normal(100, 10, (4, 5, 6)).astype(np.float32), _brain()
        before = brain_statistics(volume, brain)
        volume[~brain] = 1e5
        assert brain_statistics(volume, brain) == before

    def test_empty_mask_is_refused(self) -> None:
        """There is nothing to normalise by."""
        with pytest.raises(BrainExtractionFailed, match="empty"):
            normalise("T1", np.ones((2, 2, 2), np.float32), np.zeros((2, 2, 2), bool), -3, 12)

    @pytest.mark.parametrize("value", [7.0, np.nan])
    def test_brain_without_contrast_is_refused(self, value: float) -> None:
        """A constant or undefined brain has no z-score."""
        with pytest.raises(BrainExtractionFailed, match="contrast"):
            normalise("T1", np.full((2, 2, 2), value, np.float32), np.ones((2, 2, 2), bool), -3, 12)


class TestUnitScale:
    @given(volumes, st.floats(-5, -0.5), st.floats(1, 12))
    def test_round_trip_within_the_limits(self, volume: np.ndarray, z_min: float, z_max: float) -> None:
        """What was not clipped comes back in the series' own numbers."""
        brain = _brain()
        if volume[brain].std() < 1:
            return
        unit, statistics = normalise("T1", volume, brain, z_min, z_max)
        assert statistics == brain_statistics(volume, brain)
        z = (volume - statistics.mean) / statistics.sd
        kept = brain & (z > z_min) & (z < z_max)
        back = from_unit(unit, z_min, z_max, statistics)
        np.testing.assert_allclose(
            back[kept], volume[kept], rtol=1e-4, atol=1e-4 * statistics.sd * (z_max - z_min) + 2e-3
        )

    def test_outside_the_brain_is_zero(self) -> None:
        """The network sees a stripped brain."""
        volume = np.random.default_rng(2).normal(100, 10, (4, 5, 6)).astype(np.float32)
        unit, _ = normalise("T1", volume, _brain(), -3, 12)
        assert not unit[~_brain()].any()
        assert unit.min() >= 0
        assert unit.max() <= 1

    def test_limits_clip(self) -> None:
        """Beyond a limit is at the limit."""
        np.testing.assert_allclose(to_unit(np.array([-4.0, 13.0]), BrainStatistics(0, 1), -3, 12), [0, 1])

    def test_prediction_above_one_is_not_clipped(self) -> None:
        """An unbounded head may go beyond the brightest input."""
        assert from_unit(np.array([1.2]), -3, 12, BrainStatistics(100, 10))[0] == pytest.approx(250)


class TestSeenVoxels:
    """What counts is one rule for use, training and evaluation."""

    def test_zero_is_a_value_of_t1_and_none_of_an_adc(self) -> None:
        """An ADC map holds 0 where nothing could be fitted."""
        volume, brain = np.array([0.0, 2.0, 3.0]), np.array([True, True, False])
        assert seen_voxels("T1", volume, brain).tolist() == [True, True, False]
        assert seen_voxels("ADC", volume, brain).tolist() == [False, True, False]

    def test_outside_the_field_of_view_nothing_counts(self) -> None:
        """Such voxels are 0 to the network, and no part of mean and standard deviation."""
        volume = np.array([[[1.0, 3.0, 90.0, 7.0]]])
        brain, covered = np.array([[[True, True, True, False]]]), np.array([[[True, True, False, True]]])
        unit, statistics = normalise("T1", volume, brain, -3, 3, covered)
        assert statistics == BrainStatistics(mean=2.0, sd=1.0)
        np.testing.assert_allclose(unit, [[[1 / 3, 2 / 3, 0, 0]]], rtol=1e-6)
