"""Choosing times adding: what the bound holds whatever the networks say, and that no lesion is dimmed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from enhancement.imaging.amplify import AmplifySettings, Answers, amplify, at_dose, choosing
from enhancement.imaging.measured_enhancement import Measured, measured_enhancement
from enhancement.imaging.scaled_subtraction import scaled_subtraction

SHAPE = (8, 8, 8)
BRAIN = np.ones(SHAPE, bool)
ANYTHING = arrays.arrays(np.float32, SHAPE, elements=st.floats(-1e6, 1e6, width=32))
MAYBE = arrays.arrays(np.float32, SHAPE, elements=st.floats(-1, 2, width=32))


def nothing_measured(voxel_noise=5.0):
    """Two series that measured no enhancement anywhere."""
    zero = np.zeros(SHAPE, np.float32)
    return Measured(zero, zero, noise=3.0, voxel_noise=voxel_noise, level=100.0)


def a_lesion(strength=60.0, size=3):
    """A calm brain of level 100 with noise, one lesion in it, and what a T1 and a T1c measure of it."""
    rng = np.random.default_rng(5)
    shape = (32, 32, 32)
    truth = np.zeros(shape, np.float32)
    truth[14 : 14 + size, 14 : 14 + size, 14 : 14 + size] = strength
    t1 = 100 + 25 * (np.indices(shape)[0] > 16) + rng.normal(0, 3, shape)
    t1c = (t1 + truth + rng.normal(0, 3, shape)).astype(np.float32)
    brain = np.ones(shape, bool)
    return truth, t1c, brain, measured_enhancement(t1.astype(np.float32), t1c, brain)


class TestBound:
    """Held by construction."""

    @settings(max_examples=60, deadline=None)
    @given(MAYBE, ANYTHING, ANYTHING, st.floats(1, 8))
    def test_nothing_is_added_where_nothing_was_measured(self, probability, noise, enhancement, k):
        """Whatever the networks answer: brighter only by what may be taken for noise."""
        t1c = np.full(SHAPE, 100, np.float32)
        shown = amplify(t1c, BRAIN, Answers(probability, noise, enhancement), nothing_measured(), k)
        assert shown.max() <= 100 + 3 * 5.0 + 1e-3

    @settings(max_examples=60, deadline=None)
    @given(MAYBE, ANYTHING, ANYTHING, st.floats(1, 8))
    def test_nothing_is_darker_than_noise_allows(self, probability, noise, enhancement, k):
        """Three standard deviations of a voxel's noise are the most that the denoising takes away."""
        t1c = np.full(SHAPE, 100, np.float32)
        shown = amplify(t1c, BRAIN, Answers(probability, noise, enhancement), nothing_measured(), k)
        assert shown.min() >= 100 - 3 * 5.0 - 1e-3

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 2**31), st.floats(1, 8))
    def test_no_more_than_the_measured_enhancement_allows(self, seed, k):
        """Certain networks that see a hundredfold enhancement add at most k - 1 times twice the measured one."""
        rng = np.random.default_rng(seed)
        excess = np.maximum(rng.normal(0, 10, SHAPE), 0).astype(np.float32)
        measured = Measured(excess, np.zeros(SHAPE, np.float32), 3.0, 5.0, 100.0)
        t1c = np.full(SHAPE, 100, np.float32)
        answers = Answers(np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32), np.full(SHAPE, 1e4, np.float32))
        shown = amplify(t1c, BRAIN, answers, measured, k)
        assert shown.max() <= 100 + (k - 1) * 2 * excess.max() + 1e-2

    def test_outside_the_brain_everything_stays(self):
        """Bit by bit."""
        brain = np.zeros(SHAPE, bool)
        t1c = np.random.default_rng(1).random(SHAPE).astype(np.float32)
        ones = np.ones(SHAPE, np.float32)
        assert np.array_equal(amplify(t1c, brain, Answers(ones, ones, ones), nothing_measured(), 4), t1c)

    def test_a_dose_below_one_is_refused(self):
        """There is no image of less agent than was given."""
        ones = np.ones(SHAPE, np.float32)
        with pytest.raises(ValueError, match=r"found 0\.5"):
            amplify(ones, BRAIN, Answers(ones, ones, ones), nothing_measured(), 0.5)


class TestLesion:
    """What it is for."""

    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_a_certain_lesion_is_amplified(self, size):
        """At four times the dose to at least 1.7 times more, on the mean."""
        truth, t1c, brain, measured = a_lesion(size=size)
        answers = Answers((truth > 0).astype(np.float32), np.zeros_like(truth), truth)
        shown = amplify(t1c, brain, answers, measured, 4)
        least = 0.5 if size == 2 else 1.2  # the measurement blurs a lesion of 2 mm
        assert (shown - t1c)[truth > 0].mean() > least * 60

    @pytest.mark.parametrize("strength", [15.0, 30.0, 60.0])
    @pytest.mark.parametrize("size", [2, 3, 5])
    def test_a_denoiser_that_takes_the_lesion_away_does_not_get_it(self, size, strength):
        """Half of a lesion taken for noise, where disease is likely: none of it is lost."""
        truth, t1c, brain, measured = a_lesion(strength, size)
        answers = Answers(0.5 * (truth > 0).astype(np.float32), 0.5 * truth, np.zeros_like(truth))
        shown = amplify(t1c, brain, answers, measured, 4)
        assert (shown - t1c)[truth > 0].mean() > -0.1 * strength

    def test_more_dose_adds_more(self):
        """Monotone in k, from nothing at 1."""
        added = [float(at_dose(np.float32(0.3), k, 1.0)) for k in (1, 2, 4, 8)]
        assert added == pytest.approx([0.0, 0.2727, 0.6923, 1.2353], abs=1e-3)

    def test_the_rim_of_a_lesion_is_shown_in_half(self):
        """By its neighbour."""
        probability = np.zeros(SHAPE, np.float32)
        probability[4, 4, 4] = 1
        assert choosing(probability)[4, 4, 3:7].tolist() == [0.5, 1.0, 0.5, 0.0]

    def test_settings_are_what_the_card_says(self):
        """A change of a default is a change of the images."""
        assert AmplifySettings() == AmplifySettings(noise_sds=2.0, headroom=2.0, denoise_sds=3.0)


class TestScaledSubtraction:
    """The baseline."""

    def test_it_adds_three_times_what_stands_out_of_the_noise(self):
        """At k = 4, in a lesion of 5 voxels' edge."""
        truth, t1c, brain, measured = a_lesion(size=7)
        shown = scaled_subtraction(t1c, brain, measured, 4)
        inside = truth > 0
        expected = 3 * (measured.excess_zyx - 2 * measured.noise)[inside].mean()
        assert (shown - t1c)[inside].mean() == pytest.approx(expected, rel=0.02)

    def test_calm_tissue_gets_less_noise_and_keeps_its_level(self):
        """Half smoothed."""
        _truth, t1c, brain, measured = a_lesion()
        calm = np.zeros_like(brain)
        calm[2:10, 2:10, 2:10] = True
        shown = scaled_subtraction(t1c, brain, measured, 4)
        assert shown[calm].std() < 0.85 * t1c[calm].std()
        assert shown[calm].mean() == pytest.approx(t1c[calm].mean(), rel=0.02)
