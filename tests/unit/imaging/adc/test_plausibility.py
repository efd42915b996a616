"""Whether a map can be the ADC of a brain: its median, and how much of it has no fit."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from enhancement.imaging.adc.plausibility import implausible, middle_of

HEAD = np.ones((12, 24, 24), dtype=bool)


def _map(value: float, *, zeros: float = 0.0) -> sitk.Image:
    rng = np.random.default_rng(0)
    values = rng.normal(value, 0.05 * value, HEAD.shape)
    values[rng.random(HEAD.shape) < zeros] = 0.0
    return sitk.GetImageFromArray(values.astype(np.float32))


@pytest.mark.parametrize("median", [0.62e-3, 0.75e-3, 0.84e-3, 1.1e-3])
def test_brains_are_plausible(median: float) -> None:
    """Of adults and children from the second year on; large ventricles too."""
    assert implausible(_map(median), HEAD) == ""


@pytest.mark.parametrize("median", [1.2e-3, 1.35e-3, 1.5e-3])
def test_a_newborn_s_map_is_dropped_and_the_reason_says_so(median: float) -> None:
    """It cannot be told from a map of a wrong scale, and the ADC is optional."""
    assert implausible(_map(median), HEAD).endswith(
        "is not that of a grown brain (5.80e-04 to 1.15e-03); a newborn's can be, and is not told from a wrong scale"
    )


@pytest.mark.parametrize("median", [0.2e-3, 0.5e-3, 2.4e-3])
def test_a_wrong_scale_is_told_without_newborns(median: float) -> None:
    told = implausible(_map(median), HEAD)
    assert told.endswith("is not that of a grown brain (5.80e-04 to 1.15e-03)")


def test_a_signal_that_does_not_fall() -> None:
    """Voxels without a fit are zero."""
    assert implausible(_map(0.8e-3, zeros=0.2), HEAD).startswith("the signal does not fall with b in ")
    assert implausible(_map(0.8e-3, zeros=0.02), HEAD) == ""


def test_too_little_of_a_head_is_not_judged() -> None:
    """A few voxels, and none."""
    few = np.zeros_like(HEAD)
    few[5, 5, 5] = True
    assert implausible(_map(3e-3), few) == ""
    assert implausible(_map(3e-3), np.zeros_like(HEAD)) == ""
    assert not middle_of(np.zeros_like(HEAD)).any()
