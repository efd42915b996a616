"""The reader's fit: pitfalls are told from the other patients, the working point holds, the files are read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evaluation import reader_study
from evaluation.judge import load_judge
from evaluation.normal_prior import HALF, load_prior, pitfall_map, pitfall_marks, whole
from evaluation.pairing import Lesion
from evaluation.reader import Candidate, Detection
from evaluation.reader_study import (
    WORKING_POINT,
    Described,
    ReaderCase,
    fit_described,
    judged,
    reader_case,
    report_reader,
    with_pitfalls,
)
from evaluation.surroundings import FEATURES
from simulation.patient import PatientConfig, SimulatedPatient
from unit.evaluation_case import make_patient

TRAP = (72.0, 86.0, 80.0)  # the pineal gland: round, bright, and normal
NONE = np.zeros((160, 192, 160), dtype=bool)


def _patient(seed: int) -> Described:
    """Two lesions among forty vessels and a gland that looks like a lesion."""
    generator = np.random.default_rng(seed)
    places = np.concatenate([generator.uniform(20, 140, (42, 3)), [TRAP]])
    lesion = np.array([0, 1, *[-1] * 41], dtype=np.intp)
    features = generator.normal(0, 1, (43, len(FEATURES)))
    features[[0, 1, 42], FEATURES.index("ball")] += 4
    features[:, FEATURES.index("pitfall")] = np.log(3e-6)
    marks = [Detection((float(z), float(y), float(x)), 6.0, 0.5) for z, y, x in places]
    lesions = tuple(Lesion(mark.centre_mm, 8, 8, "metastasis") for mark in marks[:2])
    empty = np.zeros(1, np.float32)
    case = ReaderCase(empty, empty, NONE, NONE, lesions, empty)
    candidates = tuple(Candidate(mark, np.zeros(3, np.intp)) for mark in marks)
    return Described(features, lesion, np.zeros(43, dtype=bool), candidates, case)


@pytest.fixture(scope="module")
def patients() -> list[Described]:
    return [_patient(seed) for seed in range(12)]


class TestPitfalls:
    def test_a_gland_is_a_pitfall(self, patients: list[Described]) -> None:
        """All have it in one place; their vessels lie anywhere."""
        known, pitfalls = with_pitfalls(patients)
        told = np.concatenate([patient.features[:, FEATURES.index("pitfall")] for patient in known])
        trap = told.reshape(12, 43)[:, 42]
        assert np.median(trap) > np.quantile(told.reshape(12, 43)[:, :42], 0.95)
        assert np.unravel_index(int(pitfalls.argmax()), HALF) == (36, 43, 40)

    def test_a_patient_is_not_told_its_own(self, patients: list[Described]) -> None:
        """What only one patient has is no pitfall to it."""
        alone = [*patients[:11], _patient(99)]
        known, _ = with_pitfalls(alone)
        assert np.median(known[11].features[2:42, FEATURES.index("pitfall")]) < -10

    def test_marks_have_a_twin(self) -> None:
        """Left and right of the midline, half each, and a probability counts up to a half."""
        marks = pitfall_marks([(40.0, 40.0, 60.0)], np.array([0.9]))
        assert marks[20, 20, 30] == marks[20, 20, 50] == 0.25
        assert pitfall_map(marks, 2).sum() == pytest.approx(0.25, rel=1e-3)


class TestPatients:
    def test_a_patient_is_kept_by_its_configuration(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Read again it is the same; of another configuration it is made anew."""
        made: list[PatientConfig] = []

        def simulate(seed: int, *, config: PatientConfig) -> SimulatedPatient:
            made.append(config)
            return make_patient(seed)

        monkeypatch.setattr(reader_study, "simulate_patient", simulate)
        monkeypatch.setattr(reader_study, "normal_enhancement", lambda *_: np.ones((2, 2, 2), np.float32))
        first, again = (reader_case(3, PatientConfig(), tmp_path) for _ in range(2))
        np.testing.assert_array_equal(first.t1c, again.t1c)
        assert first.lesions == again.lesions == ()
        reader_case(3, PatientConfig(enhancing=0.0), tmp_path)
        assert [config.enhancing for config in made] == [0.7, 0.0]


class TestFit:
    def test_written_and_read(self, patients: list[Described], tmp_path: Path) -> None:
        """The files hold the judge and both maps; the working point holds within a factor, for fits differ by fold."""
        normal = np.zeros(HALF, np.float32)
        normal[10, 10, 10] = 0.4
        judge = fit_described(
            patients, normal, "twelve", judge_path=tmp_path / "judge.json", prior_path=tmp_path / "prior.npz"
        )
        assert load_judge(tmp_path / "judge.json") == judge
        read, pitfalls = load_prior(tmp_path / "prior.npz")
        assert read.max() == pytest.approx(whole(normal).max(), abs=0.003)
        assert np.log(pitfalls.max()) > np.log(np.median(pitfalls)) + 3
        known, _ = with_pitfalls(patients)
        wrong = [len(judged(patient, judge).at(0.5).false_sizes_mm) for patient in known]
        assert np.mean(wrong) <= 2 * WORKING_POINT
        found = [judged(patient, judge).at(0.5).found.mean() for patient in known]
        assert np.mean(found) > 0.7

    def test_the_report(self, patients: list[Described], tmp_path: Path) -> None:
        """The sensitivity at the allowed rate, by size and by kind, with the area."""
        judge = fit_described(
            patients, np.zeros(HALF, np.float32), "twelve", judge_path=tmp_path / "j", prior_path=tmp_path / "p.npz"
        )
        known, _ = with_pitfalls(patients)
        result = report_reader(tmp_path, [judged(patient, judge) for patient in known], judge)
        assert result["kinds"]["metastasis"][1] == 24
        assert result["sensitivity_at_allowed"] > 0.7
        assert "AFROC area" in (tmp_path / "report.md").read_text()
