"""Real studies on their way to training: who is packed as whom, what is left out, and how it lies."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from enhancement.errors import InputError
from enhancement.imaging.brain.extraction import BrainExtractedInput
from enhancement.imaging.preparation import for_network_grid
from enhancement.settings import Settings
from training import runs, studies
from training.patients import REAL_STUDY, Patient, open_packed, packed_files
from training.runs import RunPlan, open_source
from training.sources import split
from training.studies import as_codes, pack_studies, pack_study, read_patient
from training.switches import change
from unit.phantom import write_study
from unit.template_study import template_images
from unit.training_support import tiny_recipe, write_patients

TRAIN = Path(__file__).resolve().parents[4] / "scripts" / "train.py"


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """NIfTI files as a site might name them: a T1 and a FLAIR that end early, a low dose on a thick grid."""
    folder = tmp_path_factory.mktemp("site") / "pat-7"
    folder.mkdir()
    images = template_images()
    t1, t1c = images["T1"], images["T1C"]
    size = t1c.GetSize()
    low = sitk.Resample(
        t1c, [2 * size[0], 2 * size[1], size[2] // 2], sitk.Transform(), sitk.sitkLinear, t1c.GetOrigin(),
        [1.25, 1.25, 5.0], t1c.GetDirection(),
    )  # fmt: skip
    labels = sitk.Cast(t1c > 1500, sitk.sitkUInt8) * 4
    for name, image in {
        "x_t1w": t1[:, :, :62], "x_t1ce": t1c, "x_t2f": t1[:, :, 10:40], "x_t1ce_low": low * 0.5,
        "x_seg": labels,
    }.items():  # fmt: skip
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    return folder


@dataclass
class Packed:
    """What became of the patient."""

    patient: Patient
    note: str
    smoothed: list[tuple[float, ...]]

    def read(self, name):
        return self.patient.read(name, tuple(slice(0, n) for n in self.patient.shape_zyx))


@pytest.fixture(scope="module")
def packed(patient, tmp_path_factory):
    """Packed once, which takes half a minute."""
    path, smoothed = tmp_path_factory.mktemp("packed") / "000000.npy", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            studies, "for_network_grid", lambda image: smoothed.append(image.GetSpacing()) or for_network_grid(image)
        )
        note = pack_study(patient, path, BrainExtractedInput(), label=4)
    return Packed(open_packed(path), note, smoothed)


def folders(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
    return root


@pytest.fixture
def quick(monkeypatch):
    """A patient packed in no time; those whose name begins with "broken" end as SimpleITK ends."""

    def pack_quickly(patient, path, extractor, **options):
        if patient.name.startswith("broken"):
            raise RuntimeError("Exception thrown in SimpleITK: sitkImageReader.cxx:91:\nsitk::ERROR: truncated\n")
        made = write_patients(path.parent / "made", 1) / "000000.npy"
        shutil.move(made, path)
        record = made.with_suffix(".json").read_text()
        path.with_suffix(".json").write_text(record.replace('"000000"', f'"{REAL_STUDY}{patient.name}"'))
        return ""

    monkeypatch.setattr(studies, "pack_study", pack_quickly)


@pytest.mark.slow
class TestPackStudy:
    """One patient, through the plugin's preprocessing."""

    def test_all_volumes_are_there(self, packed):
        """Under one naming, with the folder's name and no ADC."""
        assert set(packed.patient.names) == {"t1", "flair", "t1c", "t1c_low", "brain", "weight"}
        assert packed.patient.identity == REAL_STUDY + "pat-7"

    def test_the_low_dose_lies_on_the_t1c(self, packed):
        """Half the signal, another grid: the same image once divided by its brain mean."""
        brain = packed.read("brain") > 0
        assert np.corrcoef(packed.read("t1c_low")[brain], packed.read("t1c")[brain])[0, 1] > 0.85

    def test_the_low_dose_goes_through_the_steps_of_the_others(self, packed):
        """Noise of a fine grid is averaged, not folded into the 1 mm voxels."""
        assert packed.smoothed == [(1.25, 1.25, 5.0)]

    def test_the_mask_ends_where_the_t1_ends(self, packed):
        """As in the plugin, nothing is said there."""
        brain = packed.read("brain") > 0
        seen = brain & (packed.read("t1c") > 0.2)
        assert not (brain & (packed.read("t1") == 0)).sum() > 0.005 * brain.sum()
        top = max(np.nonzero(packed.read("t1c") > 0.5)[0])
        assert max(np.nonzero(seen)[0]) < top - 5

    def test_what_a_flair_does_not_cover_counts_in_no_statistics(self, packed):
        """Brain mean 1 where there is a FLAIR, not a half over the whole brain."""
        measured, values = packed.patient.statistics["brain"]["flair"], packed.read("flair")[packed.read("brain") > 0]
        assert (values == 0).mean() > 0.2
        assert values[values > 0].mean() == pytest.approx(1, abs=0.02)
        assert measured.low > 0

    def test_the_label_of_enhancing_tumour_is_the_sites(self, packed):
        """4 in BraTS of before 2023."""
        assert packed.patient.centres
        assert packed.note == ""

    def test_a_segmentation_without_the_label_is_told(self):
        """With what it holds; without any tumour nothing is said."""
        assert "no 3, found 2, 4; --label" in as_codes(np.array([0.0, 2.0, 4.0]), 3)[1]
        assert as_codes(np.zeros(3), 3)[1] == ""
        assert as_codes(np.array([0.0, 1.0, 3.0, 4.0]), 4)[0].tolist() == [0, 1, 5, 3]

    def test_the_gate_refuses_what_the_plugin_would(self, patient, tmp_path):
        """The T1 given twice is no contrast agent."""
        folder = folders(tmp_path, "twice") / "twice"
        for name in ("t1", "t1c"):
            shutil.copy(patient / "x_t1w.nii.gz", folder / f"{name}.nii.gz")
        said = []
        assert pack_studies(tmp_path, tmp_path / "packed", BrainExtractedInput(), report=said.append) == []
        assert len([line for line in said if line.startswith("left out twice: T1 and T1C are the same image")]) == 1


