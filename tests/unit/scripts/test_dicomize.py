"""Volumes with a role each, as a DICOM study: same voxels, same places, headers that say the role."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from enhancement.dicom.reading.adc_map import read_adc
from enhancement.dicom.reading.diffusion import read_diffusion
from enhancement.dicom.reading.series import read_series
from simulation.grids import make_grid, radiological
from simulation.nifti_study import adc_in_mm2_s, dicomize

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "dicomize.py"


def _volume(
    seed: int, *, flips: str = "LPS", scale: float = 1000.0, tilt: tuple[float, ...] = (11.0, -4.0, 7.0)
) -> sitk.Image:
    grid = make_grid("axial", (5.0, 6.0, 9.0), (100.0, 120.0, 110.0), tilt_deg=tilt, center_mm=(3.0, -8.0, 21.0))
    values = np.random.default_rng(seed).integers(0, 1000, grid.size[::-1]) / 1000 * scale
    return sitk.DICOMOrient(grid.image(values), flips)


def _read(paths: list[Path], role: str) -> list:
    return [dcmread(path) for path in paths if path.parent.name.endswith(f"_{role}")]


@pytest.mark.parametrize("flips", ["LPS", "RAS", "LAS", "PIR", "SLA", "IPR"])
def test_voxels_keep_value_and_place(tmp_path: Path, flips: str) -> None:
    image = _volume(1, flips=flips)
    sitk.WriteImage(image, str(tmp_path / "t1c.nii.gz"))
    paths = dicomize(tmp_path / "study", {"T1C": tmp_path / "t1c.nii.gz"})
    volume = read_series(_read(paths, "T1C")).image
    assert volume.GetNumberOfPixels() == image.GetNumberOfPixels()
    generator = np.random.default_rng(5)
    for _ in range(50):
        index = [int(generator.integers(0, n)) for n in image.GetSize()]
        there = volume.TransformPhysicalPointToContinuousIndex(image.TransformIndexToPhysicalPoint(index))
        assert there == pytest.approx(np.rint(there), abs=1e-3)
        assert volume[[round(i) for i in there]] == image[index]


def test_each_series_stays_on_its_own_grid(tmp_path: Path) -> None:
    first, second = _volume(1), _volume(2, tilt=(0.0, 0.0, 0.0))
    sitk.WriteImage(first, str(tmp_path / "a.nii.gz"))
    sitk.WriteImage(second, str(tmp_path / "b.mha"))
    paths = dicomize(tmp_path / "study", {"T1": tmp_path / "a.nii.gz", "T1C": tmp_path / "b.mha"})
    for role, image in (("T1", first), ("T1C", second)):
        volume = read_series(_read(paths, role)).image
        assert volume.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-5)
        assert volume.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-3)


def test_diffusion_and_adc_are_understood(tmp_path: Path) -> None:
    b0 = _volume(3)
    grid = sitk.GetArrayFromImage(b0)
    adc = sitk.GetImageFromArray(np.full_like(grid, 0.8))  # in 1e-3 mm2/s
    adc.CopyInformation(b0)
    names = {"b0": b0, "b1000": sitk.Cast(b0 * 0.45, sitk.sitkInt16), "adc": adc}
    for name, image in names.items():
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    diffusion = (tmp_path / "b0.nii.gz", tmp_path / "b1000.nii.gz")
    paths = dicomize(tmp_path / "study", {"ADC": tmp_path / "adc.nii.gz"}, diffusion, vendor="siemens")
    assert read_diffusion(_read(paths, "DWI")).b_values == (0.0, 1000.0)
    read = sitk.GetArrayFromImage(read_adc(_read(paths, "ADC")).image)
    assert read == pytest.approx(np.full_like(read, 0.8e-3), rel=1e-3)


@pytest.mark.parametrize("unit", [1.0, 1e-3, 1e-6])
def test_the_unit_of_an_adc_map_is_found(unit: float) -> None:
    image = sitk.GetImageFromArray(np.full((3, 3, 3), 0.9e-3 / unit, dtype=np.float32))
    assert sitk.GetArrayFromImage(adc_in_mm2_s(image)) == pytest.approx(0.9e-3, rel=1e-5)


def test_an_adc_map_without_a_plausible_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="median"):
        adc_in_mm2_s(sitk.GetImageFromArray(np.full((3, 3, 3), 40.0, dtype=np.float32)))


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    sitk.WriteImage(_volume(1), str(tmp_path / "t1.nii.gz"))
    first = dicomize(tmp_path / "one", {"T1": tmp_path / "t1.nii.gz"})
    second = dicomize(tmp_path / "two", {"T1": tmp_path / "t1.nii.gz"})
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_thick_axes_become_slices() -> None:
    image = sitk.Image(20, 30, 40, sitk.sitkFloat32)
    image.SetSpacing((5.0, 1.0, 1.0))
    assert radiological(image).GetSpacing() == pytest.approx((1.0, 1.0, 5.0))


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    sitk.WriteImage(_volume(1), str(tmp_path / "b0.nii.gz"))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "out"), "--dwi-b0", str(tmp_path / "b0.nii.gz")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "go together" in done.stderr


@pytest.mark.real_data
@pytest.mark.parametrize("vendor", ["ge", "siemens", "philips"])
def test_real_native_case(real_data: Path, tmp_path: Path, vendor: str) -> None:
    case = real_data / "tumours" / "TCGA-FG-6692" / "native_with_skull"
    files = {"T1": "t1", "T1C": "t1c", "FLAIR": "fla", "T2": "t2"}
    paths = dicomize(
        tmp_path,
        {role: case / f"{name}.nii.gz" for role, name in files.items()},
        vendor=vendor,  # type: ignore[arg-type]
    )
    for role, name in files.items():
        original = sitk.ReadImage(str(case / f"{name}.nii.gz"), sitk.sitkFloat32)
        volume = read_series(_read(paths, role)).image
        assert volume.GetNumberOfPixels() == original.GetNumberOfPixels()
        back = sitk.Resample(volume, original, sitk.Transform(), sitk.sitkNearestNeighbor)
        difference = sitk.GetArrayFromImage(back) - sitk.GetArrayFromImage(original)
        assert np.abs(difference).max() < 1.0  # a maker that rescales rounds in its own steps
