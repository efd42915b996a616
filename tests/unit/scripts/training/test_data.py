"""What the network sees: packed patients, samples that depend on the step alone, honest normalisation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enhancement.imaging.intensity import normalise as production
from enhancement.imaging.intensity import seen_voxels
from simulation.head import simulate_head
from training.augmentation import bias_field, normalise, shift
from training.patients import lesion_weight, open_packed
from training.recipe import Augmentation
from training.sampling import choose_window, draw
from training.simulated import FIRST_SEED, make_patient
from training.sources import OnTheFly, PackedFolder, split
from training.switches import change
from training.trainer import find_limits
from unit.training_support import SHAPE, tiny_recipe, write_patients

LIMITS = dict.fromkeys(("T1", "FLAIR", "ADC", "T1C", "target"), (-3.0, 12.0))
WHOLE = tuple(slice(0, n) for n in SHAPE)


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    return PackedFolder(write_patients(tmp_path_factory.mktemp("packed"))).patients(0)


class TestPatients:
    """The packed form keeps what training needs."""

    def test_volumes_come_back_divided_by_their_brain_mean(self, patients):
        """A mean of 1 fits float16 whatever the unit."""
        patient = patients[0]
        brain = patient.read("brain", WHOLE) > 0
        for name in ("t1", "adc", "t1c"):
            assert patient.read(name, WHOLE)[brain].mean() == pytest.approx(1, abs=1e-3)

    def test_target_keeps_the_unit_of_its_input(self, patients):
        """Target over T1c is what it was before packing."""
        ratio = patients[0].read("t1c_4", WHOLE) / patients[0].read("t1c", WHOLE)
        assert np.median(ratio) == pytest.approx(1.1, abs=0.01)
        assert patients[0].levels["t1c_4"] == pytest.approx(1.1, abs=0.01)

    def test_a_series_that_is_not_there_is_zero(self, patients):
        """As in the plugin."""
        assert not patients[0].read("t2", WHOLE).any()

    def test_small_lesions_weigh_more(self):
        """2 mm beside 6 mm; lesions that do not enhance and vessels weigh, too; elsewhere nothing does."""
        labels = np.zeros((40, 40, 40), np.uint8)
        labels[5:7, 5:7, 5:7] = 3
        labels[20:34, 20:34, 20:34] = 3
        labels[5:8, 30:33, 5:8] = 6
        labels[10:30, 8, 8] = 4
        weight, centres = lesion_weight(labels)
        assert weight[5, 5, 5] == 3
        assert weight[25, 25, 25] < 1
        assert weight[6, 31, 6] == 0.5
        assert weight[20, 8, 8] == weight[20, 8, 9] == np.float16(0.02)
        assert weight[20, 8, 10] == 0
        assert weight[0, 0, 0] == 0
        assert len(centres) == 2
        assert all(labels[centre] == 3 for centre in centres)

    def test_reading_a_window_equals_cutting_the_whole(self, patients):
        """The memory map knows its strides."""
        window = (slice(3, 9), slice(5, 20), slice(1, 7))
        np.testing.assert_array_equal(patients[1].read("t1c", window), patients[1].read("t1c", WHOLE)[window])


class TestSamples:
    """A pure function of recipe, patients, seed and step."""

    def test_same_step_same_sample(self, patients):
        """Bit by bit, whatever was drawn before."""
        first = draw(tiny_recipe(), LIMITS, patients, 5)
        draw(tiny_recipe(), LIMITS, patients, 6)
        again = draw(tiny_recipe(), LIMITS, patients, 5)
        assert all(torch.equal(a, b) for a, b in zip(vars(first).values(), vars(again).values(), strict=True))

    def test_other_step_fold_or_seed_other_sample(self, patients):
        """Folds see other patches, not only other patients."""
        base = draw(tiny_recipe(), LIMITS, patients, 5).inputs
        assert not torch.equal(base, draw(tiny_recipe(), LIMITS, patients, 6).inputs)
        assert not torch.equal(base, draw(tiny_recipe("seed=1"), LIMITS, patients, 5).inputs)
        assert not torch.equal(base, draw(tiny_recipe("folds=5", "fold=1"), LIMITS, patients, 5).inputs)

    @given(step=st.integers(0, 10_000))
    def test_windows_stay_inside(self, patients, step):
        """At every step, lesion or not."""
        rng = np.random.default_rng(step)
        for window, size in zip(choose_window(tiny_recipe(), patients[0], rng), SHAPE, strict=True):
            assert 0 <= window.start < window.stop <= size
            assert window.stop - window.start == 16

    def test_inputs_are_units_and_empty_outside_the_brain(self, patients):
        """In [0, 1], finite, zero where the mask is."""
        sample = draw(tiny_recipe(), LIMITS, patients, 3)
        assert torch.isfinite(sample.inputs).all()
        assert sample.inputs.min() >= 0
        assert sample.inputs.max() <= 1
        assert not (sample.inputs * (sample.brain < 0.5)).any()

    def test_dropped_inputs_are_zero_and_required_ones_stay(self, patients):
        """FLAIR at 99 %, T1 and T1c never."""
        sample = draw(tiny_recipe("dropout.FLAIR=0.99"), LIMITS, patients, 0)
        assert not sample.inputs[:, 1].any()
        assert sample.inputs[:, 0].any()
        assert sample.inputs[:, 3].any()

    def test_all_volumes_are_mirrored_alike(self, patients):
        """What the target adds lies where the weight says that lesions are, at every step."""
        recipe = tiny_recipe("augmentation.noise=[0,0]", "augmentation.bias_field=0", "doses.keep_brain_level=true")
        for step in range(6):
            sample = draw(recipe, LIMITS, patients, step)
            added = (sample.target - sample.inputs[:, 3:]) > 0.05
            assert added.any()
            assert not (added & (sample.weight == 0)).any()

    def test_t1_and_target_are_compared_in_one_unit(self, patients):
        """Bone-2022 gives T1 other limits than the target: calm brain has not changed, lesions have."""
        recipe = change("bone-2022", ["loss.difference=1", "folds=1"])
        limits = {**find_limits(recipe, patients), "T1C": (-3.0, 12.0), "target": (-3.0, 12.0)}
        sample = draw(recipe, limits, patients, 0, augmented=False)
        changed, brain = (sample.target - sample.before).abs() > 0.1, sample.brain > 0.5
        assert changed[brain & (sample.weight == 0)].float().mean() < 0.01
        assert changed[sample.weight > 0.7].float().mean() > 0.2
        assert ((sample.target - sample.inputs[:, :1]).abs() > 0.1)[brain].float().mean() > 0.5

    def test_whole_volumes(self, patients):
        """patch=none, as in the papers."""
        assert draw(tiny_recipe("patch=none"), LIMITS, patients, 0).inputs.shape[2:] == SHAPE


class TestNormalisation:
    """One definition for training and for use."""

    @pytest.mark.parametrize("role", ["T1", "ADC"])
    def test_equal_to_the_plugins(self, patients, role):
        """Without jitter, to float16's resolution; an ADC of zero is no measurement."""
        patient = patients[0]
        brain = patient.read("brain", WHOLE) > 0
        array = patient.read(role.lower(), WHOLE)
        expected, _ = production(role, array, brain, *LIMITS[role])
        found = normalise(
            {role: torch.from_numpy(array)},
            {role: patient.statistics["brain"][role.lower()]},
            {role: seen_voxels(role, torch.from_numpy(array), torch.from_numpy(brain))},
            LIMITS,
            None,
            np.random.default_rng(0),
        )
        np.testing.assert_allclose(found[role].numpy(), expected, atol=2e-3)

    def test_target_shares_the_jitter_of_its_input(self, patients):
        """A wrong brain mean moves both by the same, so the network is never asked to guess it."""
        statistics = patients[0].statistics["brain"]["t1c"]
        volume = torch.from_numpy(patients[0].read("t1c", WHOLE))
        settings = Augmentation(mean_jitter=0.5, sd_jitter=0.3)
        found = normalise(
            {"T1C": volume, "target": volume},
            {"T1C": statistics, "target": statistics},
            {"T1C": torch.ones(SHAPE), "target": torch.ones(SHAPE)},
            LIMITS,
            settings,
            np.random.default_rng(3),
        )
        assert torch.equal(found["T1C"], found["target"])


