"""A run: it learns, it survives a kill, it goes on bit by bit, and it ends in a model folder."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from enhancement.errors import InputError
from enhancement.network.ensemble import Ensemble
from enhancement.network.weights import load_model
from training import checkpoints, runs
from training.environment import with_large_allocations
from training.patients import REAL_STUDY
from training.publish import publish
from training.recipe import PRESETS
from training.runs import RunPlan, open_source, publish_run
from training.sources import PackedFolder
from training.switches import change
from training.trainer import RunSettings, Trainer, find_limits, learning_rate
from unit.training_support import TINY, tiny_recipe, write_patients

TRAIN = Path(__file__).resolve().parents[4] / "scripts" / "train.py"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return PackedFolder(write_patients(tmp_path_factory.mktemp("packed")))


def train(recipe, source, folder, *, stop=None, resume=False):
    settings = RunSettings(folder, device="cpu", threads=1, save_every=2, validate_every=4, stop_after=stop)
    return Trainer(recipe, source, settings, resume=resume).run()


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


class TestResume:
    """Whoever is killed goes on."""

    def test_half_and_half_equals_the_whole_bit_by_bit(self, source, tmp_path):
        """Weights, moving average and optimiser, on the CPU, for one seed."""
        recipe = tiny_recipe("average=0.9")
        whole = train(recipe, source, tmp_path / "whole")
        train(recipe, source, tmp_path / "halves", stop=4)
        halves = train(recipe, source, tmp_path / "halves", resume=True)
        assert halves.step == whole.step == 8
        assert same(whole.network, halves.network)
        assert same(whole.average, halves.average)
        for key, state in whole.optimiser["state"].items():
            assert torch.equal(state["exp_avg"], halves.optimiser["state"][key]["exp_avg"])
        assert [row["step"] for row in halves.history] == [4, 8]

    def test_a_finished_run_is_left_as_it_is(self, source, tmp_path):
        """--resume after the last step trains nothing."""
        first = train(tiny_recipe(), source, tmp_path)
        again = train(tiny_recipe(), source, tmp_path, resume=True)
        assert same(first.network, again.network)

    def test_another_recipe_is_refused(self, source, tmp_path):
        """And the difference named."""
        train(tiny_recipe(), source, tmp_path, stop=2)
        with pytest.raises(ValueError, match="learning_rate"):
            train(tiny_recipe("learning_rate=0.01"), source, tmp_path, resume=True)

    def test_other_patients_are_refused(self, tmp_path):
        """A folder that has grown would give every step another sample."""
        data = write_patients(tmp_path / "data", 3)
        train(tiny_recipe(), PackedFolder(data), tmp_path / "run", stop=2)
        write_patients(data, 4)
        with pytest.raises(ValueError, match=r"other patients: 1 new \(000003\).*--start"):
            train(tiny_recipe(), PackedFolder(data), tmp_path / "run", resume=True)

    def test_a_checkpoint_of_before_goes_on(self, source, tmp_path):
        """It doesn't say who the patients were."""
        state = train(tiny_recipe(), source, tmp_path, stop=2)
        checkpoints.save(tmp_path, replace(state, source=None))
        assert train(tiny_recipe(), source, tmp_path, resume=True).step == 8

    @pytest.mark.parametrize(
        ("change_", "words"),
        [
            ("seed=1", "seed 1.*seed 0"),
            ("doses.target_volume=t1c_2", "target t1c_2.*target t1c_4"),
            ('head_contrasts=["t1","b0"]', "head_contrasts t1,b0.*head_contrasts None"),
        ],
    )
    def test_simulated_patients_of_another_run_are_not_used(self, tmp_path, monkeypatch, change_, words):
        """Their files bear the same numbers; a run that was killed finds its own."""
        monkeypatch.setattr(runs, "OnTheFly", lambda *args, **options: "source")
        plan = RunPlan(tiny_recipe(), tmp_path, None, 2, (0,))
        open_source(plan)
        write_patients(tmp_path / "patients", 1)
        assert open_source(plan) == "source"
        with pytest.raises(InputError, match=rf"{words}.*another run folder"):
            open_source(replace(plan, recipe=tiny_recipe(change_)))

    def test_patients_without_a_record_are_for_a_resumed_run_only(self, tmp_path, monkeypatch):
        """The checkpoint knows what they are; a fresh run does not."""
        monkeypatch.setattr(runs, "OnTheFly", lambda *args, **options: "source")
        write_patients(tmp_path / "patients", 1)
        plan = RunPlan(tiny_recipe(), tmp_path, None, 2, (0,))
        with pytest.raises(InputError, match="found those of no record"):
            open_source(plan)
        assert open_source(replace(plan, resume=True)) == "source"

    def test_a_half_written_checkpoint_is_passed_over(self, source, tmp_path):
        """Only the rename makes it count."""
        train(tiny_recipe(), source, tmp_path, stop=2)
        (tmp_path / "checkpoint.pt.part").write_bytes(b"torn")
        assert checkpoints.load(tmp_path).step == 2

    @pytest.mark.slow
    def test_killed_by_sigkill(self, tmp_path):
        """The real command, killed the hard way, then resumed: the same bytes as without the kill."""
        data = write_patients(tmp_path / "data")
        switches = [part for name in (*TINY, "steps=40", "doses.target_volume=t1c_4") for part in ("--set", name)]
        command = [sys.executable, str(TRAIN), "--data", str(data), "--threads", "1", "--save-every", "2", *switches]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        whole, killed = tmp_path / "whole", tmp_path / "killed"
        with subprocess.Popen([*command, "--run", str(killed)], env=environment, stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while not (killed / "fold-0" / "checkpoint.pt").exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert checkpoints.load(killed / "fold-0").step < 40
        model = tmp_path / "model"
        subprocess.run([*command, "--run", str(killed), "--resume", "--model", str(model)], env=environment, check=True)
        subprocess.run([*command, "--run", str(whole)], env=environment, check=True)
        assert same(checkpoints.load(whole / "fold-0").network, checkpoints.load(killed / "fold-0").network)
        assert load_model(model).roles == ("T1", "FLAIR", "ADC", "T1C")


class TestLearning:
    """The loop does what the recipe says."""

    def test_the_loss_falls(self, source, tmp_path):
        """Sixty small steps on the task of the residual head."""
        recipe = tiny_recipe("steps=60", "learning_rate=0.01", "loss.lesion=1", "head=gain", "average=0")
        losses = []
        settings = RunSettings(tmp_path, device="cpu", threads=1)
        Trainer(recipe, source, settings).run(lambda step, loss, validation: losses.append(loss))
        assert sum(losses[-10:]) < 0.8 * sum(losses[:10])

    def test_warm_up_and_cosine(self):
        """From a hundredth up, then down to a hundredth."""
        recipe = tiny_recipe("steps=100", "warm_up=10", "decay=cosine", "learning_rate=1.0")
        rates = [learning_rate(recipe, step) for step in range(100)]
        assert rates[0] == pytest.approx(0.1, abs=0.01)
        assert max(rates) == pytest.approx(1, abs=0.05)
        assert rates[-1] < 0.02

    def test_limits_of_the_paper_are_the_training_sets_percentiles(self, source):
        """T1, FLAIR and ADC between their pooled percentiles 1 and 99; the T1c slot on its wide scale."""
        limits = find_limits(PRESETS["bone-2022"], source.patients(0))
        assert limits["T1C"] == (-3.0, 12.0)
        assert limits["FLAIR"] == pytest.approx((-2.33, 2.33), abs=0.15)

    def test_a_missing_target_is_said_before_the_first_step(self, source, tmp_path):
        """With the names that there are."""
        with pytest.raises(ValueError, match=r"lacks t1c_2.*t1c_4"):
            train(tiny_recipe("doses.target_volume=t1c_2"), source, tmp_path)

    @pytest.mark.parametrize("preset", sorted(PRESETS))
    def test_every_preset_makes_a_step(self, preset, source, tmp_path):
        """Small, but through the same code."""
        tiny = ["channels=2", "levels=2", "steps=2", "batch=1"]
        if preset == "t1c-pro":
            tiny.append("doses.target_volume=t1c_4")
        if preset == "brain":
            tiny += ["doses.input_volume=t1", "patch=16"]
        assert train(change(preset, tiny), source, tmp_path).step == 2


class TestSwitches:
    """name=value on the command line."""

    def test_nested_and_plain(self):
        """Loss weights, doses, patch, inputs."""
        recipe = change("bone-2022", ["loss.ssim=0.5", "patch=96", "inputs=T1,ADC,T1C", "channels=32"])
        assert recipe.loss.ssim == 0.5
        assert recipe.patch == 96
        assert [channel.role for channel in recipe.inputs] == ["T1", "ADC", "T1C"]

    def test_what_is_dropped_in_training_may_be_missing_in_use(self):
        """And what is not, not; 0 takes nothing back."""
        recipe = change("bone-2022", ["dropout.ADC=0.1", "dropout.FLAIR=0"])
        assert [(c.role, c.dropout, c.required) for c in recipe.inputs[1:3]] == [
            ("FLAIR", 0, True),
            ("ADC", 0.1, False),
        ]
        assert not change("t1c-pro", ["dropout.FLAIR=0"]).inputs[1].required

    @pytest.mark.parametrize(
        ("switches", "factor"),
        [((), 4), (("target_volume=t1c_2",), 2), (("target_volume=t1c_8",), 8),
         (("input_volume=t1c_low", "target_volume=t1c"), 4), (("input_volume=t1c_low", "target_volume=t1c_2"), 8),
         (("input_volume=t1c_low", "target_volume=t1c", "dose_factor=3"), 3)],
    )  # fmt: skip
    def test_the_dose_factor_follows_the_volumes(self, switches, factor):
        """The manifest states it; a site's own low dose may be another part than a quarter."""
        assert change("t1c-pro", [f"doses.{switch}" for switch in switches]).doses.dose_factor == factor

    def test_presets_are_what_they_were(self):
        """Published models name them."""
        assert all(change(name, []) == recipe for name, recipe in PRESETS.items())

    def test_a_factor_that_contradicts_the_simulator(self):
        """Named with the right one."""
        with pytest.raises(ValueError, match=r"must be 2 from t1c to t1c_2, found 4"):
            change("t1c-pro", ["doses.target_volume=t1c_2", "doses.dose_factor=4"])

    def test_without_a_t1_there_is_no_bound(self):
        """Nothing is measured then; a site that wants none switches it off."""
        assert change("t1c-pro", ["inputs=T1,T1C", "bound.gain=2"]).bound.gain == 2
        assert change("t1c-pro", ["inputs=FLAIR,T1C", "head=residual"]).bound is None
        assert change("t1c-pro", ["bound=none"]).bound is None

    @pytest.mark.parametrize(
        ("switch", "message"),
        [("stepps=3", "stepps"), ("steps", "name=value"), ("steps=-1", "steps"), ("inputs=T3", "T1, FLAIR"),
         ("loss.l9=1", "l9"), ("dropout.T9=1", "T9"), ("dropout.T1=0.1", "T1 cannot be dropped"),
         ("inputs=T1,FLAIR", "must hold T1C"), ("inputs=FLAIR,T1C", "head=gain needs"),
         ("inputs=FLAIR,T1C;head=residual;loss.difference=1", "difference compares"),
         ("doses.target_volume=t1c_3", "t1c_2, t1c_4, t1c_8"), ("doses.input_volume=t1c_lo", "t1c_low, t1c")],
    )  # fmt: skip
    def test_faults_are_named(self, switch, message):
        """Before anything is trained."""
        with pytest.raises(ValueError, match=message):
            change("t1c-pro", switch.split(";"))

    def test_unknown_preset(self):
        """With the ones that there are."""
        with pytest.raises(ValueError, match="bone-2022"):
            change("bone", [])


def test_nothing_to_start_from(source, tmp_path):
    """Neither a run nor a model."""
    with pytest.raises(ValueError, match="no checkpoint and no model"):
        Trainer(tiny_recipe(), source, RunSettings(tmp_path / "run"), start=tmp_path)


class TestPublishing:
    """The run's end: a folder that the plugin takes."""

    @pytest.mark.parametrize("kind", ["packed", "simulator's cache", "studies"])
    def test_the_card_knows_whether_patients_were_people(self, kind, tmp_path):
        """Wherever the packed ones lie: the data folder itself, or the run's own where data had to be packed."""
        data, run = tmp_path / "data", tmp_path / "run"
        packed = write_patients(data if kind == "packed" else run / "patients", 2)
        if kind == "simulator's cache":  # its own records beside its volumes are no packed patients
            data.mkdir()
            (data / "index.json").write_text("{}")
            (data / "000000.json").write_text('{"seed": 0}')
        if kind == "studies":
            (data / "someone").mkdir(parents=True)
            for record in packed.glob("*.json"):
                record.write_text(record.read_text().replace(f'"{record.stem}"', f'"{REAL_STUDY}{record.stem}"'))
        plan = RunPlan(tiny_recipe("folds=1"), run, data, 2, (0,))
        state = train(tiny_recipe("folds=1"), PackedFolder(packed), run / "fold-0")
        publish_run(plan, tmp_path / "model", version="1.0.0", metrics=None, notes=None)
        card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
        people = kind == "studies"
        assert ("no patient was part of its training" in card) is not people
        assert f"Data: {state.patients} {'real studies' if people else 'simulated patients'}" in card

    def test_folds_share_the_limits_that_were_found(self, tmp_path):
        """A network sees its inputs as in training, whichever fold the manifest took them from."""
        data = write_patients(tmp_path / "data", 4)
        record = data / "000001.json"  # one patient unlike the others, whom one fold holds out
        content = json.loads(record.read_text())
        content["statistics"]["brain"]["flair"]["high"] *= 2
        record.write_text(json.dumps(content))
        tiny = ["channels=2", "levels=2", "patch=16", "steps=2", "folds=2"]
        recipes = [change("bone-2022", [*tiny, f"fold={fold}"]) for fold in range(2)]
        states = [train(recipe, PackedFolder(data), tmp_path / str(recipe.fold)) for recipe in recipes]
        assert states[0].limits == states[1].limits

    def test_folds_with_unlike_limits_are_not_published(self, source, tmp_path):
        """As older runs have them, where they lie noticeably apart."""
        state = train(tiny_recipe(), source, tmp_path / "run", stop=2)
        near, far = (replace(state, limits={**state.limits, "FLAIR": (-3.0, 6.0 + by)}) for by in (0.03, 0.2))
        publish(tmp_path / "near", [state, near], data="", simulated=True)
        with pytest.raises(ValueError, match=r"FLAIR up to 0\.2 SDs"):
            publish(tmp_path / "far", [state, far], data="", simulated=True)

    def test_folder_predicts_and_its_card_tells(self, source, tmp_path):
        """Manifest, weights and card of two folds."""
        states = [train(tiny_recipe("folds=2", f"fold={fold}"), source, tmp_path / str(fold)) for fold in range(2)]
        manifest = publish(
            tmp_path / "model", states, data="4 made-up patients", simulated=True, metrics={"cnr": 3.2}, notes="A note."
        )
        model = load_model(tmp_path / "model")
        assert len(model.folds) == 2
        assert model.digest == manifest.digest
        assert manifest.output.dose_factor == 4
        assert manifest.output.bound == PRESETS["t1c-pro"].bound is not None
        assert [c.required for c in manifest.inputs] == [True, False, False, True]
        again = Trainer(
            tiny_recipe("fold=1", "folds=2"), source, RunSettings(tmp_path / "on"), start=tmp_path / "model"
        )
        for name, value in again.network.state_dict().items():
            torch.testing.assert_close(value, states[1].weights()[name], rtol=1e-3, atol=1e-4)
        assert again.limits == states[1].limits
        prediction = Ensemble(model, mirrorings=1, device="cpu").predict(torch.rand(4, 8, 8, 8).numpy())
        assert prediction.predictions == 2
        card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
        for text in (
            "4 made-up patients",
            "A note.",
            "cannot do",
            "Not a medical device",
            "at most 3 times what the T1c measured",
        ):
            assert text in card
        assert json.loads((tmp_path / "model" / "manifest.json").read_text())["metrics"]["cnr"] == 3.2


def test_allocator_is_left_alone_where_it_is_set(monkeypatch):
    """No endless chain of restarts."""
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "1")
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    with_large_allocations()
