"""scripts/enhance.py: the method on files, by its command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "enhance.py"
ONE_PREDICTION = ("--set", "Model.Folds=1", "--set", "Model.Mirrorings=1")


def _run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _told(done: subprocess.CompletedProcess[str]) -> str:
    """What it said, as one line."""
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume.nii.gz"
    sitk.WriteImage(sitk.Image(8, 8, 8, sitk.sitkFloat32), str(path))
    return path


class TestWhatIsWrongIsSaidBeforeTheWork:
    def test_neither_study_nor_volumes(self, tmp_path: Path) -> None:
        done = _run("-o", tmp_path / "out")
        assert (done.returncode, "either a study folder, or --t1 and --t1c" in _told(done)) == (2, True)

    def test_a_t1c_is_needed(self, volume: Path, tmp_path: Path) -> None:
        assert _run("--t1", volume, "-o", tmp_path / "out.nii.gz").returncode == 2

    def test_a_format_that_itk_does_not_write(self, volume: Path, tmp_path: Path) -> None:
        done = _run("--t1", volume, "--t1c", volume, "-o", tmp_path / "out.unknown")
        assert done.returncode == 1
        assert "OUTPUT: ITK writes no volume of real numbers as 'out.unknown'" in _told(done)

    def test_a_place_where_nothing_can_be_written(self, volume: Path) -> None:
        done = _run("--t1", volume, "--t1c", volume, "-o", volume / "out.nii.gz")
        assert done.returncode == 1
        assert "OUTPUT" in _told(done)

    def test_a_key_that_is_not_a_setting(self, volume: Path, tmp_path: Path) -> None:
        done = _run("--t1", volume, "--t1c", volume, "-o", tmp_path / "out.nii.gz", "--set", "Model.Foldz=1")
        assert done.returncode == 1
        assert "ContrastEnhancement.Model.Foldz: unknown key" in _told(done)

    def test_a_recipe_that_there_is_not(self, volume: Path, tmp_path: Path) -> None:
        done = _run("--t1", volume, "--t1c", volume, "-o", tmp_path / "out.nii.gz", "--recipe", "t3")
        assert done.returncode == 1
        assert "Recipes[0].Name: known recipes are bone-2022, t1c-pro" in _told(done)

    def test_a_file_that_is_no_volume(self, volume: Path, tmp_path: Path) -> None:
        done = _run("--t1", SCRIPT, "--t1c", volume, "-o", tmp_path / "out.nii.gz")
        assert done.returncode == 1
        assert "UNREADABLE_VOLUME" in _told(done)

    def test_a_folder_without_dicom(self, tmp_path: Path) -> None:
        (tmp_path / "study").mkdir()
        done = _run(tmp_path / "study", "-o", tmp_path / "out")
        assert done.returncode == 1
        assert "NO_DICOM" in _told(done)

    def test_a_model_that_is_not_there(self, volume: Path, tmp_path: Path) -> None:
        other = ("--set", 'Recipes=[{"Name": "t1c-pro", "Model": "none-such"}]')
        done = _run("--t1", volume, "--t1c", volume, "-o", tmp_path / "o.nii.gz", *other)
        assert done.returncode == 1
        assert "none-such" in _told(done)


@pytest.mark.real_data
@pytest.mark.slow
def test_a_brain_extracted_case_without_flair_and_adc(real_data: Path, tmp_path: Path) -> None:
    """Two volumes in, one on the T1c's grid out; the tumour is brighter and the rest of the brain is what it was."""
    case = real_data / "tumours" / "BraTS-GLI-00001-000"
    t1c, output = case / "BraTS-GLI-00001-000-t1c.nii.gz", tmp_path / "new" / "t1c_pro.nii.gz"
    t1 = case / "BraTS-GLI-00001-000-t1n.nii.gz"
    done = _run("--t1", t1, "--t1c", t1c, "--brain-extracted", "-o", output, *ONE_PREDICTION)
    assert done.returncode == 0, done.stderr
    assert "Without FLAIR, ADC" in _told(done)
    assert done.stdout.split() == [str(output)]
    before, after = sitk.ReadImage(str(t1c)), sitk.ReadImage(str(output))
    for get in ("GetSize", "GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(after, get)() == pytest.approx(getattr(before, get)(), abs=1e-5)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(case / "seg-BraTS23_1.nii.gz")))
    old, new = (sitk.GetArrayFromImage(image).astype(float) for image in (before, after))
    tumour, brain = np.isin(labels, (3, 4)), (labels == 0) & (old > 0)
    assert new[tumour].mean() > 1.1 * old[tumour].mean()
    assert np.median(new[brain]) == pytest.approx(np.median(old[brain]), rel=0.05)
