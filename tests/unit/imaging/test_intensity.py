"""Normalisation there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from enhancement.errors import SkullStripFailed
from enhancement.imaging.intensity import (
    BrainStatistics,
    brain_statistics,
    clipped_fraction,
    from_unit,
    normalise,
    to_unit,
    z_score,
)

volumes = hnp.arrays(
    np.float32, (4, 5, 6), elements=st.floats(0, 4095, width=32, allow_nan=False), unique=True, fill=st.nothing()
)


def _brain() -> np.ndarray:
    brain = np.zeros((4, 5, 6), dtype=bool)
    brain[1:3, 1:4, 1:5] = True
    return brain


class TestZScore:
    @given(volumes)
    def test_brain_has_mean_0_and_sd_1(self, volume: np.ndarray) -> None:
        """Whatever the numbers of the series were."""
        brain = _brain()
        if volume[brain].std() < 1e-2:  # float32 cannot hold more
            return
        z, _ = z_score(volume, brain)
        assert z[brain].mean() == pytest.approx(0, abs=2e-3)
        assert z[brain].std() == pytest.approx(1, abs=2e-3)

    @given(volumes, st.floats(0.01, 100))
    def test_gain_does_not_matter(self, volume: np.ndarray, gain: float) -> None:
        """A receiver gain changes no normalised value."""
        brain = _brain()
        if volume[brain].std() < 1:
            return
        np.testing.assert_allclose(z_score(volume * np.float32(gain), brain)[0], z_score(volume, brain)[0], atol=1e-2)

    def test_outside_does_not_count(self) -> None:
        """A bright scalp does not move the brain's statistics."""
        volume, brain = np.random.default_rng(1).normal(100, 10, (4, 5, 6)).astype(np.float32), _brain()
        before = brain_statistics(volume, brain)
        volume[~brain] = 1e5
        assert brain_statistics(volume, brain) == before

    def test_empty_mask_is_refused(self) -> None:
        """There is nothing to normalise by."""
        with pytest.raises(SkullStripFailed, match="empty"):
            z_score(np.ones((2, 2, 2), np.float32), np.zeros((2, 2, 2), bool))

    @pytest.mark.parametrize("value", [7.0, np.nan])
    def test_brain_without_contrast_is_refused(self, value: float) -> None:
        """A constant or undefined brain has no z-score."""
        with pytest.raises(SkullStripFailed, match="contrast"):
            z_score(np.full((2, 2, 2), value, np.float32), np.ones((2, 2, 2), bool))


class TestUnitScale:
    @given(volumes, st.floats(-5, -0.5), st.floats(1, 12))
    def test_round_trip_within_the_limits(self, volume: np.ndarray, z_min: float, z_max: float) -> None:
        """What was not clipped comes back in the series' own numbers."""
        brain = _brain()
        if volume[brain].std() < 1:
            return
        z, statistics = z_score(volume, brain)
        unit, same = normalise(volume, brain, z_min, z_max)
        assert same == statistics
        kept = brain & (z > z_min) & (z < z_max)
        back = from_unit(unit, z_min, z_max, statistics)
        np.testing.assert_allclose(
            back[kept], volume[kept], rtol=1e-4, atol=1e-4 * statistics.sd * (z_max - z_min) + 2e-3
        )

    def test_outside_the_brain_is_zero(self) -> None:
        """The network sees a stripped brain."""
        volume = np.random.default_rng(2).normal(100, 10, (4, 5, 6)).astype(np.float32)
        unit, _ = normalise(volume, _brain(), -3, 12)
        assert not unit[~_brain()].any()
        assert unit.min() >= 0
        assert unit.max() <= 1

    def test_limits_clip(self) -> None:
        """Beyond a limit is at the limit."""
        np.testing.assert_allclose(to_unit(np.array([-4.0, 13.0]), -3, 12), [0, 1])

    def test_prediction_above_one_is_not_clipped(self) -> None:
        """An unbounded head may go beyond the brightest input."""
        assert from_unit(np.array([1.2]), -3, 12, BrainStatistics(100, 10))[0] == pytest.approx(250)


def test_clipped_fraction() -> None:
    """One brain voxel of four lies above the limit."""
    z = np.array([0.0, 1.0, 5.0, 13.0, 99.0], dtype=np.float32)
    assert clipped_fraction(z, np.array([True, True, True, True, False]), 12) == 0.25
