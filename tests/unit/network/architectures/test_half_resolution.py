"""The network that sees far at half resolution."""

import pytest
import torch

from enhancement.network.architectures.half_resolution import HalfResolutionNet, atlas_places, initialise


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = HalfResolutionNet(4, 4, levels=2, fine=8)
    initialise(network, disease=0.01)
    return network.eval()


class TestOutputs:
    """Three answers a voxel."""

    def test_shape_and_range(self, network):
        """As large as the input; the enhancement is never negative."""
        output = network(torch.rand(2, 4, 16, 20, 24))
        assert output.shape == (2, 3, 16, 20, 24)
        assert output.dtype is torch.float32
        assert float(output[:, 2].min().detach()) >= 0

    def test_it_starts_at_the_odds_of_disease_and_at_no_noise(self, network):
        """So that the first steps are not spent on learning that disease is rare."""
        output = network(torch.rand(1, 4, 16, 16, 16)).detach()
        assert float(torch.sigmoid(output[:, 0]).median()) == pytest.approx(0.01, rel=1.0)
        assert float(output[:, 1].abs().mean()) < 0.1

    def test_a_cube_with_its_places_is_answered_as_in_the_whole(self, network):
        """Within a thousandth away from the cube's faces: it sees where it is, not where the cube begins."""
        whole = torch.rand(1, 4, 64, 16, 16)
        part = slice(16, 48)
        places = atlas_places(whole.shape[2:])[:, :, part]
        inside = slice(14, 18)
        with torch.no_grad():
            expected = network(whole)[:, :, part][:, :, inside]
            found = network(whole[:, :, part], places)[:, :, inside]
        assert torch.allclose(found, expected, atol=2e-3)

    def test_coordinates_matter(self, network):
        """The same image elsewhere may mean another thing."""
        x = torch.rand(1, 4, 16, 16, 16)
        with torch.no_grad():
            here, there = network(x, torch.zeros(1, 3, 16, 16, 16)), network(x, torch.ones(1, 3, 16, 16, 16))
        assert not torch.allclose(here, there, atol=1e-3)

    def test_left_and_right_have_the_same_coordinates(self):
        """So mirrored images keep theirs."""
        places = atlas_places((4, 6, 8))
        assert torch.equal(places, places.flip(4))
        assert places[0, 0, 0, 0, 0] == -1
        assert places[0, 1, 0, -1, 0] == 1
