"""Contrast, gain, dose, fidelity: against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.dose import InversionPrepared, Spgr, equivalent_dose, simulated_sequence
from evaluation.fidelity import fidelity, psnr
from evaluation.measures import Contrast, common_gain, contrast, gain
from simulation.physics import Agent, Tissue, signal
from simulation.protocols import draw_protocol


@pytest.fixture
def case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Brain 90 and 110 (mean 100, SD 10), lesion 180 and 220 (mean 200)."""
    image = np.array([[[90.0, 110.0, 180.0, 220.0]]], dtype=np.float32)
    lesion = np.array([[[False, False, True, True]]])
    return image, lesion, ~lesion


class TestContrast:
    def test_cnr_lbr_cep_by_hand(self, case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """(200 - 100)/10, 200/100 and 100 (200 - 80)/80."""
        image, lesion, brain = case
        found = contrast(image, lesion, brain, before=np.full_like(image, 80))
        assert (found.cnr, found.lbr, found.cep, found.brain_snr) == pytest.approx((10, 2, 150, 10))

    def test_without_a_t1_there_is_no_cep(self, case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """CEP is not a number rather than a guess."""
        assert np.isnan(contrast(*case).cep)

    def test_empty_lesion_is_refused(self, case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        """A case without lesion has no contrast, and must not enter a mean as zero."""
        image, lesion, brain = case
        with pytest.raises(ValueError, match="at least one voxel"):
            contrast(image, np.zeros_like(lesion), brain)

    @settings(deadline=None)
    @given(st.floats(0.1, 1000))
    def test_contrast_does_not_depend_on_the_receiver_gain(self, factor: float) -> None:
        """All three are ratios of intensities."""
        image = np.array([[[90.0, 110.0, 180.0, 220.0]]], dtype=np.float32)
        lesion = np.array([[[False, False, True, True]]])
        before = np.full_like(image, 80)
        plain = contrast(image, lesion, ~lesion, before=before)
        scaled = contrast(image * np.float32(factor), lesion, ~lesion, before=before * np.float32(factor))
        assert scaled.as_dict() == pytest.approx(plain.as_dict(), rel=1e-4)

    def test_smoothing_is_noise_gain_and_not_contrast(self) -> None:
        """Half of the noise at the same contrast doubles CNR; the contrast part stays at 1."""
        found = gain(Contrast(20, 1.5, 0, 40), Contrast(10, 1.5, 0, 20))
        assert (found.cnr, found.contrast, found.noise) == pytest.approx((2, 1, 2))

    def test_published_cnr_is_half_contrast_half_noise(self) -> None:
        """Table 4 of Bône 2022: 9.1 to 44.5 = x2.1 contrast times x2.3 noise."""
        found = gain(Contrast(44.5, 1.66, 0, 44.5 / 0.66), Contrast(9.1, 1.31, 0, 9.1 / 0.31))
        assert found.cnr == pytest.approx(found.contrast * found.noise)
        assert (found.contrast, found.noise) == pytest.approx((2.13, 2.30), abs=0.01)

    def test_common_gain_is_the_median_ratio(self) -> None:
        """One odd voxel does not move it."""
        before = np.ones((1, 1, 5), dtype=np.float32)
        after = np.array([[[2, 2, 2, 2, 50]]], dtype=np.float32)
        assert common_gain(before, after, np.ones_like(before, dtype=bool)) == 2


class TestDose:
    @settings(deadline=None)
    @given(st.floats(0.5, 3.0), st.floats(0.01, 6.0), st.floats(0.004, 0.012), st.floats(8, 20))
    def test_spgr_inversion_recovers_the_relaxation_rate(
        self, t1_s: float, rise: float, repetition_time_s: float, flip_angle_deg: float
    ) -> None:
        """Forward and back is the identity."""
        sequence = Spgr(repetition_time_s, flip_angle_deg)
        ratio = sequence.signal(1 / (1 / t1_s + rise)) / sequence.signal(t1_s)
        assert float(sequence.delta_r1(ratio, t1_s)) == pytest.approx(rise, rel=1e-5)

    @pytest.mark.parametrize(("concentration_mm", "cep"), [(0.025, 11), (0.1, 42), (0.2, 79), (0.4, 137), (0.8, 219)])
    def test_spgr_signal_gives_the_published_enhancement(self, concentration_mm: float, cep: float) -> None:
        """3 T, lesion T1 1.55 s, r1 3.5, TE 2.1 ms and r2* 4.9: CEP of the method's table."""
        sequence = Spgr()
        ratio = sequence.signal(1 / (1 / 1.55 + 3.5 * concentration_mm)) / sequence.signal(1.55)
        decay = np.exp(-0.0021 * 4.9 * concentration_mm)
        assert 100 * (float(ratio) * decay - 1) == pytest.approx(cep, abs=1)

    def test_beyond_saturation_is_infinite(self) -> None:
        """No relaxation rate explains a signal above M0 sin a."""
        assert np.isinf(Spgr().delta_r1(1000.0, 1.5))

    @settings(deadline=None)
    @given(st.floats(0.7, 2.5), st.floats(0.05, 4.0))
    def test_inversion_prepared_by_bisection_recovers_the_rate(self, t1_s: float, rise: float) -> None:
        """The same by bisection, within its tolerance, where the signal is positive before contrast."""
        sequence = InversionPrepared(inversion_time_s=1.0, recovery_s=1.0)
        before = sequence.signal(t1_s)
        if before <= 0.005:
            return
        ratio = sequence.signal(1 / (1 / t1_s + rise)) / before
        assert sequence.delta_r1(ratio, t1_s) == pytest.approx(rise, rel=1e-3)

    def test_inversion_prepared_agrees_with_a_cycle_played_out(self) -> None:
        """The fixed point equals 200 cycles simulated flip by flip."""
        sequence = InversionPrepared()
        t1, angle, magnetisation, read = 1.2, np.deg2rad(sequence.flip_angle_deg), 1.0, 0.0
        half = sequence.readouts // 2
        wait = max(sequence.inversion_time_s - half * sequence.echo_spacing_s, 0)
        for _ in range(200):
            magnetisation = 1 - (1 + sequence.efficiency * magnetisation) * np.exp(-wait / t1)
            for flip in range(sequence.readouts):
                if flip == half:
                    read = np.sin(angle) * magnetisation
                e1 = np.exp(-sequence.echo_spacing_s / t1)
                magnetisation = 1 - (1 - np.cos(angle) * magnetisation) * e1
            magnetisation = 1 - (1 - magnetisation) * np.exp(-sequence.recovery_s / t1)
        assert sequence.signal(t1) == pytest.approx(read, rel=1e-6)

    def test_published_quadruple_dose_acts_like_1_4(self) -> None:
        """CEP 85.6 % and 112.4 % at TR 6.1 ms, 12 degrees, 3 T."""
        factor = equivalent_dose(1, 1.856, 2.124, delta_r1=Spgr().delta_r1, t1_before_s=1.55)
        assert factor == pytest.approx(1.40, abs=0.02)

    @pytest.mark.parametrize("seed", range(12))
    def test_a_simulated_protocols_own_sequence_gives_the_dose_back(self, seed: int) -> None:
        """The simulator's signals at 0, 0.05 and 0.15 mM, without T2 and T2*: three times the dose."""
        t1c = draw_protocol(np.random.default_rng(seed), ("spgr", ("spgr", "mprage", "se")[seed % 3])).t1c
        tissue = Tissue(1500.0, 1e9, 1e9, 1.0, 0.0)
        agent = Agent("agent", 4.5, 0.0, 0.0)
        none, once, thrice = (float(signal(t1c, tissue, agent=agent, concentration_mm=c)) for c in (0, 0.05, 0.15))
        factor = equivalent_dose(none, once, thrice, delta_r1=simulated_sequence(asdict(t1c)).delta_r1, t1_before_s=1.5)
        assert factor == pytest.approx(3, abs=0.01)

    def test_an_unknown_sequence_is_refused(self) -> None:
        """A FLAIR is not inverted for agent."""
        with pytest.raises(ValueError, match="found 'flair'"):
            simulated_sequence({"kind": "flair", "tr_ms": 9000.0, "flip_deg": 90.0})

    def test_no_rise_no_factor(self) -> None:
        """A lesion that doesn't enhance in T1c has no dose factor."""
        assert np.isnan(equivalent_dose(1, 1, 1.5, delta_r1=Spgr().delta_r1, t1_before_s=1.55))


class TestFidelity:
    def test_psnr_over_the_volume_is_better_than_in_the_brain(self) -> None:
        """Error 0.1 in an eighth of the volume: 20 dB in the brain, 9.03 dB more over the volume."""
        brain = np.zeros((16, 16, 16), dtype=bool)
        brain[4:12, 4:12, 4:12] = True
        reference = np.where(brain, 0.5, 0).astype(np.float32)
        found = fidelity(reference + np.float32(0.1), reference, brain)
        assert found.l2 == pytest.approx(0.01 / 8, rel=1e-5)
        assert found.psnr_brain == pytest.approx(20, abs=1e-4)
        assert found.psnr_volume == pytest.approx(20 + 10 * np.log10(8), abs=1e-4)
        assert found.psnr_brain_own_peak == pytest.approx(20 + 20 * np.log10(0.5), abs=1e-4)

    def test_published_l2_is_a_whole_volume_psnr(self) -> None:
        """ISBI 2021: L2 31.6e-5 stands beside 35.3 dB (mean of dB) with peak 1."""
        assert psnr(31.6e-5) == pytest.approx(35.0, abs=0.01)

    def test_identical_images(self) -> None:
        """Infinite PSNR, SSIM of one."""
        image = np.random.default_rng(0).random((16, 16, 16)).astype(np.float32)
        found = fidelity(image, image, np.ones_like(image, dtype=bool))
        assert np.isinf(found.psnr_brain)
        assert found.ssim_brain == pytest.approx(1)

    def test_lesion_l2_is_over_the_lesion(self) -> None:
        """An error outside the lesion does not count."""
        reference = np.zeros((12, 12, 12), dtype=np.float32)
        image = reference.copy()
        image[0, 0, 0], image[5, 5, 5] = 1.0, 0.2
        lesion = np.zeros_like(reference, dtype=bool)
        lesion[5, 5, 5] = True
        assert fidelity(image, reference, np.ones_like(lesion), lesion).lesion_l2 == pytest.approx(0.04)

    def test_shapes_must_agree(self) -> None:
        """Volumes of two grids are not compared."""
        with pytest.raises(ValueError, match="shapes differ"):
            fidelity(np.zeros((8, 8, 8), np.float32), np.zeros((8, 8, 9), np.float32), np.ones((8, 8, 8), bool))