class TestPackStudies:
    """Who is who, as a folder changes."""

    def test_a_new_folder_in_the_middle_moves_nobody(self, quick, tmp_path):
        """The new patient is packed under the next number; every fold holds out whom it held out."""
        data, packed = folders(tmp_path / "data", "a", "c"), tmp_path / "packed"
        pack_studies(data, packed, BrainExtractedInput())
        folders(data, "b")
        found = pack_studies(data, packed, BrainExtractedInput())
        assert [open_packed(path).identity for path in found] == [REAL_STUDY + name for name in "acb"]

    def test_whose_folder_is_gone_is_not_trained_on(self, quick, tmp_path):
        """And the others keep their folds."""
        data, packed = folders(tmp_path / "data", *"abcd"), tmp_path / "packed"
        before = [open_packed(path) for path in pack_studies(data, packed, BrainExtractedInput())]
        (data / "a").rmdir()
        said = []
        after = [open_packed(path) for path in pack_studies(data, packed, BrainExtractedInput(), report=said.append)]
        assert [p.identity for p in after] == [REAL_STUDY + name for name in "bcd"]
        assert said == ["left out a: packed before, but its folder is gone"]
        recipe = tiny_recipe("folds=2", "fold=1")
        assert split(after, recipe)[1] == split(before, recipe)[1]

    def test_one_broken_patient_does_not_end_the_run(self, quick, tmp_path):
        """It is told of at the end, by the line that says something."""
        data, said = folders(tmp_path / "data", "a", "broken", "c"), []
        found = pack_studies(data, tmp_path / "packed", BrainExtractedInput(), report=said.append)
        assert [path.name for path in found] == ["000000.npy", "000001.npy"]
        assert said == ["left out broken: sitk::ERROR: truncated"]

    def test_a_truncated_file_is_named(self, patient, tmp_path):
        """By its own name, and the others go on."""
        shutil.copytree(patient, tmp_path / "torn")
        content = (tmp_path / "torn" / "x_t1w.nii.gz").read_bytes()
        (tmp_path / "torn" / "x_t1w.nii.gz").write_bytes(content[:100])
        said = []
        pack_studies(tmp_path, tmp_path / "packed", BrainExtractedInput(), report=said.append)
        assert any(line.startswith("left out torn: x_t1w.nii.gz cannot be read") for line in said)

    def test_nobody_left_is_said(self, quick, tmp_path, monkeypatch):
        """With every reason before it."""
        monkeypatch.setattr(runs, "choose_brain_extractor", lambda *args, **options: BrainExtractedInput())
        data, said = folders(tmp_path / "data", "broken-1", "broken-2"), []
        recipe = tiny_recipe("doses.input_volume=t1c_low", "doses.target_volume=t1c")
        with pytest.raises(InputError, match="found none in data"):
            open_source(RunPlan(recipe, tmp_path / "run", data, 2, (0,)), said.append)
        assert len(said) == 2

    def test_masks_are_those_of_the_plugins_extractor(self, quick, tmp_path, monkeypatch):
        """HD-BET where its weights lie: the same choice, by the same function and settings."""
        asked = []
        monkeypatch.setattr(
            runs,
            "choose_brain_extractor",
            lambda *args, **options: asked.append((args, options)) or BrainExtractedInput(),
        )
        recipe = tiny_recipe("doses.input_volume=t1c_low", "doses.target_volume=t1c")
        plan = RunPlan(recipe, tmp_path / "run", folders(tmp_path / "data", "a"), 2, (0,), device="cpu")
        open_source(plan)
        ((settings, root), options) = asked[0]
        assert settings == Settings()
        assert (root / settings.model_weights / "brain" / "manifest.json").is_file()
        assert options == {"device": "cpu"}


