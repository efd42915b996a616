"""The residual U-Net: its shape, its heads, and starts that cannot die."""

import numpy as np
import pytest
import torch

from enhancement.network.architectures.residual_unet import ResidualUNet, initialise


def make(head="sigmoid", **changes):
    torch.manual_seed(0)
    network = ResidualUNet(**{"in_channels": 4, "channels": 8, "levels": 3, "head": head, **changes})
    initialise(network, mean_target=0.15)
    return network


class TestShape:
    """What the paper fixes."""

    @pytest.mark.parametrize(("channels", "millions"), [(8, 1.80), (16, 7.21), (32, 28.8)])
    def test_five_levels_have_the_published_order_of_parameters(self, channels, millions):
        """1.8, 7.2 and 28.8 million parameters for 8, 16 and 32 channels."""
        network = ResidualUNet(4, channels, levels=5)
        assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)

    def test_output_has_the_size_of_the_input(self):
        """Any size that is a multiple of the coarsest level's step."""
        assert make()(torch.rand(2, 4, 8, 12, 16)).shape == (2, 1, 8, 12, 16)

    def test_it_sees_around_every_voxel(self):
        """A change of one input voxel reaches its neighbours in the output."""
        network = make("logit").eval()
        x = torch.zeros(1, 4, 16, 16, 16)
        y = x.clone()
        y[0, 3, 8, 8, 8] = 1
        changed = (network(y) - network(x)).abs() > 1e-9
        assert changed.sum() > 100


class TestHeads:
    """Sigmoid, residual and logit."""

    def test_residual_head_starts_as_the_t1c(self):
        """An untrained network changes little of a brain's intensities (0.2 +- 0.07 in [0, 1])."""
        x = 0.2 + 0.07 * torch.randn(1, 4, 16, 16, 16)
        changed = make("residual")(x) - x[:, 3:]
        assert float(changed.abs().mean().detach()) < 0.05

    def test_residual_head_is_not_bounded(self):
        """Enhancement above the clip of the input can be shown."""
        network = make("residual")
        torch.nn.init.constant_(network.last.bias, 48.0)
        assert network(torch.ones(1, 4, 8, 8, 8)).min() > 2.5

    def test_sigmoid_head_starts_at_the_mean_of_the_target(self):
        """Not at 0 or 1, where its gradient is lost."""
        output = make("sigmoid")(0.2 + 0.07 * torch.randn(1, 4, 16, 16, 16))
        assert float(output.detach().mean()) == pytest.approx(0.15, abs=0.1)

    @pytest.mark.parametrize("seed", range(4))
    def test_no_seed_dies(self, seed):
        """After twenty steps the sigmoid still follows its target."""
        torch.manual_seed(seed)
        network = ResidualUNet(2, 4, levels=3)
        initialise(network, mean_target=0.15)
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        rng = np.random.default_rng(seed)
        x = torch.from_numpy(rng.random((1, 2, 8, 8, 8), dtype=np.float32))
        target = 0.3 * x[:, 1:]
        losses = []
        for _ in range(20):
            loss = (network(x) - target).square().mean()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0]
        assert float(network(x).detach().std()) > 1e-4

    @pytest.mark.parametrize("bias", [-15.0, 15.0])
    def test_a_network_that_died_comes_back(self, bias):
        """All zero or all one, where the sigmoid's own slope is 3e-7."""
        network = make("sigmoid", levels=2, channels=4)
        torch.nn.init.constant_(network.last.bias, bias)
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
        x = 0.2 + 0.07 * torch.randn(1, 4, 8, 8, 8)
        losses = []
        for _ in range(300):
            loss = (network(x) - x[:, 3:]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < losses[0] / 2

    @pytest.mark.parametrize(("logit", "slope"), [(-1.0, 0.19661), (3.0, 0.04518), (-15.0, 0.02), (15.0, 0.02)])
    def test_the_slope_is_the_sigmoids_own_until_it_saturates(self, logit, slope):
        """Above outputs of 0.98 and below 0.02 training sees a slope of 0.02."""
        network = make("sigmoid", levels=2, channels=4)
        torch.nn.init.zeros_(network.last.weight)
        torch.nn.init.constant_(network.last.bias, logit)
        output = network(torch.rand(1, 4, 8, 8, 8))
        output.mean().backward()
        assert float(network.last.bias.grad) == pytest.approx(slope, rel=1e-3)
        assert float(output.detach().mean()) == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)
