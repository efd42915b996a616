"""The simulated study: what is written is what was simulated, and the truth is true."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from enhancement.dicom.matching.match import match
from enhancement.dicom.reading.diffusion import DiffusionSeries, read_diffusion
from enhancement.dicom.reading.series import SeriesVolume, read_series
from enhancement.imaging.adc.fit import fit_adc
from simulation.study import Simulated
from unit.derived_support import entity_findings
from unit.simulated import instances, small_study

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "simulate.py"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Noise-free, oblique, instance numbers reversed, the head moved between series."""
    folder = tmp_path_factory.mktemp("simulated")
    return small_study(folder, noise_free=True, reversed_slices=True, tilt_deg=(9.0, -4.0, 6.0))


@pytest.fixture(scope="module")
def t1c(study: Simulated) -> SeriesVolume:
    return read_series(instances(study, "T1C"))


@pytest.fixture(scope="module")
def diffusion(study: Simulated) -> DiffusionSeries:
    return read_diffusion(instances(study, "DWI"))


def _truth(study: Simulated, name: str, reference: sitk.Image | None = None) -> np.ndarray:
    image = sitk.ReadImage(str(study.truth / f"{name}.nii.gz"))
    if reference is not None:
        image = sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    return sitk.GetArrayFromImage(image)


def test_every_series_plays_its_role(study: Simulated, t1c: SeriesVolume) -> None:
    assert t1c.series_description == "Ax 3D T1 FSPGR +C"
    found = match([dcmread(path, stop_before_pixels=True) for path in study.files])
    roles = {str(role): uid if isinstance(uid, str) else uid[0] for role, uid in found.roles.items()}
    assert roles == {role: facts["series_instance_uid"] for role, facts in study.facts["series"].items()}


def test_series_lie_on_grids_of_their_own(study: Simulated) -> None:
    for role, facts in study.facts["series"].items():
        image = read_diffusion(instances(study, role)).images[0] if role == "DWI" else read_series(
            instances(study, role)
        ).image  # fmt: skip
        axes = np.array(image.GetDirection()).reshape(3, 3)
        assert image.GetSpacing() == pytest.approx(facts["spacing_mm"], abs=1e-6)
        assert sorted(image.GetSize()) == sorted(facts["size"])
        assert np.abs(axes - np.array(facts["axes"])).max() < 1e-6
    directions = [np.array(facts["axes"])[:, 2] for facts in study.facts["series"].values()]
    assert all(not np.allclose(a, b) for i, a in enumerate(directions) for b in directions[:i])


def test_lesions_are_where_the_truth_says(study: Simulated, t1c: SeriesVolume) -> None:
    largest = max((item for item in study.facts["lesions"] if item["enhancing"]), key=lambda item: item["diameter_mm"])
    mask, array = _truth(study, "enhancing_lesion") > 0, sitk.GetArrayFromImage(t1c.image)
    assert array.shape == mask.shape
    index = np.array(t1c.image.TransformPhysicalPointToContinuousIndex(largest["center_mm"]))[::-1]
    near = np.linalg.norm((np.argwhere(mask) - index) * np.array(t1c.image.GetSpacing())[::-1], axis=1)
    assert near.min() < largest["diameter_mm"] / 2
    white = _truth(study, "white_matter") > 0
    assert np.median(array[mask]) > 1.1 * np.median(array[white])


def test_motion_brings_series_together(study: Simulated, t1c: SeriesVolume) -> None:
    """A point p of the T1c lies at matrix @ p + translation in every other series."""
    t1 = read_series(instances(study, "T1")).image
    motion = study.facts["series"]["T1"]["motion"]
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.array(motion["matrix"]).flatten().tolist())
    transform.SetTranslation(motion["translation_mm"])
    fixed, healthy = sitk.GetArrayFromImage(t1c.image), _truth(study, "brain") > 0
    healthy &= (_truth(study, "labels") == 0) & (_truth(study, "concentration") < 0.01)  # mM: no blood

    def agreement(used: sitk.Transform) -> float:
        moved = sitk.GetArrayFromImage(sitk.Resample(t1, t1c.image, used, sitk.sitkLinear))
        return float(np.corrcoef(fixed[healthy], moved[healthy])[0, 1])

    assert agreement(transform) > 0.93
    assert agreement(transform) > agreement(sitk.Transform()) + 0.02
    assert agreement(transform) > agreement(transform.GetInverse()) + 0.02


def test_adc_is_within_5_percent_of_truth_in_tissue(study: Simulated, diffusion: DiffusionSeries) -> None:
    adc = fit_adc(diffusion.images, diffusion.b_values)
    measured, truth = sitk.GetArrayFromImage(adc), _truth(study, "adc")
    # One tissue alone: where neighbours differ, a thick slice mixes signals and no single ADC is true.
    image = sitk.GetImageFromArray(truth)
    spread = sitk.GrayscaleDilate(image, (2, 2, 1)) - sitk.GrayscaleErode(image, (2, 2, 1))
    pure = (truth > 0) & (sitk.GetArrayFromImage(spread) < 0.05 * truth)
    assert pure.sum() > 300
    error = np.abs(measured[pure] / truth[pure] - 1)
    assert np.percentile(error, 99) < 0.05
    assert np.median(error) < 0.01


def test_dcentvfy_finds_one_consistent_study(study: Simulated) -> None:
    if shutil.which("dcentvfy") is None:
        pytest.skip("dicom3tools is not installed")
    assert entity_findings(study.files[::7]) == []


def test_the_truth_is_complete(study: Simulated) -> None:
    facts = json.loads((study.truth / "truth.json").read_text())
    assert {"spec", "protocol", "lesions", "series", "agent"} <= set(facts)
    assert facts["protocol"]["t1c"]["kind"] == "spgr"
    for name in ("labels", "enhancing_lesion", "white_matter", "brain", "concentration", "adc"):
        assert _truth(study, name).any(), name


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    options = ["--seed", "2", "--vendor", "philips", "--spacing", "5", "5", "6", "--dwi-spacing", "6", "6", "8"]
    contents = []
    for name in ("one", "two"):
        subprocess.run([sys.executable, str(SCRIPT), str(tmp_path / name), *options], check=True, capture_output=True)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_the_command_names_what_it_does_not_know(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "--plane", "diagonal"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "axial, sagittal, coronal" in done.stderr