class TestVolumesOfARecipe:
    """Who lacks what the recipe learns from is not trained on zeros."""

    @staticmethod
    def people(folder, without):
        """Three packed people; the middle one lacks some volumes."""
        for path in packed_files(write_patients(folder, 3)):
            record = json.loads(path.with_suffix(".json").read_text())
            record["identity"] = f"{REAL_STUDY}pat-{path.stem[-1]}"
            if path.stem.endswith("1"):
                record["names"] = [f"not-{name}" if name in without else name for name in record["names"]]
            path.with_suffix(".json").write_text(json.dumps(record))
        return folder

    @pytest.mark.parametrize("missing", ["t1c_low", "t1c", "flair"])
    def test_it_is_left_out_by_name(self, tmp_path, missing):
        """The input dose, the target or a required input; the fold of the others stays."""
        recipe = change("bone-2022", ["folds=3", "fold=2"])
        said, data = [], self.people(tmp_path / "data", [missing])
        source = open_source(RunPlan(recipe, tmp_path / "run", data, 2, (0,)), said.append)
        assert said == [f"left out pat-1: no {missing}"]
        training, held_out = split(source.patients(0), recipe)
        assert [p.identity for p in training] == ["study-pat-0"]
        assert [p.identity for p in held_out] == ["study-pat-2"]

    def test_an_optional_volume_may_be_missing(self, tmp_path):
        """The network has learnt to do without."""
        recipe = tiny_recipe("doses.target_volume=t1c")
        data = self.people(tmp_path / "data", ["flair", "adc"])
        assert len(open_source(RunPlan(recipe, tmp_path / "run", data, 2, (0,))).patients(0)) == 3

    def test_nobody_with_all_of_them(self, tmp_path):
        """What was needed, and how to change it."""
        data = self.people(tmp_path / "data", [])
        with pytest.raises(InputError, match=r"t1c_2.*doses\.target_volume"):
            open_source(RunPlan(tiny_recipe("doses.target_volume=t1c_2"), tmp_path / "run", data, 2, (0,)))

    def test_what_no_study_can_hold_is_refused_before_packing(self, tmp_path):
        """t1c-pro's own target exists in simulation only."""
        plan = RunPlan(change("t1c-pro", []), tmp_path / "run", folders(tmp_path / "data", "a"), 2, (0,))
        with pytest.raises(InputError, match=r"found t1c_disease.*doses\.target_volume=t1c"):
            open_source(plan)


