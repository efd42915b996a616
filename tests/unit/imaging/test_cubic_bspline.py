"""One spline basis, for the registration's histogram and the simulator's smooth fields."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from enhancement.imaging.cubic_bspline import cubic_bspline


class TestCubicBspline:
    @given(st.floats(0, 1, exclude_max=True))
    def test_weights_add_to_one_and_lose_nothing(self, t: float) -> None:
        """A constant stays a constant: weights add to 1, their derivatives to 0."""
        weights, derivatives = cubic_bspline(np.array([t]))
        assert np.all(weights >= 0)
        np.testing.assert_allclose(weights.sum(0), 1, rtol=1e-12)
        np.testing.assert_allclose(derivatives.sum(0), 0, atol=1e-12)

    @given(st.floats(0.001, 0.999))
    def test_derivatives_are_those_of_the_weights(self, t: float) -> None:
        """By central differences."""
        step = 1e-6
        ahead, behind = cubic_bspline(np.array([t + step]))[0], cubic_bspline(np.array([t - step]))[0]
        np.testing.assert_allclose(cubic_bspline(np.array([t]))[1], (ahead - behind) / (2 * step), atol=1e-7)

    def test_at_a_node(self) -> None:
        """1/6, 2/3, 1/6 and nothing of the fourth."""
        np.testing.assert_allclose(cubic_bspline(np.array([0.0]))[0][:, 0], [1 / 6, 2 / 3, 1 / 6, 0], rtol=1e-12)
