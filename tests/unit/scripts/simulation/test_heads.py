"""Whole heads: for the brain extractor at 2 mm, and as scenes for DICOM studies."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from simulation.fields import stream
from simulation.head import HEAD_SHAPE_2MM, draw_contrast, simulate_head, write_heads
from simulation.outer_head import Outer
from simulation.patient import PatientConfig
from simulation.scene import render, render_truth, simulate_study_scene


def _grid(size: tuple[int, int, int], spacing: tuple[float, float, float], degrees: float = 0.0) -> sitk.Image:
    turn = np.deg2rad(degrees)
    matrix = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    reference = sitk.Image(size, sitk.sitkFloat32)
    reference.SetSpacing(spacing)
    reference.SetDirection(matrix.ravel().tolist())
    centre = matrix @ (np.array(size) * spacing / 2)
    reference.SetOrigin((np.array([0.0, 20.0, 8.0]) - centre).tolist())
    return reference


@pytest.fixture(scope="module")
def scene():
    return simulate_study_scene(4, config=PatientConfig(enhancing=1.0, kinds=(("metastasis", 1.0),)))


@pytest.mark.parametrize("seed", range(2))
def test_head_is_a_head(seed):
    head = simulate_head(seed)
    assert head.image.shape == HEAD_SHAPE_2MM
    assert head.image.dtype == np.float32
    assert np.isfinite(head.image).all()
    litres = head.brain.sum() * 8e-6
    assert 0.8 < litres < 3.2
    assert (head.image >= 0).all()


def test_what_the_field_of_view_cuts_off_is_no_brain():
    """Air beyond the image's end is exactly zero; noise within it is not."""
    for seed in range(8):
        head = simulate_head(seed)
        assert (head.image[head.brain] > 0).mean() > 0.9999


def test_same_head_same_bytes():
    first, again = simulate_head(7), simulate_head(7)
    assert first.image.tobytes() == again.image.tobytes()
    assert first.brain.tobytes() == again.brain.tobytes()


def test_heads_come_in_every_contrast():
    drawn = [draw_contrast(stream(seed, "contrast")) for seed in range(60)]
    assert {name for name, _ in drawn} == {"random", "t1", "t1c", "flair", "t2", "b0"}
    for _, values in drawn:
        assert np.isfinite(values).all()
        assert values[Outer.AIR] == 0


def test_a_chosen_contrast():
    """Another one than drawn is another head; the same one is the same head."""
    own = simulate_head(7)
    other = simulate_head(7, "flair" if own.contrast != "flair" else "t1")
    assert other.contrast == ("flair" if own.contrast != "flair" else "t1")
    assert simulate_head(7, own.contrast).image.tobytes() == own.image.tobytes()
    assert not np.array_equal(other.image, own.image)


def test_written_heads(tmp_path):
    ((_, path),) = list(write_heads(tmp_path, range(3, 4)))
    image, mask = np.load(path)
    assert image.dtype == np.uint8
    assert set(np.unique(mask)) == {0, 1}


def test_scene_has_all_parts(scene):
    found = set(np.unique(scene.outer).tolist())
    assert found >= {int(kind) for kind in Outer if kind is not Outer.CORD}


def test_same_scene_same_bytes(scene):
    grid = _grid((96, 96, 12), (2.2, 2.2, 6.0), degrees=12)
    first, again = (sitk.GetArrayFromImage(render(scene, "t1c", grid)).tobytes() for _ in range(2))
    assert first == again
    other = sitk.GetArrayFromImage(render(scene, "t1c", grid, salt=1)).tobytes()
    assert other != first


def test_clean_diffusion_gives_the_true_adc(scene):
    grid = _grid((110, 110, 30), (2.0, 2.0, 4.0))
    b0, b1000 = (sitk.GetArrayFromImage(render(scene, n, grid, clean=True)) for n in ("b0", "b1000"))
    truth = sitk.GetArrayFromImage(render_truth(scene, "adc", grid))
    brain = sitk.GetArrayFromImage(render_truth(scene, "brain", grid)) > 0
    measured = np.log(np.maximum(b0, 1e-3) / np.maximum(b1000, 1e-3)) / 1000
    assert np.median(measured[brain]) == pytest.approx(np.median(truth[brain]), rel=0.02)


def test_agent_shows_only_after_injection(scene):
    grid = _grid((110, 110, 60), (2.0, 2.0, 2.0))
    before, after = (sitk.GetArrayFromImage(render(scene, "t1c", grid, clean=True, dose=d)) for d in (0.0, 1.0))
    concentration = sitk.GetArrayFromImage(render_truth(scene, "concentration", grid))
    brain = sitk.GetArrayFromImage(render_truth(scene, "brain", grid)) > 0
    agent = brain & (concentration > 0.1)
    assert agent.sum() > 20
    # The grey scale of both is that of the T1c, so the ratio is enhancement.
    assert np.median(after[agent] / before[agent]) > 1.1


def test_motion_moves_the_head(scene):
    grid = _grid((110, 110, 40), (2.0, 2.0, 4.0))
    motion = sitk.Euler3DTransform()
    motion.SetTranslation((6.0, 0.0, 0.0))
    still, moved = (sitk.GetArrayFromImage(render_truth(scene, "brain", grid, motion=m)) for m in (None, motion))
    assert np.nonzero(moved)[2].mean() - np.nonzero(still)[2].mean() == pytest.approx(3.0, abs=0.3)


def test_air_is_dark_and_brain_has_the_asked_level(scene):
    grid = _grid((110, 110, 40), (2.0, 2.0, 4.0))
    image = sitk.GetArrayFromImage(render(scene, "t1", grid, clean=True))
    brain = sitk.GetArrayFromImage(render_truth(scene, "brain", grid)) > 0
    assert image[brain].mean() == pytest.approx(400, rel=0.1)
    assert np.median(image[:, 0, :3]) < 1
