"""Cohorts: a network that adds nothing changes nothing, records resume, tables say what was counted."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from enhancement.network.architectures.residual_unet import ResidualUNet
from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale, Preprocessing
from enhancement.network.weights import write_model
from evaluation import cases, cohort, ensemble_study, images, studies, tables
from evaluation.ablation import FIRST_ABLATION_SEED
from evaluation.brain_study import FIRST_HEAD_SEED
from evaluation.cases import FIRST_DEVELOPMENT_SEED, FIRST_TEST_SEED, Case
from evaluation.cohort import evaluate_case, identity, read_record, readings, run_cohort, seeds_of, values, write_json
from evaluation.enhancing import Enhanced, Enhancer
from evaluation.ensemble_study import FIRST_ENSEMBLE_SEED, area_under_curve
from evaluation.images import measure
from evaluation.nulls import COHORTS, FIRST_NULL_SEED, false_enhancement, null_case, null_summary, null_table, shifted
from evaluation.reader import ReaderSettings
from evaluation.sheets import froc_figure, sheet
from simulation import patient
from simulation.patient import PatientConfig
from training.simulated import FIRST_SEED
from unit.evaluation_case import make_case, make_patient


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks whose last layer is zero: the output is the T1C channel."""
    folder = tmp_path_factory.mktemp("model")
    network = ResidualUNet(4, 2, levels=2, convolutions=1, head="residual")
    state = {name: value * 0 for name, value in network.state_dict().items()}
    scale = {"z_min": -3.0, "z_max": 12.0}
    manifest = Manifest(
        name="nothing",
        version="0.0.0",
        recipe="test",
        network=NetworkShape(in_channels=4, channels=2, levels=2, convolutions=1, head="residual"),
        inputs=tuple(InputChannel(role=role, **scale) for role in ("T1", "FLAIR", "ADC", "T1C")),
        output=OutputScale(**scale, reference="T1C", dose_factor=4),
        preprocessing=Preprocessing(bias_field=False),
        folds=(Fold(file="fold-0.safetensors", sha256="0" * 64),),
    )
    write_model(folder, manifest, [state, state])
    return folder


