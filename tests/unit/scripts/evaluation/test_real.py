"""Real cases: which file is what, lesions from a segmentation, new blobs; overlap of masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from enhancement.errors import InputError
from evaluation import ablation, real, studies
from evaluation.ablation import SUBSETS, Study, ablation_table, channel_curves
from evaluation.brain_study import brain_table, dice
from evaluation.cases import Case
from evaluation.cohort import MEASURES_VERSION, evaluate_case, write_json
from evaluation.enhancing import Enhanced
from evaluation.reader import Detection
from evaluation.real import (
    RealCase,
    components,
    new_blobs,
    outlined,
    read_case,
    without_segmentation,
)
from training.runs import RunPlan, train_folds
from training.switches import change
from training.volume_names import find_volumes
from unit.evaluation_case import make_case
from unit.training_support import TINY, write_patients


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkFloat32), str(folder / name))


class TestFindVolumes:
    def test_names_of_the_challenge(self, tmp_path: Path) -> None:
        """The last word of the name decides; T2 is not used."""
        case = "BraTS-GLI-00001-000"
        _touch(tmp_path, *(f"{case}-{n}.nii.gz" for n in ("t1n", "t1c", "t2f", "t2w")), "seg-BraTS23_1.nii.gz")
        found = {role: path.name for role, path in find_volumes(tmp_path).items()}
        assert found == {
            "t1": f"{case}-t1n.nii.gz",
            "t1c": f"{case}-t1c.nii.gz",
            "flair": f"{case}-t2f.nii.gz",
            "seg": "seg-BraTS23_1.nii.gz",
        }

    def test_the_fusion_among_segmentations(self, tmp_path: Path) -> None:
        """Five algorithms and their fusion: the fusion."""
        _touch(tmp_path, "t1_bet.nii.gz", "t1c_bet.nii.gz", "seg_isen-20.nii.gz", "seg_simple.nii.gz", "seg_x.nii.gz")
        assert find_volumes(tmp_path)["seg"].name == "seg_simple.nii.gz"

    def test_a_brain_mask_is_no_tumour(self, tmp_path: Path) -> None:
        """Extractors leave one beside the images."""
        _touch(tmp_path, "brain_mask.nii.gz", "t1c_brain_mask.nii.gz", "x_seg.nii.gz", "t1c_brain.nii.gz")
        assert {role: path.name for role, path in find_volumes(tmp_path).items()} == {
            "seg": "x_seg.nii.gz",
            "t1c": "t1c_brain.nii.gz",
        }

    def test_two_t1_are_refused(self, tmp_path: Path) -> None:
        """Nothing says which is meant."""
        _touch(tmp_path, "a_t1.nii.gz", "b_t1.nii.gz")
        with pytest.raises(InputError, match="one t1 volume"):
            find_volumes(tmp_path)

    @pytest.mark.parametrize("name", ["t1c_low.nii.gz", "case-7_t1ce_low-dose.nii.gz", "T1C_LOWDOSE.NII.GZ"])
    def test_a_low_dose_is_no_second_t1c(self, tmp_path: Path, name: str) -> None:
        """What follows the word for the T1c says so; a low grade before it does not."""
        _touch(tmp_path, "t1.nii.gz", "low-grade_t1c.nii.gz")
        (tmp_path / name).touch()
        found = find_volumes(tmp_path)
        assert (found["t1c"].name, found["t1c_low"].name) == ("low-grade_t1c.nii.gz", name)

    def test_a_case_is_read(self, tmp_path: Path) -> None:
        """Images by role, without those that are not there."""
        _touch(tmp_path, "t1.nii.gz", "t1c.nii.gz")
        found = read_case(tmp_path)
        assert "FLAIR" not in found.images
        assert found.segmentation is None


class TestOutlined:
    @pytest.mark.parametrize("direction", [(1, 1, 1), (-1, -1, 1)])
    def test_a_segmentation_lies_where_its_header_says(self, tmp_path: Path, direction: tuple[int, ...]) -> None:
        """The same voxels of the T1c whichever way the segmentation's axes run."""
        truth = np.zeros((6, 5, 4), dtype=np.uint8)
        truth[2, 1, 0] = 3
        grid = sitk.GetImageFromArray(np.zeros(truth.shape, dtype=np.float32))
        segmentation = sitk.GetImageFromArray(truth)
        flipped = sitk.Flip(segmentation, [sign < 0 for sign in direction])
        assert flipped.GetSize() == grid.GetSize()
        _touch(tmp_path, "t1.nii.gz", "t1c.nii.gz")
        source = RealCase("case", read_case(tmp_path).images, flipped)
        enhancing, abnormal = outlined(source, grid, 3)
        assert np.array_equal(enhancing, truth == 3)
        assert np.array_equal(abnormal, truth > 0)


