"""Smooth fields, deformation and corruption."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.corruption import (
    add_ghost,
    add_noise,
    apply_operators,
    axis_kernel,
    axis_operator,
    draw_series,
    draw_shift,
    warp_along,
)
from simulation.deformation import Deformation, draw_deformation
from simulation.fields import bias_field, evaluate, smooth_noise, stream

SHAPE = (40, 48, 44)


def test_splines_of_equal_coefficients_are_constant():
    np.testing.assert_allclose(evaluate(np.full((6, 7, 8), 2.5), SHAPE), 2.5, rtol=1e-5)


def test_streams_are_named_and_repeatable():
    first, again, other = (stream(7, name).standard_normal(4) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@settings(max_examples=10, deadline=None)
@given(sd=st.floats(0.02, 0.3), points=st.integers(1, 4))
def test_bias_field_has_the_asked_spread(sd, points):
    field = bias_field(np.random.default_rng(1), SHAPE, sd, points)
    assert np.log(field).std() == pytest.approx(sd, rel=1e-3)
    assert (field > 0).all()


@settings(max_examples=20, deadline=None)
@given(psf=st.floats(0.2, 0.8), thickness=st.floats(1, 6), shift=st.floats(-1, 1))
def test_acquisition_keeps_a_constant_image(psf, thickness, shift):
    operators = tuple(axis_operator(n, psf, thickness, shift) for n in SHAPE)
    np.testing.assert_allclose(apply_operators(np.ones(SHAPE, np.float32), operators), 1, atol=2e-4)


def test_kernel_moves_by_its_shift():
    line = np.zeros((41, 1, 1), np.float32)
    line[20] = 1
    one = np.ones(1, np.float32)
    moved = apply_operators(line, (axis_kernel(0.6, 0.7), one, one))[:, 0, 0]
    assert (np.arange(41) * moved).sum() == pytest.approx(20 - 0.7, abs=0.02)
    dense = apply_operators(line, (axis_operator(41, 0.6, 1.0, 0.7), one, one))[:, 0, 0]
    assert (np.arange(41) * dense).sum() == pytest.approx(20 - 0.7, abs=0.02)


def test_noise_is_rician():
    draw = draw_series(np.random.default_rng(2))
    draw = type(draw)(**{**draw.__dict__, "noise_shape": 0.0, "noise_psf_mm": 0.0})
    air = add_noise(np.zeros((60, 60, 60), np.float32), draw, 10.0)
    assert air.mean() == pytest.approx(10 * np.sqrt(np.pi / 2), rel=0.01)
    bright = add_noise(np.full((60, 60, 60), 1000, np.float32), draw, 10.0)
    assert bright.std() == pytest.approx(10, rel=0.02)


def test_correlated_noise_keeps_its_level():
    draw = draw_series(np.random.default_rng(2))
    draw = type(draw)(**{**draw.__dict__, "noise_shape": 0.0, "noise_psf_mm": 0.5})
    assert add_noise(np.full((60, 60, 60), 1000, np.float32), draw, 10.0).std() == pytest.approx(10, rel=0.05)


def test_ghost_only_where_drawn():
    draw = draw_series(np.random.default_rng(2))
    image = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    assert add_ghost(image, type(draw)(**{**draw.__dict__, "ghost": 0.0})) is image


def test_shifts_stay_within_their_limit():
    rng = np.random.default_rng(5)
    lengths = np.array([np.linalg.norm(draw_shift(rng)) for _ in range(2000)])
    assert lengths.max() <= 1.0
    assert (lengths > 0).mean() == pytest.approx(0.7, abs=0.04)


def test_warp_along_an_axis():
    ramp = np.broadcast_to(np.arange(48, dtype=np.float32)[None, :, None], SHAPE)
    moved = warp_along(np.ascontiguousarray(ramp), np.full(SHAPE, 2.5, np.float32), 1)
    np.testing.assert_allclose(moved[:, :40], ramp[:, :40] + 2.5, atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_deformation_maps_points_as_it_maps_volumes(seed):
    draw = draw_deformation(np.random.default_rng(seed), SHAPE, shift=1.0)
    deformation = Deformation(draw, SHAPE)
    atlas = np.array([[20.0, 24.0, 22.0], [15.0, 30.0, 18.0]])
    grid = [np.ascontiguousarray(g) for g in np.indices(SHAPE, dtype=np.float32)]
    where = deformation.sample(grid, [0.0, 0.0, 0.0])
    for point, patient in zip(atlas, deformation.to_patient(atlas), strict=True):
        at = tuple(np.rint(patient).astype(int))
        found = np.array([w[at] for w in where])
        assert np.linalg.norm(found - point - (np.rint(patient) - patient)) < 1.0


def test_deformation_does_not_fold():
    draw = draw_deformation(np.random.default_rng(11), (80, 96, 80))
    where = Deformation(draw, (80, 96, 80)).sample(
        [np.ascontiguousarray(g) for g in np.indices((80, 96, 80), dtype=np.float32)], [0.0] * 3
    )
    inner = (slice(12, -12),) * 3
    jacobian = np.stack([np.stack(np.gradient(w), -1) for w in where], -2)[inner]
    assert (np.linalg.det(jacobian) > 0).mean() > 0.999


def test_noise_has_unit_spread():
    assert smooth_noise(np.random.default_rng(0), SHAPE, 6).std() == pytest.approx(1, rel=1e-3)