class TestCommand:
    """What a person sees."""

    @staticmethod
    def run(data, folder, *switches):
        given = ("channels=2", "levels=2", "patch=16", "batch=1", "steps=1", "folds=1", "head=residual", *switches)
        command = [sys.executable, str(TRAIN), "--data", str(data), "--run", str(folder), "--threads", "1"]
        return subprocess.run(
            [*command, *(part for switch in given for part in ("--set", switch))], check=False, capture_output=True,
            text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip

    def test_who_was_left_out_is_printed(self, tmp_path):
        """Before the training, which goes on with the others."""
        data = TestVolumesOfARecipe.people(tmp_path / "data", ["t1c_low"])
        done = self.run(data, tmp_path / "run", "doses.input_volume=t1c_low", "doses.target_volume=t1c")
        assert done.returncode == 0, done.stderr
        assert "left out pat-1: no t1c_low" in done.stdout
        assert (tmp_path / "run" / "fold-0" / "checkpoint.pt").exists()

    def test_a_failure_is_a_sentence(self, tmp_path):
        """No traceback of ours to read it from."""
        done = self.run(folders(tmp_path / "data", "pat-1"), tmp_path / "run")
        assert done.returncode == 1
        assert done.stderr.startswith("failed: volumes that a study can hold were needed")


class TestRunFolder:
    """What is packed once is used again, if it is the same."""

    def test_another_label_is_refused(self, quick, tmp_path, monkeypatch):
        """The packed segmentations were read with the former one."""
        monkeypatch.setattr(runs, "choose_brain_extractor", lambda *args, **options: BrainExtractedInput())
        recipe = tiny_recipe("doses.input_volume=t1c_low", "doses.target_volume=t1c")
        plan = RunPlan(recipe, tmp_path / "run", folders(tmp_path / "data", "a"), 2, (0,))
        open_source(plan)
        assert open_source(replace(plan, resume=True)).who() == ("study-a",)
        with pytest.raises(InputError, match=r"label 4.*label 3"):
            open_source(replace(plan, label=4))

    def test_another_brain_extractor_is_refused(self, quick, tmp_path, monkeypatch):
        """HD-BET, installed since, would give the new patients other masks than the old ones."""
        recipe = tiny_recipe("doses.input_volume=t1c_low", "doses.target_volume=t1c")
        plan = RunPlan(recipe, tmp_path / "run", folders(tmp_path / "data", "a"), 2, (0,))
        monkeypatch.setattr(runs, "choose_brain_extractor", lambda *args, **options: BrainExtractedInput("built-in"))
        open_source(plan)
        monkeypatch.setattr(runs, "choose_brain_extractor", lambda *args, **options: BrainExtractedInput("hd-bet"))
        with pytest.raises(InputError, match=r"extractor hd-bet.*extractor built-in"):
            open_source(plan)


class TestReadPatient:
    """The two layouts."""

    def test_dicom_with_a_low_dose_beside_it(self, tmp_path):
        """The study's own T1c is the full dose; the other series lies in a folder of its own."""
        study = write_study(tmp_path / "study", spacing_mm=(6.0, 6.0, 6.0), dwi_spacing_mm=(8.0, 8.0, 8.0))
        write_study(tmp_path / "t1c_low", roles=("T1C",), spacing_mm=(7.0, 7.0, 7.0), study_salt="low")
        images, low, segmentation = read_patient(tmp_path)
        assert images["T1C"].GetSize() == study.grids["T1C"].size
        assert "ADC" in images
        assert low.GetSpacing() == pytest.approx((7, 7, 7))
        assert segmentation is None

    def test_two_series_of_low_dose_are_refused(self, tmp_path):
        """Nothing says which is meant."""
        write_study(tmp_path / "study", roles=("T1", "T1C"), spacing_mm=(8.0, 8.0, 8.0))
        write_study(tmp_path / "t1c_low", roles=("T1", "T1C"), spacing_mm=(8.0, 8.0, 8.0), study_salt="low")
        with pytest.raises(InputError, match="one series was needed in t1c_low, found 2"):
            read_patient(tmp_path)

    def test_a_low_dose_needs_a_folder_of_the_study(self, tmp_path):
        """Else the one T1c could be taken for the other."""
        write_study(tmp_path / "t1c_low", roles=("T1C",), spacing_mm=(8.0, 8.0, 8.0))
        with pytest.raises(InputError, match="folder study was needed"):
            read_patient(tmp_path)

    def test_one_volume_alone_is_refused(self, tmp_path):
        """Volumes, but not both that are needed."""
        sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkFloat32), str(tmp_path / "t1c.nii.gz"))
        with pytest.raises(InputError, match="found only t1c"):
            read_patient(tmp_path)


def test_packed_files_are_those_that_are_whole(tmp_path):
    """A killed packing leaves no record."""
    write_patients(tmp_path, 2)
    (tmp_path / "000001.json").unlink()
    assert [path.name for path in packed_files(tmp_path)] == ["000000.npy"]
