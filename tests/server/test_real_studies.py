"""Real tumours all the way: C-STORE, Orthanc, the method with its own weights, T1c-pro."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from scipy import ndimage

from server.server import REPOSITORY, Orthanc

pytestmark = [pytest.mark.orthanc, pytest.mark.real_data, pytest.mark.slow]

ONE_PREDICTION = {
    "ContrastEnhancement.ModelWeights": REPOSITORY / "model_weights",
    "ContrastEnhancement.Model.Folds": 1,
    "ContrastEnhancement.Model.Mirrorings": 1,
}


def dicomize(folder: Path, **volumes: Path) -> list[Path]:
    """One DICOM study of these NIfTI volumes."""
    command = [sys.executable, str(REPOSITORY / "scripts" / "dicomize.py"), str(folder)]
    for role, file in volumes.items():
        command += [f"--{role}", str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"NO_COLOR": "1"})
    return sorted(folder.rglob("*.dcm"))


def image_of(instances: list[Dataset]) -> sitk.Image:
    """The series as a volume, by geometry."""
    row, column = np.reshape(np.array(instances[0].ImageOrientationPatient, dtype=float), (2, 3))
    normal = np.cross(row, column)
    ordered = sorted(instances, key=lambda ds: float(normal @ np.array(ds.ImagePositionPatient, dtype=float)))
    positions = [np.array(ds.ImagePositionPatient, dtype=float) for ds in ordered]
    slope, intercept = float(ordered[0].get("RescaleSlope", 1)), float(ordered[0].get("RescaleIntercept", 0))
    image = sitk.GetImageFromArray(np.stack([ds.pixel_array for ds in ordered]).astype(np.float32) * slope + intercept)
    between = float(np.linalg.norm(positions[-1] - positions[0])) / (len(positions) - 1)
    image.SetSpacing([float(v) for v in reversed(ordered[0].PixelSpacing)] + [between])
    image.SetOrigin(positions[0].tolist())
    image.SetDirection(np.column_stack([row, column, normal]).ravel().tolist())
    return image


def contrast(image: sitk.Image, lesion: NDArray[np.bool_], brain: NDArray[np.bool_]) -> float:
    """Mean of the enhancing tumour over the median of the rest of the brain."""
    array = sitk.GetArrayFromImage(image)
    return float(array[lesion].mean() / np.median(array[brain & ~lesion]))


def on_grid(file: Path, reference: sitk.Image) -> NDArray[np.uint8]:
    labels = sitk.ReadImage(str(file))
    return sitk.GetArrayFromImage(sitk.Resample(labels, reference, sitk.Transform(), sitk.sitkNearestNeighbor))


def enhance(server: Orthanc, files: list[Path]) -> tuple[sitk.Image, sitk.Image]:
    """(T1c, T1c-pro) as Orthanc holds them after the job."""
    server.send(files)
    study_id = server.studies()[0]
    job = server.wait_for_job(study_id, timeout_s=600)
    assert job["state"] == "STORED", job
    [result] = [item for item in server.results(study_id) if "T1c-pro" in item["MainDicomTags"]["SeriesDescription"]]
    explained = server.get(f"/enhancement/studies/{study_id}/explain")
    # By its role: the T1 may lie on the same slices, and is a source too.
    chosen = explained["roles"]["T1C"]
    for series in server.get(f"/studies/{study_id}/series"):
        if series["MainDicomTags"]["SeriesInstanceUID"] == chosen:
            return image_of(server.datasets(series["ID"])), image_of(server.datasets(result["ID"]))
    raise AssertionError("the T1C that explain names is not in the study")


class TestRealTumours:
    def test_a_native_study_with_skull_on_several_grids(
        self, real_data: Path, tmp_path: Path, start_orthanc: Callable[..., Orthanc]
    ) -> None:
        """5.5 mm spin echo, no diffusion: the brain is found, the series are aligned, the lesion brightens."""
        native = real_data / "tumours" / "TCGA-FG-6692" / "native_with_skull"
        files = dicomize(
            tmp_path / "study", t1=native / "t1.nii.gz", t1c=native / "t1c.nii.gz", flair=native / "fla.nii.gz"
        )
        t1c, t1c_pro = enhance(start_orthanc(ONE_PREDICTION, light=False), files)
        assert t1c.GetSize() == t1c_pro.GetSize()
        brain = on_grid(native / "t1c_brain_mask.nii.gz", t1c) > 0
        before, after = sitk.GetArrayFromImage(t1c), sitk.GetArrayFromImage(t1c_pro)
        # This mask reaches into the transverse and sagittal sinuses; 5 mm inside its rim there is brain alone.
        inner = ndimage.distance_transform_edt(brain, sampling=t1c.GetSpacing()[::-1]) > 5.0
        bright = inner & (before > 1.5 * np.median(before[brain]))
        assert np.median(after[bright] / before[bright]) > 1.15
        assert np.median(after[brain] / np.maximum(before[brain], 1)) == pytest.approx(1.0, abs=0.05)

    def test_a_brain_extracted_study(
        self, real_data: Path, tmp_path: Path, start_orthanc: Callable[..., Orthanc]
    ) -> None:
        """A glioblastoma at 1 mm, already stripped: its rim stands out more than in the T1c."""
        case = real_data / "tumours" / "BraTS-GLI-00001-000"
        volumes = {
            role: case / f"{case.name}-{name}.nii.gz"
            for role, name in {"t1": "t1n", "t1c": "t1c", "flair": "t2f"}.items()
        }
        settings = ONE_PREDICTION | {"ContrastEnhancement.Preprocessing.BrainExtractor": "none"}
        t1c, t1c_pro = enhance(start_orthanc(settings, light=False), dicomize(tmp_path / "study", **volumes))
        labels = on_grid(case / "seg-BraTS23_1.nii.gz", t1c)
        brain = sitk.GetArrayFromImage(t1c) > 0
        gain = (contrast(t1c_pro, labels == 3, brain) - 1) / (contrast(t1c, labels == 3, brain) - 1)
        assert gain > 2.0
