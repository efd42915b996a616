"""The gate's arithmetic: limits, verdicts, and the measures behind them."""

import numpy as np
import pytest
from scipy import ndimage

from enhancement.errors import GateRefused
from enhancement.imaging.gate.checks import Check, brightening, contrast_change, enforce
from enhancement.settings import Limit


def _check(value: float, *, at_most: bool = True, soft: float | None = 1.0, hard: float | None = 2.0) -> Check:
    return Check("NOISE_T1", value, Limit(soft=soft, hard=hard), at_most, "T1 is noisy")


class TestVerdict:
    @pytest.mark.parametrize(
        ("value", "at_most", "verdict"),
        [(0.5, True, "passed"), (1.5, True, "warned"), (2.5, True, "refused"), (float("nan"), True, "refused")],
    )
    def test_upper_limits(self, value: float, at_most: bool, verdict: str) -> None:
        """Below soft, between, above hard, and not a number."""
        assert _check(value, at_most=at_most).verdict == verdict

    def test_lower_limits(self) -> None:
        """The other way round."""
        assert _check(0.5, at_most=False, soft=2.0, hard=1.0).verdict == "refused"
        assert _check(3.0, at_most=False, soft=2.0, hard=1.0).verdict == "passed"

    def test_null_switches_a_limit_off(self) -> None:
        """No hard limit: a warning at most."""
        assert _check(99.0, hard=None).verdict == "warned"
        assert _check(99.0, soft=None, hard=None).verdict == "passed"


class TestEnforce:
    def test_warnings_come_back(self) -> None:
        """As sentences with the value and the limit."""
        assert enforce([_check(0.1), _check(1.5)]) == ("T1 is noisy: 1.5, at most 1 was needed",)

    def test_beyond_a_hard_limit_is_refused(self) -> None:
        """With the code of the check."""
        with pytest.raises(GateRefused, match=r"T1 is noisy: 3, at most 2 was needed") as error:
            enforce([_check(1.5), _check(3.0)])
        assert error.value.code == "GATE_NOISE_T1"


def _brain() -> np.ndarray:
    z, y, x = np.mgrid[:64, :64, :64]
    return (z - 32) ** 2 + (y - 32) ** 2 + (x - 32) ** 2 < 26**2


class TestBrightening:
    def test_vessels_brighten(self) -> None:
        """1 % of the brain 4 SDs brighter after contrast: well above the limit; swapped: well below."""
        rng, brain = np.random.default_rng(0), _brain()
        t1 = ndimage.gaussian_filter(rng.normal(0, 4, brain.shape), 2).astype(np.float32)
        t1c = t1 + rng.normal(0, 0.05, brain.shape).astype(np.float32)
        t1c[:, 30:33, 20:23] += 4
        t1c[:, 20:23, 40:43] += 4
        assert brightening(t1, t1c, brain) > 1.5
        assert brightening(t1c, t1, brain) < -1.5

    def test_a_receive_field_is_no_contrast(self) -> None:
        """Smooth differences count for nothing."""
        brain = _brain()
        t1 = np.random.default_rng(1).normal(0, 1, brain.shape).astype(np.float32)
        field = np.linspace(-1, 1, 64, dtype=np.float32)[None, None, :]
        assert abs(brightening(t1, t1 + field, brain)) < 0.2


class TestContrastChange:
    def _tissues(self) -> tuple[np.ndarray, np.ndarray]:
        brain = _brain()
        white = brain & (np.indices(brain.shape)[2] < 32)
        return white, brain & ~white

    def test_ratio_of_ratios_both_ways(self) -> None:
        """White to grey 1.1 in a spin echo, 1.65 in an MPRAGE: a factor 1.5 or its inverse; a gain is none."""
        white, grey = self._tissues()
        spin_echo = np.where(white, 110.0, 100.0).astype(np.float32)
        mprage = np.where(white, 3.3, 2.0).astype(np.float32)
        assert contrast_change(spin_echo, mprage, white, grey) == pytest.approx(1.5)
        assert contrast_change(mprage, spin_echo, white, grey) == pytest.approx(1 / 1.5)
        assert contrast_change(mprage, 7 * mprage, white, grey) == pytest.approx(1.0)

    def test_no_tissue_is_no_number(self) -> None:
        """Which is beyond every limit."""
        white, grey = self._tissues()
        image = white.astype(np.float32) + 1
        assert np.isnan(contrast_change(image, image, np.zeros_like(white), grey))
        assert np.isnan(contrast_change(image, np.zeros_like(image), white, grey))
