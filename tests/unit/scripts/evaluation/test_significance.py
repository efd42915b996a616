"""Statistics against published and textbook numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.significance import (
    clopper_pearson,
    mcnemar_mid_p,
    paired_t,
    patient_bootstrap,
    student_interval,
    wilcoxon,
)


class TestProportions:
    def test_exact_interval_of_the_papers_reader(self) -> None:
        """106 of 187."""
        assert clopper_pearson(106, 187) == pytest.approx((0.493, 0.639), abs=5e-4)

    def test_rule_of_three(self) -> None:
        """0 of 30: from 0 to 1 - 0.025^(1/30)."""
        assert clopper_pearson(0, 30) == pytest.approx((0, 1 - 0.025 ** (1 / 30)))

    def test_nothing_counted(self) -> None:
        """Nothing is known."""
        assert clopper_pearson(0, 0) == (0.0, 1.0)

    def test_mid_p(self) -> None:
        """b = 4, c = 36."""
        assert mcnemar_mid_p(4, 36) == pytest.approx(1.03e-7, rel=0.005)

    def test_mid_p_is_the_exact_p_less_one_outcome(self) -> None:
        """The exact test of statsmodels, minus the probability of the outcome itself."""
        from scipy.stats import binom
        from statsmodels.stats.contingency_tables import mcnemar

        exact = mcnemar([[0, 4], [36, 0]], exact=True).pvalue
        assert exact == pytest.approx(1.86e-7, rel=0.005)
        assert mcnemar_mid_p(4, 36) == pytest.approx(exact - binom.pmf(4, 40, 0.5), rel=1e-9)

    @settings(deadline=None)
    @given(st.integers(0, 60), st.integers(0, 60))
    def test_mid_p_is_symmetric_and_a_probability(self, b: int, c: int) -> None:
        """Order does not matter."""
        assert mcnemar_mid_p(b, c) == mcnemar_mid_p(c, b)
        assert 0 < mcnemar_mid_p(b, c) <= 1


class TestMeans:
    def test_students_sleep_data(self) -> None:
        """Student 1908: t = -4.0621, 9 degrees of freedom, P = 0.00283."""
        first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
        second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
        assert paired_t(first, second) == pytest.approx(0.002833, abs=1e-6)

    def test_wilcoxons_depression_data(self) -> None:
        """Hollander and Wolfe: nine pairs, exact two-sided P = 0.0390625."""
        before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
        after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
        assert wilcoxon(before, after) == pytest.approx(0.0390625)

    def test_all_ties(self) -> None:
        """Equal counts everywhere are no difference."""
        assert wilcoxon([0, 1, 0], [0, 1, 0]) == 1
        assert paired_t([1, 2], [1, 2]) == 1

    def test_student_interval(self) -> None:
        """1..5: 3 ± 2.776 x 0.7071."""
        assert student_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 1.963, 3 + 1.963), abs=1e-3)

    def test_missing_pairs_are_left_out(self) -> None:
        """NaN in either takes both away."""
        full = paired_t([1, 2, 4], [2, 4, 5])
        assert paired_t([1, 2, np.nan, 4], [2, 4, 9, 5]) == full

    def test_bootstrap_draws_patients(self) -> None:
        """Ten patients of 50 equal lesions each: as wide as for ten values, not for 500."""
        patients = [np.full((50, 1), float(i % 2)) for i in range(10)]
        low, high = patient_bootstrap(patients, lambda rows: float(rows.mean()))
        assert low <= 0.2
        assert high >= 0.8
