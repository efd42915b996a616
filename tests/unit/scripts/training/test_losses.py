"""The loss terms, and the target that they are held against."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity as reference_ssim

from enhancement.network.architectures.residual_unet import LARGEST_GAIN, ResidualUNet, initialise
from training.losses import compute_loss, gradient_error, soft_dice, structural_similarity
from training.recipe import LossWeights
from training.sampling import Sample
from training.simulated import focal_target, in_the_field_of

SHAPE = (1, 1, 14, 14, 14)


def sample(target=None):
    torch.manual_seed(0)
    weight = torch.zeros(SHAPE)
    weight[..., 4:8, 4:8, 4:8] = 2.0
    inputs, target = torch.rand(1, 4, 14, 14, 14), torch.rand(SHAPE) if target is None else target
    return Sample(inputs, target, torch.ones(SHAPE), weight, inputs[:, :1])


class TestTerms:
    """Each term is zero for a perfect prediction and grows with what it is for."""

    @pytest.mark.parametrize("name", ["l1", "mse", "gradient", "ssim", "lesion", "false_enhancement", "difference"])
    def test_zero_where_nothing_is_wrong(self, name):
        """Prediction equals target."""
        given = sample()
        total, terms = compute_loss(LossWeights(**{name: 2.0}), given.target.clone(), given)
        assert float(total) == pytest.approx(0, abs=1e-6)
        assert list(terms) == [name]

    def test_weights_multiply_their_terms(self):
        """The total is the weighted sum."""
        given = sample()
        total, terms = compute_loss(LossWeights(l1=2, mse=3), given.target + 0.1, given)
        assert float(total) == pytest.approx(2 * terms["l1"] + 3 * terms["mse"], rel=1e-5)
        assert terms["l1"] == pytest.approx(0.1, rel=1e-4)

    def test_an_error_in_a_lesion_costs_more_than_one_elsewhere(self):
        """The term for known lesions looks nowhere else."""
        given = sample()
        inside, outside = given.target.clone(), given.target.clone()
        inside[..., 5, 5, 5] += 1
        outside[..., 11, 11, 11] += 1
        weights = LossWeights(lesion=1)
        assert compute_loss(weights, inside, given)[0] > 0
        assert compute_loss(weights, outside, given)[0] == 0

    def test_a_blob_in_the_wrong_place_is_false_enhancement(self):
        """27 voxels shown 0.5 above the target: the middle counts in full, the rest by what of its cube is raised."""
        given = sample()
        blob = given.target.clone()
        blob[..., 9:12, 9:12, 9:12] += 0.5
        raised = torch.zeros(SHAPE)
        raised[..., 9:12, 9:12, 9:12] = 0.5
        mean = torch.nn.functional.avg_pool3d(raised, 3, stride=1, padding=1)
        excess = float((mean - 0.1).clamp_min(0)[given.weight < 0.1].sum())
        weights = LossWeights(false_enhancement=1, false_enhancement_threshold=0.1)
        _, terms = compute_loss(weights, blob, given)
        assert terms["false_enhancement"] == pytest.approx(excess / (64 * 2 + 1000), rel=1e-4)
        assert excess > 2

    @pytest.mark.parametrize("change", ["below the target", "in a lesion", "beyond the brain", "under the threshold"])
    def test_what_is_no_false_enhancement(self, change):
        """Too little is another term's; a lesion and the air around may be brighter than asked for."""
        given = sample()
        error = torch.zeros(SHAPE)
        if change == "below the target":
            error[..., 9:12, 9:12, 9:12] = -0.5
        elif change == "in a lesion":
            error[..., 5:7, 5:7, 5:7] = 0.5
        elif change == "beyond the brain":
            given.brain[..., 10:] = 0
            error[..., 12:] = 0.5
        else:
            error[..., 9:12, 9:12, 9:12] = 0.015
        _, terms = compute_loss(LossWeights(false_enhancement=1), given.target + error, given)
        assert terms["false_enhancement"] == 0

    def test_an_offset_costs_nothing_in_the_gradient_term(self):
        """It sees edges, not levels."""
        assert float(gradient_error(torch.full(SHAPE, 0.3), torch.ones(SHAPE))) == 0

    def test_ssim_equals_the_reference(self):
        """scikit-image, uniform 7x7x7 windows, the whole interior."""
        rng = np.random.default_rng(0)
        a = rng.random((20, 20, 20)).astype(np.float32)
        b = (a + rng.normal(0, 0.1, a.shape)).astype(np.float32)
        expected = reference_ssim(a, b, win_size=7, data_range=1.0, use_sample_covariance=False)
        found = structural_similarity(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None], stride=1)
        assert float(found) == pytest.approx(expected, abs=2e-3)

    def test_dice(self):
        """Half of a cube found."""
        target = torch.zeros(SHAPE)
        target[..., :10, :10, :10] = 1
        found = torch.zeros(SHAPE)
        found[..., :5, :10, :10] = 1
        assert float(soft_dice(found, target)) == pytest.approx(2 * 500 / 1500, abs=0.01)