class TestComponents:
    def test_a_rim_is_one_lesion_in_its_middle(self) -> None:
        """Long axis 9 voxels of 2 mm, middle one 7 mm."""
        mask = np.zeros((20, 20, 20), dtype=bool)
        mask[3:12, 5:12, 6:12] = True
        mask[5:10, 7:10, 8:10] = False
        (lesion,) = components(mask, (2.0, 1.0, 1.0))
        assert lesion.centre_mm == (14, 8, 8.5)
        assert (lesion.long_mm, lesion.short_mm) == (18, 7)

    def test_specks_are_no_lesions(self) -> None:
        """Fewer than five voxels of a segmentation are noise."""
        mask = np.zeros((8, 8, 8), dtype=bool)
        mask[4, 4, 4:6] = True
        assert components(mask, (1.0, 1.0, 1.0)) == []


class TestNewBlobs:
    def test_a_mark_where_the_t1c_shows_nothing_is_new(self) -> None:
        """The lesion is segmented, the vessel enhances in the T1c, the third mark has nothing under it."""
        case = make_case()
        vessel = np.zeros_like(case.brain)
        vessel[24:27, 30:33, 30:33] = True
        t1c = np.where(vessel, case.t1c * 1.6, case.t1c).astype(np.float32)
        case = replace(case, volumes={**case.volumes, "T1C": t1c})
        marks = [Detection(c, 3.7, 0.5) for c in ((24, 24, 18), (25, 31, 31), (34, 24, 24))]
        found = new_blobs(case, t1c, marks)
        assert [blob["centre_mm"] for blob in found] == [[34, 24, 24]]


class TestRealReport:
    def _record(self, case: Case, name: str, *, segmented: bool) -> dict[str, object]:
        case = replace(case, name=name, facts={"segmented": segmented})
        made = Enhanced(case.t1c, np.zeros_like(case.t1c), 1)
        return evaluate_case(case, made, dose_factor=4) | {"new_blobs": [], "measures": MEASURES_VERSION}

    def test_no_segmentation_is_not_no_lesion(self, tmp_path: Path) -> None:
        """No table of lesions found, and no false marks; the glow is said to be a lower limit."""
        record = self._record(without_segmentation(make_case()), "bare", segmented=False)
        write_json(tmp_path / "cases" / "bare.json", record)
        studies.write_real_report(tmp_path)
        text = (tmp_path / "report.md").read_text()
        assert "no case has a segmentation" in text
        assert "0/0" not in text
        assert "lower limit" in text
        assert json.loads((tmp_path / "real.json").read_text())["detection"] == {}

    def test_only_segmented_cases_are_counted(self) -> None:
        """One of two."""
        case = make_case()
        records = [
            self._record(case, "outlined", segmented=True),
            self._record(without_segmentation(case), "bare", segmented=False),
        ]
        text, numbers = studies.real_detection(records)
        assert "1 of 2 cases" in text
        assert numbers["segmented"] == ["outlined"]
        assert numbers["detection"]["T1c"][">=0 mm"]["lesions"] == 1

    def test_a_record_of_other_measures_is_named_and_not_counted(self, tmp_path: Path) -> None:
        """Its reading is written otherwise."""
        for name, version in (("new", MEASURES_VERSION), ("old", MEASURES_VERSION - 1)):
            record = self._record(make_case(), name, segmented=True) | {"measures": version}
            write_json(tmp_path / "cases" / f"{name}.json", record)
        studies.write_real_report(tmp_path)
        assert "Measured by another version of this program: old." in (tmp_path / "report.md").read_text()
        assert json.loads((tmp_path / "real.json").read_text())["names"] == ["new"]

    def test_an_outlined_case_without_enhancing_tumour_counts(self) -> None:
        """Its false marks are false."""
        records = [self._record(without_segmentation(make_case()), "healed", segmented=True)]
        assert studies.real_detection(records)[1]["segmented"] == ["healed"]

    @pytest.mark.parametrize("segmented", [True, False])
    def test_a_case_says_whether_it_was_outlined(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segmented: bool
    ) -> None:
        """Whatever the segmentation holds."""
        _touch(tmp_path, "t1.nii.gz", "t1c.nii.gz")
        image, identity = sitk.Image(4, 4, 4, sitk.sitkFloat32), sitk.Transform(3, sitk.sitkIdentity)
        monkeypatch.setattr(real, "find_regions", lambda *_, **__: make_case().regions)
        monkeypatch.setattr(real, "enhancing", lambda *_, **__: np.zeros((4, 4, 4), dtype=bool))
        monkeypatch.setattr(real, "load_atlas", lambda: SimpleNamespace(wm=image))
        enhancement = SimpleNamespace(
            prepared=SimpleNamespace(to_series={"T1C": identity, "T1": identity}),
            brain=image, missing_roles=(), stage_seconds={}, warnings=(), image=image, spread=image, predictions=1,
        )  # fmt: skip
        source = RealCase("case", read_case(tmp_path).images, image if segmented else None)
        case, _ = real.as_case(source, enhancement)
        assert case.facts["segmented"] is segmented


