"""A run of the choosing network: it draws, it learns, it goes on, it is exported and imported."""

import numpy as np
import pytest
import torch

from choosing import checkpoints
from choosing.cache import GrowingCache
from choosing.drawing import Drawer
from choosing.grain import Grain, receive_field, shifted
from choosing.losses import compute_loss, dimming, soft_dice
from choosing.publish import publish
from choosing.recipe import ChoosingRecipe, Terms, changed
from choosing.trainer import ChoosingTrainer, RunSettings, learning_rate
from enhancement.network.ensemble import Ensemble
from enhancement.network.weights import load_model
from unit.choosing_support import store_tiny, tiny_recipe


@pytest.fixture
def source(tmp_path):
    store_tiny(tmp_path / "patients")
    return GrowingCache(tmp_path / "patients")


def train(recipe, source, folder, steps, before=None):
    trainer = ChoosingTrainer(recipe, source, RunSettings(folder, steps=steps, keep_every=10**9), before)
    return trainer.run()


class TestDrawing:
    """What the network sees."""

    def test_a_step_is_drawn_again_as_it_was(self, source):
        """In the same places of the same patients."""
        first, second = (Drawer(tiny_recipe()).draw(source.patients(0), 3) for _ in range(2))
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.answers, second.answers)

    def test_inputs_less_answers_is_noise(self, source):
        """Without corruption the T1c differs from its noise-free self by the scanner's noise alone."""
        recipe = tiny_recipe("corruption.noise=[0,0]", "corruption.bias_field=0", "corruption.mean_jitter=0")
        cubes = Drawer(recipe).draw(source.patients(0), 1)
        clean, brain = cubes.answers[:, 0], cubes.answers[:, 4] > 0
        difference = (cubes.inputs[:, -1] - clean)[brain] * 15  # in brain SDs
        assert abs(float(difference.mean())) < 0.05
        assert 0.05 < float(difference.std()) < 0.5

    def test_outside_the_brain_everything_is_zero(self, source):
        """Inputs and answers."""
        cubes = Drawer(tiny_recipe()).draw(source.patients(0), 2)
        outside = cubes.answers[:, 4] == 0
        assert float(cubes.inputs[:, 3][outside].abs().max()) == 0
        assert float(cubes.answers[:, 1][outside].abs().max()) == 0

    def test_places_go_with_the_voxels_that_are_mirrored(self, source):
        """The distance from the midline is the same on both sides, so a mirrored cube has it too."""
        cubes = Drawer(tiny_recipe("cubes=[[32,4]]")).draw(source.patients(0), 0)
        assert torch.allclose(cubes.places[0], cubes.places[0].flip(3), atol=1e-6)

    def test_grain_has_the_asked_deviation(self):
        """White or not."""
        grain = Grain(0)
        rng = np.random.default_rng(0)
        found = [grain.cut((64, 64, 64), rng, 0.1).std() for _ in range(8)]
        assert found == pytest.approx([0.1] * 8, rel=0.05)

    def test_a_shift_moves_by_a_part_of_a_voxel(self):
        """Half way between neighbours."""
        ramp = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], (8, 8, 8)).copy()
        assert shifted(ramp, np.array([0.5, 0, 0]))[3, 3, 3] == pytest.approx(2.5)
        assert shifted(ramp, np.array([-0.25, 0, 0]))[3, 3, 3] == pytest.approx(3.25)

    def test_a_receive_field_is_smooth_and_one_over_the_grid(self):
        """Two windows see the same field."""
        fields = [
            receive_field((32, 32, 32), (slice(a, a + 16), slice(0, 32), slice(0, 32)), 0.1, np.random.default_rng(4))
            for a in (0, 8)
        ]
        assert fields[0][8:] == pytest.approx(fields[1][:8], abs=1e-6)
        assert np.abs(np.diff(fields[0], axis=0)).max() < 0.06


class TestLoss:
    """Each term says what it is for."""

    def test_dice_of_the_truth_is_one(self):
        """And near zero of nothing."""
        disease = torch.zeros(1, 8, 8, 8)
        disease[0, 2:7, 2:7, 2:7] = 1
        assert float(soft_dice(disease, disease)) == pytest.approx(1.0)
        assert float(soft_dice(torch.zeros_like(disease), disease)) < 0.1

    def test_only_darker_lesions_count_as_dimmed(self):
        """What is brighter than the truth is paid for elsewhere."""
        weight = torch.zeros(1, 8, 8, 8)
        weight[0, 3:5, 3:5, 3:5] = 4.0
        assert float(dimming(torch.ones(1, 8, 8, 8), weight)) == 0
        assert float(dimming(-torch.ones(1, 8, 8, 8), weight)) > 0

    def test_the_right_answer_costs_next_to_nothing(self, source):
        """Logits of the truth, the noise there is, and the enhancement there is."""
        cubes = Drawer(tiny_recipe()).draw(source.patients(0), 1)
        clean, enhancement, disease = cubes.answers[:, 0], cubes.answers[:, 1], cubes.answers[:, 2]
        output = torch.stack((40 * disease - 20, cubes.inputs[:, -1] - clean, enhancement), dim=1)
        loss, terms = compute_loss(Terms(), output, cubes)
        assert float(loss) < 0.01
        assert set(terms) == {"cross_entropy", "dice", "noise", "gradient", "dimming", "enhancement"}