class TestEnhancer:
    def test_a_network_that_adds_nothing_returns_the_t1c(self, model: Path, case: Case) -> None:
        """Normalisation, prediction and the way back are the identity (to half precision)."""
        made = Enhancer(model, folds=2, mirrorings=2)(case)
        assert made.predictions == 4
        assert made.image == pytest.approx(case.t1c, abs=2.0)
        assert made.spread.max() < 1.0

    def test_outside_the_brain_nothing_changes(self, model: Path, case: Case) -> None:
        """Voxel for voxel the T1c."""
        made = Enhancer(model, folds=1, mirrorings=1)(case)
        assert np.array_equal(made.image[~case.brain], case.t1c[~case.brain])

    def test_what_lies_beyond_the_limits_is_not_cut_off(self, model: Path, case: Case) -> None:
        """A voxel of 40 SDs, where the network sees 12 at most, is as bright in the result as in the T1c."""
        inside = case.t1c[case.brain]
        bright = case.t1c.copy()
        at = tuple(np.argwhere(case.brain)[len(inside) // 2])
        bright[at] = inside.mean() + 40 * inside.std()
        made = Enhancer(model, folds=1, mirrorings=1)(replace(case, volumes=case.volumes | {"T1C": bright}))
        assert made.image[at] == pytest.approx(bright[at], rel=0.01)

    def test_a_missing_input_is_zeros(self, model: Path, case: Case) -> None:
        """ADC is not there; FLAIR is left out on demand."""
        inputs, _, _ = Enhancer(model, folds=1, mirrorings=1, missing=("FLAIR",)).inputs(case)
        assert [bool(channel.any()) for channel in inputs] == [True, False, False, True]


class TestMeasure:
    def test_the_true_quadruple_dose_has_k_4(self, case: Case) -> None:
        """By the case's own simulated doses; its fidelity is perfect."""
        found = measure(case, case.targets[4.0])
        assert found.k_eff_simulated == pytest.approx(4, abs=1e-3)
        assert found.fidelity is not None
        assert np.isinf(found.fidelity.psnr_brain)
        assert found.reading is not None
        assert found.reading.at(ReaderSettings().threshold).found.tolist() == [True]

    def test_the_own_sequence_is_inverted_where_it_is_known(self, case: Case) -> None:
        """In an SPGR of the paper's timing it is the SPGR's dose; a case without protocol has none."""
        t1c = {"kind": "spgr", "tr_ms": 6.1, "te_ms": 1.2, "flip_deg": 12.0}
        known = replace(case, facts={"protocol": {"t1c": t1c}})
        found = measure(known, case.targets[2.0], read=False, with_ssim=False).flat()
        assert found["k_eff_own"] == pytest.approx(found["k_eff_spgr"])
        assert np.isnan(measure(case, case.targets[2.0], read=False, with_ssim=False).k_eff_own)

    def test_the_least_dose_counts_where_the_signal_peaks(self, case: Case) -> None:
        """Eight times the dose is as bright as four times."""
        peaked = replace(case, targets={**case.targets, 8.0: case.targets[4.0]})
        assert measure(peaked, case.targets[4.0], read=False).k_eff_simulated == pytest.approx(4, abs=1e-3)

    def test_t1c_is_dose_one_and_does_not_glow(self, case: Case) -> None:
        """The T1c against itself."""
        found = measure(case, case.t1c)
        assert found.k_eff_simulated == pytest.approx(1, abs=0.05)
        assert found.glow is not None
        assert found.glow.percentile_99 == pytest.approx(0, abs=1e-6)
        assert found.roi is not None
        assert found.roi.cep == pytest.approx(40, abs=8)  # 140/100, and partial volume at the rim


class TestCohort:
    def test_records_resume_and_tables_follow(self, model: Path, tmp_path: Path) -> None:
        """A second run makes nothing; the tables have every image."""
        made: list[int] = []

        def make(seed: int) -> Case:
            made.append(seed)
            return make_case(seed)

        enhancer = Enhancer(model, folds=1, mirrorings=1)
        for _ in range(2):
            records = run_cohort(enhancer, tmp_path, seeds=(5, 6), make=make)
        assert made == [5, 6]
        result = tables.summary(records)
        assert result["detection"]["T1c"][">=0 mm"]["lesions"] == 2
        assert result["gains"]["T1c-pro"]["roi"]["contrast"] == pytest.approx(1, abs=0.1)
        text = tables.contrast_table(result) + tables.gain_table(result) + tables.detection_table(result)
        assert "Not read" not in text
        for word in ("closed form", "smoothed T1c", "CNR", ">=10 mm", "2/2"):
            assert word in text
        assert [reading.at(0.35).found.tolist() for reading in readings(records, "T1c-pro")] == [[True], [True]]
        assert np.isfinite(values(records, "T1c", "noise")).all()

    def test_one_reader_reads_all_images(self, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
        """T1c and T1c-pro, and what is beside them, with the same numbers and the same knowledge of anatomy."""
        read: list[tuple[int, ReaderSettings, object]] = []

        def lesions(
            image: np.ndarray, *_: object, settings: ReaderSettings, place: object, **__: object
        ) -> list[object]:
            read.append((id(image), settings, place))
            return []

        monkeypatch.setattr(images, "candidate_lesions", lesions)
        made = Enhanced(case.targets[4.0], np.zeros_like(case.t1c), 1)
        evaluate_case(case, made, dose_factor=4)
        assert len({image for image, *_ in read}) == len(cohort.IMAGES)
        low = replace(ReaderSettings(), threshold=images.FROC_REACH * ReaderSettings().threshold)
        assert all(settings == low and place is case.place for _, settings, place in read)

    def test_seeds_are_numbers_and_ranges(self) -> None:
        """In the order given; cohorts may be read together."""
        assert seeds_of("900005,900000-900002,890000") == [900005, 900000, 900001, 900002, 890000]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", 'numbers and ranges, as in "900000-900078,920000"; found ""'),
            ("900000-", 'found "900000-"'),
            ("900000 to 900003", 'found "900000 to 900003"'),
            ("900003-900000", '"900003-900000" has 0 seeds'),
            ("900000-900003,900002", "each of them once"),
            ("0-5", "training may draw patients below 890000 and from 1000000 on; found 0"),
            ("999999-1000001", "found 1000000"),
        ],
    )
    def test_what_is_no_cohort_is_refused(self, text: str, said: str) -> None:
        """With what was found."""
        with pytest.raises(ValueError, match=said):
            seeds_of(text)

    def test_a_range_of_sizes_has_one_row(self, model: Path, tmp_path: Path) -> None:
        """From 10 mm on is one set, by whatever name."""
        records = run_cohort(Enhancer(model, folds=1, mirrorings=1), tmp_path, seeds=(5,), make=make_case)
        text = tables.detection_table(tables.summary(records))
        assert [text.count(f"| {size} | T1c |") for size in (">=0 mm", "<3 mm", "5-10 mm")] == [1, 1, 1]
        assert text.count("10 mm | T1c |") == 2  # 5-10 mm and >=10 mm
        assert text.index("| >=10 mm |") < text.index("| <3 mm |")

    def test_equivalent_doses_say_of_how_many_cases_they_are(self) -> None:
        """A signal beyond saturation has none; other rows, and those of all cases, say nothing."""
        records = [
            {"images": {name: {"measures": {"k_eff_spgr": dose, "k_eff_simulated": 2.0, "noise": 0.02},
                               "reading": None} for name in cohort.IMAGES}}
            for dose in (1.2, 1.4, 1e308)
        ]  # fmt: skip
        table = tables.contrast_table(tables.summary(records, threshold=0.1)).splitlines()
        rows = {line.split(" | ")[0]: line for line in table}
        assert rows["| k_eff (SPGR inverted)"].startswith("| k_eff (SPGR inverted) | 1.30 ± 0.14, n 2 |")
        assert "n " not in rows["| k_eff (simulated doses)"].removeprefix("| k_eff (simulated doses)")
        assert "n 3" not in "".join(table)

    def test_a_quick_run_reads_two_images(self, model: Path, tmp_path: Path) -> None:
        """The others keep their contrast and fidelity; the detection table has no row of them and says so."""
        enhancer = Enhancer(model, folds=1, mirrorings=1)
        records = run_cohort(enhancer, tmp_path, seeds=(5,), make=make_case, quick=True)
        result = tables.summary(records)
        assert set(result["detection"]) == {"T1c", "T1c-pro"}
        *_, blank, note = tables.detection_table(result).splitlines()
        assert (blank, note) == ("", "Not read in a quick run: smoothed T1c, closed form, scaled subtraction.")
        assert result["images"]["closed form"]["fidelity.ssim_brain"]["n"] == 1
        assert result["images"]["smoothed T1c"]["fidelity.ssim_brain"]["n"] == 0

    def test_a_record_of_another_model_is_not_taken(self, tmp_path: Path) -> None:
        """What the record says against what is asked for."""
        write_json(tmp_path / "1.json", {"identity": {"model": "a", "folds": 5}})
        assert read_record(tmp_path / "1.json", {"model": "a", "folds": 5}) is not None
        assert read_record(tmp_path / "1.json", {"model": "b", "folds": 5}) is None

    def test_all_that_decides_the_numbers_is_in_the_identity(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """2 x 1 is not 1 x 2; nor is a quick run a full one, nor other measures; the record survives JSON."""
        one = Enhancer(model, folds=2, mirrorings=1)
        first = identity(one)
        write_json(tmp_path / "1.json", {"identity": first})
        assert read_record(tmp_path / "1.json", first) is not None
        assert first["reader"]["threshold"] == ReaderSettings().threshold
        assert first["dose_factor"] == 4
        others = [
            identity(one, quick=True),
            identity(one, cohort="shifted"),
            identity(Enhancer(model, folds=1, mirrorings=2)),
            identity(Enhancer(model, folds=2, mirrorings=1, missing=("FLAIR",))),
        ]
        monkeypatch.setattr(cohort, "MEASURES_VERSION", cohort.MEASURES_VERSION + 1)
        others.append(identity(one))
        assert all(read_record(tmp_path / "1.json", other) is None for other in others)

    def test_a_full_run_does_not_take_a_quick_ones_records(self, model: Path, tmp_path: Path) -> None:
        """The detection table would lack its rows."""
        enhancer = Enhancer(model, folds=1, mirrorings=1)
        run_cohort(enhancer, tmp_path, seeds=(5,), make=make_case, quick=True)
        records = run_cohort(enhancer, tmp_path, seeds=(5,), make=make_case)
        assert set(tables.summary(records)["detection"]) == set(cohort.IMAGES)

    def test_json_has_no_nan(self, tmp_path: Path) -> None:
        """Standard JSON: NaN is null."""
        write_json(tmp_path / "x.json", {"a": np.float64("nan"), "b": np.array([1, 2]), "c": float("inf")})
        assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": [1, 2], "c": 1e308}

    def test_figures_are_written(self, case: Case, tmp_path: Path) -> None:
        """A sheet without ADC, and an FROC curve."""
        sheet(case, case.targets[4.0], tmp_path / "sheet.png")
        curve = {"thresholds": [0.5, 0.1], "false_per_case": [0.0, 1.0], "sensitivity": [0.4, 0.8]}
        froc_figure({"T1c": curve}, tmp_path / "froc.png", threshold=0.12)
        assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"
        assert (tmp_path / "froc.png").stat().st_size > 1000


class TestSeeds:
    def test_no_study_draws_anothers_patients(self) -> None:
        """Starts in order, each with as many seeds as its study may take; training begins at 1,000,000."""
        ranges = sorted(
            [
                (FIRST_DEVELOPMENT_SEED, 10_000),
                (FIRST_TEST_SEED, 30_000),
                (FIRST_ENSEMBLE_SEED, 1000),
                (FIRST_HEAD_SEED, 1000),
                (FIRST_ABLATION_SEED, 1000),
                (FIRST_NULL_SEED, 1000 * (1 + max(cohort.seeds for cohort in COHORTS))),
                (FIRST_SEED, 100_000),
            ]
        )
        assert all(first + count <= following for (first, count), (following, _) in pairwise(ranges))

    def test_a_kept_patient_is_one_of_the_same_configuration(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One seed, two configurations: two patients; the second call of each simulates nothing."""
        drawn: list[PatientConfig | None] = []

        def simulate(seed: int, *, config: PatientConfig | None = None) -> patient.SimulatedPatient:
            drawn.append(config)
            return make_patient(seed, {"mimics": (config or PatientConfig()).mimics})

        monkeypatch.setattr(cases, "simulate_patient", simulate)
        for _ in range(2):
            assert cases.stored_patient(7, folder=tmp_path).meta["mimics"]
            assert not cases.stored_patient(7, config=PatientConfig(mimics=False), folder=tmp_path).meta["mimics"]
        assert cases.stored_patient(7, config=PatientConfig(), folder=tmp_path).meta["mimics"]
        assert len(drawn) == 2


class TestNulls:
    def test_a_shift_moves_all_but_the_t1c(self, case: Case) -> None:
        """3 mm in some direction; none for 0 mm."""
        moved = shifted(case, 3.0, seed=1)
        assert np.array_equal(moved.t1c, case.t1c)
        centre = np.array(ndimage.center_of_mass(np.maximum(case.t1, 0)))
        assert np.linalg.norm(np.array(ndimage.center_of_mass(np.maximum(moved.t1, 0))) - centre) == pytest.approx(
            3, abs=0.3
        )
        assert shifted(case, 0.0, seed=1) is case

    def test_the_truth_has_no_false_enhancement(self, case: Case) -> None:
        """Neither has the truth with a brighter lesion: that takes up agent."""
        truth = case.targets[4.0]
        assert not false_enhancement(case, truth, truth).any()
        assert not false_enhancement(case, np.where(case.enhancing, truth * 3, truth), truth).any()

    def test_a_bright_patch_is_counted(self, case: Case) -> None:
        """8^3 voxels, 30 % too bright; smoothing carries a third of that one voxel further."""
        image = case.targets[4.0].copy()
        image[20:28, 20:28, 26:34] += 30
        assert 8**3 <= false_enhancement(case, image, case.targets[4.0]).sum() <= 10**3

    def test_nothing_moves_against_the_t1c_but_by_echo_planar_distortion(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A seed whose T1 is warped by 0.8 mm where a shift of 1 mm is allowed."""
        warps: list[tuple[int, float]] = []

        def warp(volume: np.ndarray, displacement: np.ndarray, axis: int) -> np.ndarray:
            warps.append((axis, float(np.abs(displacement).max())))
            return volume

        monkeypatch.setattr(patient, "warp_along", warp)
        still = next(cohort for cohort in COHORTS if cohort.name == "misregistration 0 mm")
        made = patient.simulate_patient(930_000, config=still.config)
        (_, epi), (_, local) = warps
        assert epi > 1
        assert local == 0
        assert all(draw["shift_mm"] == [0, 0, 0] for draw in json.loads(json.dumps(made.meta["series"])).values())

    def test_without_agent_no_vessel_is_excused(self) -> None:
        """Two null cases have no agent; in the others a vessel takes it up."""
        excused = {
            cohort.name: bool(null_case(cohort, make_patient(), 0)[0].enhancing.any())
            for cohort in COHORTS
            if cohort.seeds < 3
        }
        assert {name for name, any_ in excused.items() if not any_} == {"T1c := T1", "no agent, T1c acquired anew"}

    def test_summary_and_table(self) -> None:
        """Rates are means over patients, in percent of the brain."""
        row = {"rate": 0.01, "false_marks": 1.0}
        record = {"t1c": row, "pro": row, "median_absolute_change": 0.02, "mimic_brightening": 0.05,
                  "mimic_brightening_t1c": 0.0}  # fmt: skip
        summary = null_summary({"T1-bright lesions": [record, record]})
        assert "1.00 [1.00;1.00]" in null_table(summary)
        assert "| 1 | 1.00 [–] |" in null_table(null_summary({"one patient": [record]}))
        assert "+0.0 -> +5.0" in null_table(summary)


class TestEnsembleStudy:
    def test_plans_of_the_same_number_are_rows_of_their_own(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """2 x 1 beside 1 x 2; 5 x 1 of a model of two folds is 2 x 1, once."""
        monkeypatch.setattr(ensemble_study, "simulated_case", make_case)
        run = partial(ensemble_study.run_ensemble, sizes=((2, 1), (1, 2), (5, 1), (1, 1)))
        monkeypatch.setattr(ensemble_study, "run_ensemble", run)
        studies.ensemble_size_study(tmp_path, model, patients=1, report=lambda _: None)
        found = json.loads((tmp_path / "ensemble.json").read_text())
        counts = {name: (row["predictions"], row["patients"]) for name, row in found.items()}
        assert counts == {"2 x 1": (2, 1), "1 x 2": (2, 1), "1 x 1": (1, 1)}
        text = (tmp_path / "report.md").read_text()
        assert "| 2 x 1 | 2 |" in text
        assert "| 1 x 2 | 2 |" in text


class TestSpread:
    def test_auc_is_the_probability_of_a_larger_value(self) -> None:
        """2 of 4 pairs larger, 1 tie: 0.625; none: not a number."""
        assert area_under_curve([2, 3], [1, 3]) == pytest.approx(0.625)
        assert np.isnan(area_under_curve([], [1]))
