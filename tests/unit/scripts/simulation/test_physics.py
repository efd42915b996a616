"""The signal equations against closed forms, brute force and published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.physics import (
    Agent,
    Sequence,
    Tissue,
    fluid_attenuated,
    inversion_prepared_train,
    plasma_concentration,
    relaxed,
    signal,
    spin_echo,
    spoiled_gradient_echo,
)
from simulation.protocols import draw_protocol, tr_null_time

GADOTERATE = Agent("gadoterate", 3.5, 4.9, 6.86)
LESION = Tissue(t1_ms=1550, t2_ms=1e9, t2s_ms=1e9, pd=1.0, adc_mm2_s=1e-3)


def test_spoiled_gradient_echo_peaks_at_the_ernst_angle():
    flips = np.deg2rad(np.linspace(1, 60, 5000))
    best = flips[np.argmax(spoiled_gradient_echo(1000.0, 8.0, flips))]
    assert best == pytest.approx(np.arccos(np.exp(-8.0 / 1000.0)), abs=1e-3)


def test_spoiled_gradient_echo_equals_its_formula():
    e1 = np.exp(-6.1 / 1550)
    a = np.deg2rad(12)
    expected = np.sin(a) * (1 - e1) / (1 - e1 * np.cos(a))
    assert float(spoiled_gradient_echo(1550.0, 6.1, a)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("concentration_mm", "cep_percent"),
    [(0.025, 11), (0.05, 22), (0.1, 42), (0.2, 79), (0.4, 137), (0.8, 219), (1.2, 272)],
)
def test_contrast_enhancement_follows_the_papers_protocol(concentration_mm, cep_percent):
    sequence = Sequence("spgr", 6.1, 2.1, flip_deg=12)
    after, before = (
        float(signal(sequence, LESION, agent=GADOTERATE, concentration_mm=c)) for c in (concentration_mm, 0.0)
    )
    assert 100 * (after - before) / before == pytest.approx(cep_percent, abs=1.0)


def _brute_force_train(t1_ms: float, sequence: Sequence, flip: float) -> float:
    """Follow the magnetisation pulse by pulse until it repeats."""
    m, centre = 1.0, 0.0
    half = sequence.readouts // 2
    wait = max(sequence.ti_ms - half * sequence.tr_ms, 5.0)
    for _ in range(30):
        m = 1 - (1 + sequence.inversion_efficiency * m) * np.exp(-wait / t1_ms)
        for pulse in range(2 * half):
            if pulse == half:
                centre = abs(m) * np.sin(flip)
            m = 1 - (1 - m * np.cos(flip)) * np.exp(-sequence.tr_ms / t1_ms)
        m = 1 - (1 - m) * np.exp(-sequence.recovery_ms / t1_ms)
    return centre


@settings(max_examples=25, deadline=None)
@given(
    t1_ms=st.floats(250, 4200), tr_ms=st.floats(6, 10), ti_ms=st.floats(400, 1100), flip_deg=st.floats(6, 14),
    readouts=st.integers(40, 90), recovery_ms=st.floats(50, 1500),
)  # fmt: skip
def test_inversion_prepared_train_equals_brute_force(t1_ms, tr_ms, ti_ms, flip_deg, readouts, recovery_ms):
    sequence = Sequence("mprage", tr_ms, 3.0, flip_deg, ti_ms, 2 * readouts, recovery_ms)
    flip = np.deg2rad(flip_deg)
    expected = _brute_force_train(t1_ms, sequence, flip)
    assert float(inversion_prepared_train(t1_ms, sequence, flip)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_flair_nulls_fluid_at_its_null_time():
    tr = 7000.0
    sequence = Sequence("flair", tr, 0.0, ti_ms=tr_null_time(tr, 4200.0), inversion_efficiency=1.0)
    assert tr_null_time(tr, 4200.0) == pytest.approx(2200, rel=0.03)
    assert float(fluid_attenuated(4200.0, sequence)) < 1e-9
    assert float(fluid_attenuated(900.0, sequence)) > 0.6


def test_spin_echo_is_saturation_recovery_for_short_echoes():
    assert float(spin_echo(1000.0, 600.0, 0.0, np.pi / 2)) == pytest.approx(1 - np.exp(-0.6), rel=1e-12)


def test_diffusion_signal_gives_back_the_adc():
    tissue = Tissue(1000, 90, 60, 0.8, 0.93e-3)
    b0, b1000 = (float(signal(Sequence("dwi", 5000, 80, b_value=b), tissue)) for b in (0.0, 1000.0))
    assert np.log(b0 / b1000) / 1000 == pytest.approx(0.93e-3, rel=1e-12)


def test_relaxation_rates_add():
    assert float(relaxed(1000.0, 4.0, 0.5)) == pytest.approx(1000 / (1 + 2), rel=1e-12)


def test_plasma_after_a_full_dose():
    assert plasma_concentration(0.1, 5) == pytest.approx(0.65, abs=0.02)
    assert plasma_concentration(0.1, 10) == pytest.approx(0.52, abs=0.02)


@pytest.mark.parametrize("before", ["spgr", "mprage", "se"])
@pytest.mark.parametrize("after", ["spgr", "mprage", "se"])
def test_a_protocol_keeps_to_the_kinds_that_are_asked_for(before, after):
    protocol = draw_protocol(np.random.default_rng(2), (before, after))
    assert (protocol.t1.kind, protocol.t1c.kind) == (before, after)
    assert protocol.t1 != protocol.t1c
    assert protocol.field_t == draw_protocol(np.random.default_rng(2)).field_t


@pytest.mark.parametrize("kind", ["spgr", "mprage", "se"])
def test_more_agent_is_brighter_up_to_twice_the_dose(kind):
    rng = np.random.default_rng(3)
    sequences = [s for s in (draw_protocol(rng).t1c for _ in range(60)) if s.kind == kind]
    agent = Agent("any", 3.5, 4.9, 7.0)
    tissue = Tissue(1450, 85, 50, 0.86, 1e-3)
    assert len(sequences) > 2
    for sequence in sequences:
        values = [float(signal(sequence, tissue, agent=agent, concentration_mm=c)) for c in (0.0, 0.1, 0.2)]
        assert values[0] < values[1] < values[2] * 1.001
