"""The statistics of the paper: two-tailed, 5 %.

From SciPy where it has them; McNemar's mid-p, which neither SciPy nor statsmodels has, is four lines here.
Lesions of one patient are not independent, so a bootstrap over patients stands beside McNemar and
Clopper-Pearson, which treat them as if they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Interval = tuple[float, float]


def clopper_pearson(found: int, total: int, *, level: float = 0.95) -> Interval:
    """Exact interval of a proportion; (0, 1) where nothing was counted.

    Examples
    --------
    >>> low, high = clopper_pearson(106, 187)
    >>> round(low, 3), round(high, 3)
    (0.493, 0.639)
    """
    if total == 0:
        return 0.0, 1.0
    interval = stats.binomtest(found, total).proportion_ci(confidence_level=level, method="exact")
    return float(interval.low), float(interval.high)


def mcnemar_mid_p(only_first: int, only_second: int) -> float:
    """McNemar's test with the mid-p correction (Fagerland 2013) on the discordant pairs.

    Examples
    --------
    >>> float(f"{mcnemar_mid_p(4, 36):.3g}")
    1.03e-07
    """
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    fewer = min(only_first, only_second)
    p = 2 * stats.binom.cdf(fewer, discordant, 0.5) - stats.binom.pmf(fewer, discordant, 0.5)
    return float(min(p, 1.0))


def paired_t(first: ArrayLike, second: ArrayLike) -> float:
    """P of the paired t-test; pairs with a NaN are left out, NaN below two pairs."""
    a, b = _pairs(first, second)
    if len(a) < 2:
        return float("nan")
    if np.all(a == b):
        return 1.0
    if np.ptp(a - b) == 0:  # the same difference everywhere: t is infinite
        return 0.0
    return float(stats.ttest_rel(a, b).pvalue)


def wilcoxon(first: ArrayLike, second: ArrayLike) -> float:
    """P of the Wilcoxon signed-rank test, `zero_method="wilcox"`: ties of zero are dropped.

    False-positive counts mostly tie at zero; "wilcox" is the classical choice and the one that the paper's
    software takes. 1.0 where all pairs tie.
    """
    a, b = _pairs(first, second)
    if len(a) == 0 or np.all(a == b):
        return 1.0
    return float(stats.wilcoxon(a, b, zero_method="wilcox").pvalue)


def student_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Student's interval of a mean; NaN below two values."""
    sample = np.asarray(values, dtype=np.float64)
    sample = sample[np.isfinite(sample)]
    if len(sample) < 2:
        return float("nan"), float("nan")
    error = float(stats.sem(sample))
    if error == 0:
        return float(sample.mean()), float(sample.mean())
    low, high = stats.t.interval(level, len(sample) - 1, loc=sample.mean(), scale=error)
    return float(low), float(high)


def patient_bootstrap(
    patients: Sequence[NDArray[np.float64]],
    statistic: Callable[[NDArray[np.float64]], float],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile interval by drawing whole patients with replacement.

    Parameters
    ----------
    patients : one (rows, columns) array per patient
        For instance a row per lesion; patients may have none.
    statistic : callable
        Of the stacked rows of the drawn patients; a NaN result is left out.
    """
    generator = np.random.default_rng(seed)
    count = len(patients)
    if count == 0:
        return float("nan"), float("nan")
    results = []
    for _ in range(resamples):
        drawn = generator.integers(0, count, count)
        results.append(statistic(np.concatenate([patients[i] for i in drawn], axis=0)))
    finite = np.asarray(results)[np.isfinite(results)]
    if len(finite) == 0:
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired samples differ in length: {a.shape} and {b.shape}")
    keep = np.isfinite(a) & np.isfinite(b)
    return a[keep], b[keep]