class TestBrain:
    def test_dice(self) -> None:
        """Two of three voxels each, one shared: 2 x 1 / 4."""
        assert dice(np.array([1, 1, 0], bool), np.array([0, 1, 1], bool)) == 0.5

    def test_table(self) -> None:
        """Simulated by contrast, real by head."""
        heads = {"T1": {"heads": 3, "mean": 0.981, "worst": 0.97, "atlas_mean": 0.9}}
        measured = {"siemens": {"litres": 1.51, "plausible": True, "dice": None}}
        assert "| T1 | 3 | 0.981 | 0.970 | 0.900 |" in brain_table(heads, measured)
        assert "| siemens | 1.51 | yes | – |" in brain_table(heads, measured)


class TestAblation:
    def test_it_learns_what_it_is_measured_against(self) -> None:
        """The physical image at four times the dose, in the statistics of the T1c."""
        study = Study()
        doses = change(study.preset, study.switches).doses
        assert (doses.target_volume, doses.normalise_target_by, doses.dose_factor) == ("t1c_4", "input", 4)
        assert not doses.keep_brain_level

    def test_a_point_is_made_anew_where_anything_decides_otherwise(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same again trains nothing; other steps, switches, patients or cases do, and none goes on from another."""
        trained: list[tuple[int, int, bool]] = []

        def train(plan: RunPlan) -> None:
            trained.append((plan.recipe.steps, plan.recipe.channels, plan.resume))
            train_folds(plan)

        monkeypatch.setattr(ablation, "train_folds", train)
        few = Study(
            steps=4, data=write_patients(tmp_path / "few", 3), switches=(*Study().switches, *TINY[:3], "warm_up=1")
        )
        more = replace(few, data=write_patients(tmp_path / "more", 4))
        case = make_case()
        point = tmp_path / "point"
        first = ablation.run_point(point, few, [], [case])
        assert ablation.run_point(point, few, [], [case]) == first
        assert trained == [(4, 2, False)]
        ablation.run_point(point, replace(few, steps=2), [], [case])
        ablation.run_point(point, few, ["channels=4"], [case])
        ablation.run_point(point, more, [], [case])
        assert trained[1:] == [(2, 2, False), (4, 4, False), (4, 2, False)]
        ablation.run_point(point, few, [], [case, replace(case, name="another")])
        assert trained[4:] == [(4, 2, True)]  # the network is there; only the measures are new
        assert first["fidelity.psnr_brain"] > 0

    def test_patients_of_another_study_are_not_trained_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A smaller study in the folder of a larger one; one of another target."""

        def make(number: int, path: Path, *, target: str) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".json").write_text(target)

        monkeypatch.setattr(ablation, "make_patient", make)
        focal = (*Study().switches, "doses.target_volume=t1c_disease")
        for study in (Study(patients=3), Study(patients=2), Study(patients=2, switches=focal)):
            data = ablation.with_patients(tmp_path, study).data
            assert data is not None
            assert len(list(data.glob("*.json"))) == study.patients
            assert {path.read_text() for path in data.glob("*.json")} == {
                change(study.preset, study.switches).doses.target_volume
            }

    def test_the_t1c_itself_is_what_has_to_be_beaten(self) -> None:
        """One and a half brain SDs below the truth are a tenth of the unit scale, which has 15."""
        case = make_case()
        brighter = case.t1c + 1.5 * np.float32(case.t1c[case.brain].std())
        found = ablation.unchanged(Study(), [replace(case, targets={**case.targets, 4.0: brighter})] * 2)
        assert found["fidelity.psnr_brain"] == pytest.approx(20, abs=0.01)

    @pytest.mark.parametrize(("name", "roles"), SUBSETS)
    def test_each_subset_is_a_recipe(self, name: str, roles: tuple[str, ...]) -> None:
        """The training takes it as it stands."""
        study = Study()
        recipe = change(study.preset, [*study.switches, f"inputs={','.join(roles)}"])
        assert tuple(channel.role for channel in recipe.inputs) == roles, name

    def test_tables_and_curves(self) -> None:
        """Measured beside published; one curve for each number of channels."""
        row = {"fidelity.l2": 31.6e-5, "fidelity.lesion_l2": 74.4e-4, "fidelity.psnr_volume": 35.3,
               "fidelity.ssim_volume": 0.942, "fidelity.psnr_brain": 31.0}  # fmt: skip
        assert "| all four | 31.6 | 74.4 | 35.30 | 94.20 | 31.6; 74.4; 35.3; 94.2 |" in ablation_table(
            {"all four": row}
        )
        assert channel_curves({"4 channels, 0.5": row, "4 channels, 1": row}) == {
            "4 channels": ([0.5, 1.0], [31.0, 31.0])
        }