class TestRun:
    """It goes on."""

    def test_it_learns(self, source, tmp_path):
        """The loss of the first steps is more than that of the last."""
        losses = []
        trainer = ChoosingTrainer(tiny_recipe("learning_rate=0.003"), source, RunSettings(tmp_path, steps=60))
        trainer.run(report=lambda step, terms: losses.append(terms["loss"]))
        assert losses[-1] < 0.8 * losses[0]

    def test_half_and_half_is_the_whole(self, source, tmp_path):
        """Weights, average and optimiser, from the checkpoint on the disk."""
        whole = train(tiny_recipe(), source, tmp_path / "whole", 6)
        train(tiny_recipe(), source, tmp_path / "half", 3)
        half = train(tiny_recipe(), source, tmp_path / "half", 6, checkpoints.load(tmp_path / "half/checkpoint.pt"))
        assert all(torch.equal(whole.network[name], half.network[name]) for name in whole.network)
        assert all(torch.equal(whole.average[name], half.average[name]) for name in whole.average)

    def test_another_network_is_refused(self, source, tmp_path):
        """And what differs is named."""
        before = train(tiny_recipe(), source, tmp_path, 1)
        with pytest.raises(ValueError, match="channels"):
            ChoosingTrainer(tiny_recipe("channels=6"), source, RunSettings(tmp_path), before)

    def test_exported_weights_go_on_elsewhere(self, source, tmp_path):
        """From the average, in half precision, with the steps that were done; the rate warms up anew."""
        before = train(tiny_recipe(), source, tmp_path, 4)
        checkpoints.export(before, tmp_path / "half")
        found = checkpoints.import_weights(tmp_path / "half")
        assert found.step == 4
        assert found.optimiser == {}
        trainer = ChoosingTrainer(found.recipe, source, RunSettings(tmp_path / "on", steps=6), found)
        worst = max(float((trainer.average[n] - before.average[n]).abs().max()) for n in before.average)
        assert worst < 2e-3
        assert trainer.run().step == 6

    def test_rows_of_the_curve_travel_with_the_weights(self, source, tmp_path):
        """A new machine goes on with the same table."""
        settings = RunSettings(tmp_path, steps=4, measure_every=2)
        trainer = ChoosingTrainer(tiny_recipe(), source, settings)
        trainer.run(measure=lambda network, step: {"real A": 1.5})
        checkpoints.export(trainer.state(), tmp_path / "half")
        assert checkpoints.import_weights(tmp_path / "half").curve == [
            {"step": 2, "real A": 1.5},
            {"step": 4, "real A": 1.5},
        ]


class TestRecipe:
    """Switches and rates."""

    def test_the_rate_warms_up_stays_and_falls_when_told(self):
        """To a hundredth."""
        recipe = changed(ChoosingRecipe(), ["learning_rate=1.0", "warm_up=10", "decay_from=100", "decay_steps=100"])
        rates = [learning_rate(recipe, step) for step in (0, 9, 100, 150, 200, 999)]
        assert rates == pytest.approx([0.1, 1.0, 1.0, 0.505, 0.01, 0.01])

    def test_a_rate_without_an_end_stays(self):
        """The length of days is not known beforehand."""
        assert learning_rate(ChoosingRecipe(), 10**7) == ChoosingRecipe().learning_rate

    def test_an_unknown_switch_is_named(self):
        """With those that there are."""
        with pytest.raises(ValueError, match=r"terms\.bone=1"):
            changed(ChoosingRecipe(), ["terms.bone=1"])


class TestPublish:
    """From a checkpoint to images of the plugin."""

    def test_the_plugin_runs_what_was_trained(self, source, tmp_path):
        """Two members, two mirrorings each: left and right alone, since the network knows its place."""
        recipe = tiny_recipe()
        states = [train(recipe, source, tmp_path / str(i), 1 + i) for i in range(2)]
        manifest = publish(tmp_path / "model", states, version="1.0.0")
        ensemble = Ensemble(load_model(tmp_path / "model"), device="cpu", mirrorings=8)
        prediction = ensemble.predict(np.random.default_rng(0).random((4, 16, 16, 16), dtype=np.float32))
        assert manifest.network.kind == "half-resolution"
        assert ensemble.mirrorings == ((), (4,))
        assert prediction.predictions == 4
        assert prediction.answers_czyx.shape == (3, 16, 16, 16)
        assert np.array_equal(prediction.mean_zyx, prediction.answers_czyx[0])
        assert 0 <= prediction.mean_zyx.min() <= prediction.mean_zyx.max() <= 1

    def test_members_must_be_the_same_network(self, source, tmp_path):
        """One manifest describes them all."""
        states = [train(tiny_recipe(f"channels={c}"), source, tmp_path / str(c), 1) for c in (4, 6)]
        with pytest.raises(ValueError, match="publish them apart"):
            publish(tmp_path / "model", states, version="1.0.0")
