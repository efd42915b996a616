"""Tissues: contrasts that nobody has in a part of the patients, with the physics of enhancement kept."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.physics import Sequence, signal
from simulation.tissues import RANDOM_TISSUES, draw_agent, draw_brain_tissues, random_contrast

SPOILED = Sequence("spgr", 8.0, 3.0, flip_deg=12)


def _random(seed: int) -> dict:
    return random_contrast(np.random.default_rng(seed), draw_brain_tissues(np.random.default_rng(seed), 3.0), 1.0)


class TestRandomContrast:
    def test_the_share_of_patients(self) -> None:
        """None by default; of a share about so many."""
        tissues = draw_brain_tissues(np.random.default_rng(0), 3.0)
        assert random_contrast(np.random.default_rng(1), tissues, 0.0) is tissues
        drawn = sum(random_contrast(np.random.default_rng(s), tissues, 0.3) is not tissues for s in range(400))
        assert 0.2 < drawn / 400 < 0.4

    def test_any_healthy_tissue_may_be_the_brightest(self) -> None:
        """In T1 images white matter always is; here fluid is as often as not."""
        brightest = [
            max(("wm", "gm", "csf"), key=lambda name, t=tissues: float(signal(SPOILED, t[name])))
            for tissues in map(_random, range(200))
        ]
        assert all(40 < brightest.count(name) < 95 for name in ("wm", "gm", "csf"))

    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10_000))
    def test_all_else_keeps_its_physics(self, seed: int) -> None:
        """Blood, lesions and outer tissues are as drawn, T2 is shorter than T1, and agent brightens every tissue."""
        before, after = draw_brain_tissues(np.random.default_rng(seed), 3.0), _random(seed)
        assert {name for name in before if before[name] != after[name]} == set(RANDOM_TISSUES)
        agent = draw_agent(np.random.default_rng(seed), 3.0)
        for name in RANDOM_TISSUES:
            assert after[name].t2_ms < after[name].t1_ms
            assert after[name].t2s_ms <= after[name].t2_ms
            none, full = (float(signal(SPOILED, after[name], agent=agent, concentration_mm=c)) for c in (0.0, 0.1))
            assert full > none
