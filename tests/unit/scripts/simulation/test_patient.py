"""Whole patients: determinism, truth, and what null cohorts promise."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simulation.anatomy import build_anatomy, draw_anatomy
from simulation.cache import CHANNELS, generate, read, seeds_in
from simulation.fields import stream
from simulation.frames import SHAPE
from simulation.layers import Label
from simulation.lesions import ENHANCING_KINDS, MIMIC_KINDS, build_lesion, draw_diameter, draw_lesion
from simulation.patient import PatientConfig, SimulatedPatient, simulate_patient
from simulation.places import place

VOLUMES = ("t1", "flair", "adc", "t1c", "t1c_low", "t1_clean", "concentration_mm", "adc_true")


@pytest.fixture(scope="module")
def patient() -> SimulatedPatient:
    config = PatientConfig(enhancing=1.0, kinds=(("metastasis", 1.0),), bias_sd=(0.02, 0.05), noise=(0.01, 0.03))
    return simulate_patient(5, config=config)


@pytest.fixture(scope="module")
def anatomy():
    return build_anatomy(draw_anatomy(stream(3, "anatomy")))


def test_same_seed_same_bytes(patient):
    again = simulate_patient(5, config=PatientConfig(**patient.meta["config"] | _tuples(patient.meta["config"])))
    for name in VOLUMES:
        assert getattr(patient, name).tobytes() == getattr(again, name).tobytes(), name
    assert patient.labels.tobytes() == again.labels.tobytes()
    assert json.dumps(patient.meta) == json.dumps(again.meta)


def _tuples(config: dict) -> dict:
    return {
        "doses": tuple(config["doses"]), "only": tuple(config["only"]), "noise": tuple(config["noise"]),
        "bias_sd": tuple(config["bias_sd"]), "kinds": tuple((k, w) for k, w in config["kinds"]),
    }  # fmt: skip


def test_everything_is_finite_and_on_the_network_grid(patient):
    for name in VOLUMES:
        volume = getattr(patient, name)
        assert volume.shape == SHAPE
        assert volume.dtype == np.float32
        assert np.isfinite(volume).all(), name
    assert sorted(patient.t1c_k) == [1, 2, 4, 8]


def test_brain_volume_is_human(patient):
    assert 1.2e6 < patient.brain.sum() < 2.6e6
    overlap = (
        2 * (patient.brain & patient.brain_imperfect).sum() / (patient.brain.sum() + patient.brain_imperfect.sum())
    )
    assert overlap > 0.9


def test_targets_are_in_the_units_of_the_t1c(patient):
    calm = patient.brain & (patient.labels == 0) & (patient.wm > 0.95)
    ratio = patient.t1c[calm] / patient.t1c_k[1.0][calm]
    assert np.median(ratio) == pytest.approx(1, abs=0.02)


def test_more_dose_is_brighter_where_there_is_agent(patient):
    lesion = patient.labels == Label.ENHANCING
    means = [patient.t1_clean[lesion].mean()] + [patient.t1c_k[k][lesion].mean() for k in (1.0, 2.0, 4.0)]
    assert np.all(np.diff(means) > 0)
    white = (patient.wm > 0.98) & (patient.labels == 0)
    small = [patient.t1c_k[k][white].mean() / patient.t1_clean[white].mean() for k in (1.0, 4.0)]
    assert 1.0 < small[0] < 1.06
    assert 1.0 < small[1] < 1.25


def test_concentration_lies_in_lesions_and_vessels(patient):
    assert np.median(patient.concentration_mm[patient.labels == Label.ENHANCING]) > 0.03
    assert np.median(patient.concentration_mm[patient.labels == Label.VESSEL]) > 0.1
    white = patient.concentration_mm[(patient.wm > 0.98) & (patient.labels == 0)]
    assert np.percentile(white, 95) < 0.02
    assert patient.concentration_mm.min() >= 0


def test_measured_adc_agrees_with_the_truth(patient):
    calm = (patient.wm > 0.95) & (patient.labels == 0) & patient.brain
    assert np.median(patient.adc[calm]) == pytest.approx(np.median(patient.adc_true[calm]), rel=0.06)
    assert patient.adc.max() <= 4e-3


def test_saved_and_loaded(patient, tmp_path):
    patient.save(tmp_path / "p.npz")
    back = SimulatedPatient.load(tmp_path / "p.npz")
    np.testing.assert_allclose(back.t1c, patient.t1c, rtol=2e-3)
    np.testing.assert_array_equal(back.labels, patient.labels)
    assert back.meta["seed"] == 5


def test_half_of_the_metastases_are_below_5_mm():
    rng = np.random.default_rng(0)
    sizes = np.array([draw_diameter(rng) for _ in range(4000)])
    assert (sizes < 5).mean() == pytest.approx(0.5, abs=0.03)
    assert sizes.min() >= 1.5
    assert sizes.max() <= 40


@pytest.mark.parametrize("kind", [*ENHANCING_KINDS, *MIMIC_KINDS])
def test_every_kind_of_lesion_covers_what_it_should(kind, anatomy):
    rng = np.random.default_rng(1)
    for _ in range(3):
        draw = draw_lesion(rng, kind, place(rng, anatomy, kind))
        layers = build_lesion(draw, anatomy, 3.0)
        assert layers
        assert draw.enhancing == (kind in ENHANCING_KINDS)
        for layer in layers:
            assert np.isfinite(layer.concentration_mm).all()
            assert (layer.alpha >= 0).all()
            assert (layer.alpha <= 1.0001).all()
            if kind in MIMIC_KINDS:
                assert not layer.concentration_mm.any()


def test_a_ball_has_the_volume_of_its_diameter(anatomy):
    rng = np.random.default_rng(4)
    draw = draw_lesion(rng, "metastasis", place(rng, anatomy, "metastasis"), diameter_mm=4.0)
    inside = sum(float(layer.alpha.sum()) for layer in build_lesion(draw, anatomy, 3.0) if layer.name == "metastasis")
    a, b, c = draw.radii_mm
    assert inside == pytest.approx(4 / 3 * np.pi * a * b * c, rel=0.45)


def test_fractions_of_the_anatomy_add_to_one(anatomy):
    total = anatomy.wm + anatomy.gm + anatomy.csf + anatomy.dura + anatomy.bone
    np.testing.assert_allclose(total, 1, atol=1e-4)


@pytest.mark.slow
def test_null_case_has_no_agent_in_the_t1c():
    patient = simulate_patient(9, config=PatientConfig(same_t1c=True))
    np.testing.assert_allclose(patient.t1c_k[4.0], patient.t1_clean, rtol=1e-4, atol=1e-2)


@pytest.mark.slow
def test_bright_cohort_has_nothing_that_enhances():
    patient = simulate_patient(9, config=PatientConfig(only=("bright",)))
    assert patient.meta["lesions"]
    assert not any(lesion["enhancing"] for lesion in patient.meta["lesions"])
    bright = patient.labels == Label.T1_BRIGHT
    # What is left is the blood of the tissue that shares its voxels, at four times the dose.
    assert np.abs(patient.t1c_k[4.0][bright] / patient.t1_clean[bright] - 1).mean() < 0.08


@pytest.mark.slow
def test_the_cache_grows_and_goes_on(tmp_path):
    assert [seed for seed, _ in generate(tmp_path, range(2, 3))] == [2]
    stamp = (tmp_path / "000002.npy").stat().st_mtime_ns
    list(generate(tmp_path, range(2, 3)))
    assert (tmp_path / "000002.npy").stat().st_mtime_ns == stamp
    assert seeds_in(tmp_path) == [2]
    cached = read(tmp_path, 2)
    assert cached.volumes.shape == (len(CHANNELS), *SHAPE)
    assert cached.meta["seed"] == 2
