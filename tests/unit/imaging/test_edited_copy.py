"""Whether one volume is another with a region changed: noise tells acquisitions apart, equal blocks tell copies."""

from __future__ import annotations

import numpy as np
import pytest

from enhancement.arrays import Volume
from enhancement.imaging.edited_copy import Relation, relation

SHAPE = (12, 48, 48)


def _head(seed: int, *, sigma: float = 12.0, scale: float = 1.0) -> Volume:
    """A smooth head of 300 to 700 in air, with noise, in whole numbers."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    inside = x**2 + y**2 + 0.3 * z**2 < 0.85
    clean = np.where(inside, 500 + 200 * np.sin(5 * x) * np.cos(4 * y), 3.0)
    noise = np.random.default_rng(seed).normal(0, sigma, SHAPE)
    return (np.rint(np.abs(clean + noise)) * scale).astype(np.float32)


def _brain() -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in SHAPE), indexing="ij")
    return np.asarray(x**2 + y**2 + 0.5 * z**2 < 0.45)


def _enhanced(volume: Volume) -> Volume:
    """As a result: smoother in the brain, a lesion much brighter, the rest as it was."""
    result = volume.copy()
    result[_brain()] = np.rint(0.5 * volume[_brain()] + 0.5 * np.median(volume[_brain()]))
    result[4:8, 20:26, 20:26] += 400
    return result


def test_an_enhanced_copy_is_the_brighter_one() -> None:
    """Whichever of both is asked about."""
    source = _head(1)
    assert relation(source, _enhanced(source)) is Relation.BRIGHTENED
    assert relation(_enhanced(source), source) is Relation.DARKENED


@pytest.mark.parametrize("sigma", [1.0, 2.0, 12.0, 40.0])
def test_two_acquisitions_are_apart(sigma: float) -> None:
    """Also with little noise, and where the second has contrast in it."""
    first, second = _head(1, sigma=sigma), _head(2, sigma=sigma)
    assert relation(first, second) is Relation.APART
    assert relation(first, _enhanced(second)) is Relation.APART


def test_a_whole_copy_is_the_same() -> None:
    """As is one whose face or skull was taken out, which is zero there."""
    source = _head(1)
    stripped = np.where(_brain(), source, 0).astype(np.float32)
    assert relation(source, source) is Relation.SAME
    assert relation(source, stripped) is Relation.SAME


def test_the_scanner_s_scale_does_not_matter() -> None:
    """A result is in whole numbers after rescale; its source may be of fractions."""
    source = _head(1, scale=1.7331)
    assert relation(source, np.rint(_enhanced(source))) is Relation.BRIGHTENED
    small = _head(1, scale=1e-4)
    stored = np.rint(_enhanced(_head(1)) / float(_head(1).max()) * 1e3).astype(np.float32)
    assert relation(small, small.copy()) is Relation.SAME
    assert relation(small, stored) is not Relation.SAME


def test_one_that_was_smoothed_is_changed() -> None:
    """Nothing tells which of both was there first."""
    source = _head(1)
    smoothed = source.copy()
    smoothed[_brain()] = np.rint((np.roll(source, 1, 2) + source + np.roll(source, -1, 2)) / 3)[_brain()]
    assert relation(source, smoothed) is Relation.CHANGED


def test_what_is_empty_or_masked_tells_nothing() -> None:
    """Zeros around a brain that was extracted are equal in every pair."""
    nothing = np.zeros(SHAPE, np.float32)
    first, second = (np.where(_brain(), _head(seed), 0).astype(np.float32) for seed in (1, 2))
    assert relation(nothing, nothing) is Relation.APART
    assert relation(first, second) is Relation.APART
