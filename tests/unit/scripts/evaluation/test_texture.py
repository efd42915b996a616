"""Noise, glow, edges and the regions they are measured in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from evaluation.baselines import closed_form, smoothed
from evaluation.dose import Spgr
from evaluation.regions import dilate, find_regions, tissue_classes
from evaluation.texture import edge, glow, white_matter_noise

ONE = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def head() -> dict[str, np.ndarray]:
    """A ball of white matter (100) in grey matter (70) in CSF (25), one lesion, SD 2."""
    generator = np.random.default_rng(1)
    radius = np.linalg.norm(np.indices((64, 64, 64)) - 31.5, axis=0)
    clean = np.select([radius < 20, radius < 26, radius < 29], [100.0, 70.0, 25.0], 0.0)
    lesion = np.linalg.norm(np.indices((64, 64, 64)) - np.array([32, 32, 20])[:, None, None, None], axis=0) < 4
    brain = radius < 29
    t1 = ndimage.gaussian_filter(clean, 0.8) + 2 * generator.standard_normal(clean.shape)
    post = ndimage.gaussian_filter(np.where(lesion, 180, clean), 0.8)
    t1c = 3 * (post + 2 * generator.standard_normal(clean.shape))
    to32 = np.float32
    return {"t1": t1.astype(to32), "t1c": t1c.astype(to32), "brain": brain, "lesion": lesion, "radius": radius}


class TestRegions:
    def test_tissue_classes_are_the_shells(self, head: dict[str, np.ndarray]) -> None:
        """White matter inside, grey matter around it."""
        grey, white = tissue_classes(head["t1"], head["brain"], ONE)
        assert white[head["radius"] < 18].mean() > 0.99
        assert grey[(head["radius"] > 22) & (head["radius"] < 25)].mean() > 0.95

    def test_calm_tissue_keeps_away_from_the_lesion(self, head: dict[str, np.ndarray]) -> None:
        """Nothing within 5 mm of it counts as calm."""
        found = _regions(head)
        near = dilate(head["lesion"], 5, ONE)
        assert not (found.white & near).any()
        assert not (found.tissue & near).any()
        assert found.white.sum() > 5000

    def test_enhancing_tissue_is_not_calm_even_without_a_label(self, head: dict[str, np.ndarray]) -> None:
        """A lesion that nobody outlined is found by T1c/T1."""
        nothing = np.zeros_like(head["lesion"])
        found = find_regions(head["t1"], head["t1c"], head["brain"], lesion=nothing, abnormal=nothing)
        assert (found.tissue & head["lesion"]).sum() == 0

    def test_a_prior_stands_in_where_the_t1_does_not_tell_white_from_grey(self, head: dict[str, np.ndarray]) -> None:
        """Tissue of one brightness, and a bright vein that takes the class of the white matter for itself."""
        flat = np.where(head["radius"] < 26, 80.0, 25.0).astype(np.float32)
        flat += np.random.default_rng(4).normal(0, 0.3, flat.shape).astype(np.float32)
        flat[:, 20:24, 8:26] += 60
        nothing = np.zeros_like(head["lesion"])
        prior = head["radius"] < 20
        given = {"lesion": nothing, "abnormal": nothing}
        found = find_regions(flat, flat, head["brain"], white_prior=prior, **given)
        assert (found.white & ~prior).sum() == 0
        assert found.white.sum() > 0.6 * ndimage.binary_erosion(prior).sum()
        with pytest.raises(ValueError, match=r"^no calm white matter found$"):
            find_regions(flat, flat, head["brain"], white_prior=nothing, **given)

    def test_dilation_is_in_mm(self) -> None:
        """2 mm is two voxels of 1 mm, and one of 2 mm."""
        mask = np.zeros((9, 9, 9), dtype=bool)
        mask[4, 4, 4] = True
        assert dilate(mask, 2.0, (2.0, 1.0, 1.0))[:, 4, 4].sum() == 3
        assert dilate(mask, 2.0, (2.0, 1.0, 1.0))[4, :, 4].sum() == 5


class TestNoise:
    def test_sd_over_mean(self, head: dict[str, np.ndarray]) -> None:
        """SD 2 on 100: 0.02 (slightly less as a median)."""
        assert white_matter_noise(head["t1c"], _regions(head).white) == pytest.approx(0.02, abs=0.0015)

    def test_a_slow_bias_is_not_noise(self) -> None:
        """A ramp over the whole image hardly counts within 5 voxels."""
        ramp = np.broadcast_to(np.linspace(80, 120, 64), (64, 64, 64)).astype(np.float32)
        assert white_matter_noise(ramp, np.ones_like(ramp, dtype=bool)) < 0.01


class TestGlow:
    def test_the_same_image_does_not_glow(self, head: dict[str, np.ndarray]) -> None:
        """A constant factor is no glow."""
        found = glow(head["t1c"] * 1.7, head["t1c"], _regions(head).tissue, ONE)
        assert found.percentile_99 == pytest.approx(0, abs=1e-5)

    def test_a_glowing_part_is_seen(self, head: dict[str, np.ndarray]) -> None:
        """A part of the tissue 25 % too bright shows at the 99th percentile."""
        bright = np.where(np.indices((64, 64, 64))[0] > 44, 1.25, 1.0).astype(np.float32)
        found = glow(head["t1c"] * bright, head["t1c"], _regions(head).tissue, ONE)
        assert found.percentile_99 == pytest.approx(0.25, abs=0.01)
        assert 0.05 < found.above_10_percent < 0.25

    def test_glow_outside_calm_tissue_does_not_leak_in(self, head: dict[str, np.ndarray]) -> None:
        """A lesion made ten times brighter leaves the measure at zero."""
        regions = _regions(head)
        image = np.where(regions.tissue, head["t1c"], 10 * head["t1c"])
        assert glow(image, head["t1c"], regions.tissue, ONE).percentile_99 == pytest.approx(0, abs=1e-5)


class TestEdge:
    @pytest.mark.parametrize("width", [0.8, 1.5])
    def test_width_of_a_blurred_step(self, width: float) -> None:
        """A step blurred by a Gaussian has its SD as width, and its own height."""
        step = np.where(np.indices((40, 40, 40))[2] < 20, 70.0, 100.0)
        image = ndimage.gaussian_filter(step, [0, 0, width]).astype(np.float32)
        found = edge(image, image, np.ones_like(step, dtype=bool), ONE)
        # linear interpolation and the voxel's own width add a little
        assert found.width_mm == pytest.approx(np.hypot(width, 0.35), rel=0.10)
        assert found.height == pytest.approx(30, rel=0.05)

    def test_smoothing_widens_the_edge(self, head: dict[str, np.ndarray]) -> None:
        """Seen at the same places, the smoothed image is less sharp."""
        tissue = _regions(head).tissue
        plain = edge(head["t1c"], head["t1"], tissue, ONE)
        soft = edge(smoothed(head["t1c"], head["brain"], ONE), head["t1"], tissue, ONE)
        assert soft.width_mm > 1.1 * plain.width_mm

    def test_too_little_tissue_is_an_error(self) -> None:
        """No number from a handful of voxels."""
        image = np.zeros((10, 10, 10), dtype=np.float32)
        with pytest.raises(ValueError, match="edge points"):
            edge(image, image, np.zeros_like(image, dtype=bool), ONE)


class TestBaselines:
    def test_smoothing_lowers_noise_and_leaves_the_outside(self, head: dict[str, np.ndarray]) -> None:
        """White-matter noise falls; air is untouched."""
        found = smoothed(head["t1c"], head["brain"], ONE)
        white = _regions(head).white
        assert white_matter_noise(found, white) < 0.6 * white_matter_noise(head["t1c"], white)
        assert np.array_equal(found[~head["brain"]], head["t1c"][~head["brain"]])

    def test_closed_form_gives_the_signal_at_k_times_the_dose(self) -> None:
        """Noise-free, with T1 as assumed: the equation forward at 4 C, wherever the gain lies."""
        sequence, generator = Spgr(), np.random.default_rng(0)
        brain = np.ones((24, 24, 24), dtype=bool)
        t10 = 1.3
        density = 1 + 0.1 * generator.random(brain.shape)
        lesion = np.zeros_like(brain)
        lesion[10:14, 10:14, 10:14] = True
        rise = np.where(lesion, 0.7, 0.0)

        def image(times: float) -> np.ndarray:
            return (500 * density * sequence.signal(1 / (1 / t10 + times * rise))).astype(np.float32)

        found = closed_form(image(0) * np.float32(0.4), image(1), brain, tissue_t1_s=t10, denoise_fwhm_mm=0)
        assert found == pytest.approx(image(4), rel=0.02)


def _regions(head: dict[str, np.ndarray]):  # type: ignore[no-untyped-def]
    return find_regions(head["t1"], head["t1c"], head["brain"], lesion=head["lesion"], abnormal=head["lesion"])