class TestFocalTarget:
    """Four times the dose where something enhances, calm brain as it was."""

    def scene(self, enhancement, *, disease_only=False):
        rng = np.random.default_rng(0)
        none = rng.normal(300, 10, (20, 20, 20)).astype(np.float32)
        labels = np.zeros(none.shape, np.uint8)
        labels[5:9, 5:9, 5:9] = 3
        labels[15:17, 15:17] = 4
        brain = np.ones(none.shape, bool)
        full = 1.05 * none + enhancement * (labels > 0)
        return focal_target(full, none, labels, brain, disease_only=disease_only), full, labels

    def test_calm_brain_stays(self):
        """Also where the agent lifts all of it by 5 %."""
        target, full, labels = self.scene(100)
        np.testing.assert_allclose(target[labels == 0], full[labels == 0], rtol=1e-3)

    @pytest.mark.parametrize(("added", "expected"), [(0.1, 0.37), (0.3, 0.99), (0.6, 1.7)])
    def test_enhancement_grows_and_saturates(self, added, expected):
        """F + 3 F / (1 + F / B), in units of the brain's mean."""
        target, full, labels = self.scene(added * 315)
        gained = (target - full + added * 315)[labels == 3].mean() / 315
        assert gained == pytest.approx(expected, abs=0.04)
        assert (target - full)[labels == 4].mean() == pytest.approx((target - full)[labels == 3].mean(), rel=0.02)

    def test_disease_only(self):
        """A lesion gains as before, and so does its soft edge; a vessel stays as it was acquired."""
        everything, full, labels = self.scene(100)
        target, _, _ = self.scene(100, disease_only=True)
        np.testing.assert_array_equal(target[labels == 3], everything[labels == 3])
        np.testing.assert_array_equal(target[4, 5:9, 5:9], everything[4, 5:9, 5:9])
        np.testing.assert_array_equal(target[labels == 4], full[labels == 4])


class TestReceiveField:
    """Low and full dose were acquired with fields of their own, which the target may not differ by."""

    @pytest.fixture
    def scene(self):
        rng = np.random.default_rng(0)
        z, y, x = np.mgrid[0:60, 0:60, 0:60] / 60 - 0.5
        brain = z**2 + y**2 + x**2 < 0.2
        tissue = rng.normal(300, 30, brain.shape) * brain
        theirs, ours = 1 + 0.2 * x, 1 - 0.15 * z
        labels = np.zeros(brain.shape, np.uint8)
        labels[25:33, 25:33, 25:33] = 3
        low = (tissue + 200 * (labels > 0)) * theirs * 5 * rng.normal(1, 0.02, brain.shape)
        clean = (tissue * ours).astype(np.float32)
        found = in_the_field_of(low.astype(np.float32), clean, labels, brain)
        return found, clean, brain, labels, tissue

    def test_calm_brain_has_the_field_and_gain_of_the_full_dose(self, scene):
        found, clean, brain, labels, _ = scene
        ratio = (found / np.where(clean == 0, 1, clean))[brain & (labels == 0)]
        assert np.median(ratio) == pytest.approx(1.0, abs=0.005)
        assert np.percentile(np.abs(ratio - 1), 95) < 0.06  # of it 0.04 is the low dose's own noise

    def test_a_lesion_keeps_its_contrast(self, scene):
        found, clean, _, labels, tissue = scene
        inside = labels == 3
        assert found[inside].mean() / clean[inside].mean() == pytest.approx(1 + 200 / tissue[inside].mean(), rel=0.02)


class TestGainHead:
    """What is amplified is the measured difference."""

    def test_no_difference_no_gain(self):
        """T1c = T1: only the free term can act."""
        torch.manual_seed(0)
        network = ResidualUNet(4, 4, levels=2, head="gain")
        initialise(network)
        torch.nn.init.zeros_(network.last.weight[1:])
        x = torch.rand(1, 4, 8, 8, 8)
        x[:, 3] = x[:, 0]
        torch.testing.assert_close(network(x), x[:, 3:])

    def test_gain_is_bounded(self):
        """An extreme gain map adds at most LARGEST_GAIN times the difference."""
        network = ResidualUNet(4, 4, levels=2, head="gain")
        initialise(network)
        torch.nn.init.zeros_(network.last.weight)
        network.last.bias.data = torch.tensor([50.0, 0.0])
        x = torch.rand(1, 4, 8, 8, 8)
        expected = x[:, 3:] + LARGEST_GAIN * torch.relu(x[:, 3:] - x[:, :1])
        torch.testing.assert_close(network(x), expected)