class TestAugmentation:
    """Small faults on purpose."""

    def test_shift_by_whole_voxels_is_exact(self):
        """Away from the repeated edge."""
        volume = torch.rand(8, 8, 8)
        assert torch.equal(shift(volume, np.array([1, 0, -2]))[1:, :, :-2], volume[:-1, :, 2:])

    def test_shift_by_parts_keeps_a_ramp(self):
        """Linear interpolation is exact on a linear image."""
        ramp = torch.arange(16.0).expand(4, 4, 16)
        moved = shift(ramp, np.array([0, 0, 0.25]))
        torch.testing.assert_close(moved[..., 2:-2], ramp[..., 2:-2] - 0.25)

    def test_bias_field_of_a_window_is_the_window_of_the_field(self):
        """Patches of one volume agree on its field."""
        whole = bias_field((64, 64, 64), (slice(0, 64),) * 3, 0.2, np.random.default_rng(0))
        part = bias_field((64, 64, 64), (slice(32, 64),) * 3, 0.2, np.random.default_rng(0))
        torch.testing.assert_close(part, whole[32:, 32:, 32:], atol=0.05, rtol=0)
        assert float(whole.std()) > 0.02


class TestSources:
    """Who is trained on, and where patients come from."""

    def test_heads_take_the_chosen_contrasts_in_turn(self, tmp_path):
        """Head 3 of two contrasts has the second."""
        path = tmp_path / "000003.npy"
        make_patient(3, path, task="extract", head_contrasts=("t1", "flair"))
        head = simulate_head(FIRST_SEED + 3, "flair")
        packed = open_packed(path)
        inside = packed.read("brain", tuple(slice(0, n) for n in packed.shape_zyx)) > 0
        found = packed.read("head", tuple(slice(0, n) for n in packed.shape_zyx))[inside]
        wanted = head.image[head.brain] / head.image[head.brain].mean()
        np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=1e-3)

    def test_every_patient_is_held_out_by_one_fold(self, patients):
        """And no fold trains on what it holds out."""
        held = []
        for fold in range(2):
            training, out = split(patients, tiny_recipe("folds=2", f"fold={fold}"))
            assert not {p.identity for p in training} & {p.identity for p in out}
            held += [p.identity for p in out]
        assert sorted(held) == sorted(p.identity for p in patients)

    def test_fraction_of_the_training_set(self, patients):
        """The papers' figure of channels against data."""
        assert len(split(patients, tiny_recipe("folds=4", "fraction=0.34"))[0]) == 1

    def test_an_empty_folder_is_said(self, tmp_path):
        """Not an endless loop, not a division by zero."""
        with pytest.raises(FileNotFoundError, match="no packed patients"):
            PackedFolder(tmp_path)

    @pytest.mark.slow
    def test_window_on_the_fly_depends_on_the_step_alone(self, tmp_path):
        """Asked late or early, a step finds the same patients."""
        early = OnTheFly(make_small, tmp_path / "a", window=2, steps_each=2)
        late = OnTheFly(make_small, tmp_path / "b", window=2, steps_each=2)
        names = [[p.identity for p in early.patients(step)] for step in range(6)]
        assert [p.identity for p in late.patients(5)] == names[5]
        assert names[0] != names[2]
        assert not (tmp_path / "a" / "000000.npy").exists()

    @pytest.mark.slow
    def test_who_is_held_out_on_the_fly_was_never_trained_on(self, tmp_path):
        """The window moves on by one patient at a time; each keeps its part in the split."""
        source = OnTheFly(make_small, tmp_path / "a", window=3, steps_each=1)
        recipe = change("bone-2022", ["folds=3"])
        parts = [split(source.patients(step), recipe) for step in range(4)]
        trained, held_out = ({p.identity for part in parts for p in part[side]} for side in (0, 1))
        assert (trained, held_out) == ({"000001", "000002", "000004", "000005"}, {"000000", "000003"})


def make_small(number, path):
    """Patient of a number, made in the side process."""
    folder = write_patients(path.parent / f"made-{number}", 1)
    open_packed(folder / "000000.npy")
    for suffix in (".npy", ".json"):
        content = (folder / "000000").with_suffix(suffix).read_bytes()
        path.with_suffix(suffix).write_bytes(content.replace(b'"000000"', f'"{path.stem}"'.encode()))
