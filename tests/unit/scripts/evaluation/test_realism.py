"""What normally enhances: the measure on a ball of known depth, its verdicts, and the two real cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from enhancement.imaging.brain.extraction import BrainExtractedInput
from evaluation import realism, realism_study
from evaluation.real import read_case
from evaluation.realism import CELLS, GROUPS, Row, brightening, cells, verdicts
from simulation.patient import PatientConfig
from unit.evaluation_case import make_patient

SHAPE = (56, 56, 56)
RADIUS = np.linalg.norm(np.indices(SHAPE) - 27.5, axis=0)
BRAIN = RADIUS < 25
NOTHING = np.zeros(SHAPE, dtype=bool)


def _row(value: float, group: realism.Group = "gradient echo") -> Row:
    return Row("case", group, dict.fromkeys(CELLS, value))


class TestBrightening:
    @settings(max_examples=20, deadline=None)
    @given(gain=st.floats(0.1, 50), other=st.floats(0.1, 50))
    def test_the_gain_of_a_series_is_none(self, gain: float, other: float) -> None:
        """Each series is divided by its own median in the brain."""
        t1 = (1 + 0.2 * np.cos(RADIUS)).astype(np.float32)
        t1c = t1 + 0.5 * (RADIUS < 3)
        d = brightening(np.float32(gain) * t1, np.float32(other) * t1c.astype(np.float32), BRAIN)
        assert d == pytest.approx(brightening(t1, t1c.astype(np.float32), BRAIN), abs=1e-4)
        assert np.median(d[BRAIN]) == pytest.approx(0, abs=1e-6)
        assert not d[~BRAIN].any()

    def test_an_empty_brain_is_refused(self) -> None:
        """There is no median to divide by."""
        with pytest.raises(ValueError, match="positive medians"):
            brightening(np.ones(SHAPE, np.float32), np.ones(SHAPE, np.float32), NOTHING)


class TestCells:
    def test_shares_lie_in_the_zone_of_their_depth(self) -> None:
        """A shell of 2 mm at the surface is half of the rim; a kernel is part of the deep zone alone."""
        d = np.where(RADIUS > 23, 0.5, 0) + np.where(RADIUS < 5, 0.9, 0)
        found = cells(d.astype(np.float32), BRAIN, NOTHING)
        rim = BRAIN & (RADIUS > 21)
        assert found["rim > 0.3 %"] == pytest.approx(100 * (RADIUS[rim] > 23).mean(), abs=4)
        assert found["rim > 0.6 %"] == 0
        assert found["middle > 0.3 %"] == 0
        assert found["deep > 0.6 %"] == pytest.approx(100 * (5 / 10) ** 3, abs=2)
        assert found["deep p99.9"] == pytest.approx(0.9)

    def test_a_tumour_and_4_mm_around_it_are_left_out(self) -> None:
        """Its own enhancement is not normal, nor is what leaks beside it."""
        d = np.where(RADIUS < 8, 1, 0).astype(np.float32)
        assert cells(d, BRAIN, RADIUS < 5)["deep > 0.3 %"] == 0
        assert cells(d, BRAIN, RADIUS < 2)["deep > 0.3 %"] > 5

    def test_depth_is_in_millimetres(self) -> None:
        """Slices of 4 mm: the surface voxel is deeper than the rim along z alone."""
        d = np.zeros(SHAPE, np.float32)
        d[:, 27, 27] = 1
        coarse, fine = (cells(d, BRAIN, NOTHING, (step, 1, 1)) for step in (4.0, 1.0))
        assert coarse["rim > 0.3 %"] < fine["rim > 0.3 %"]


class TestVerdicts:
    def test_inside_and_outside(self) -> None:
        """The median over the patients, held against the least and the most of the real cases."""
        real = [_row(2.0), _row(4.0)]
        found = verdicts(real, [_row(v) for v in (1.0, 3.0, 9.0)], GROUPS, blind=False)
        assert all(cell["verdict"] == "in" and cell["inside"] for cell in found.values())
        assert found[CELLS[0]]["share_inside"] == pytest.approx(1 / 3)
        low = verdicts(real, [_row(1.0)], GROUPS, blind=False)
        assert low[CELLS[0]]["verdict"] == "x0.50"

    def test_groups_are_apart(self) -> None:
        """A spin echo's range says nothing of gradient echoes."""
        found = verdicts([_row(2.0), _row(50.0, "spin echo")], [_row(50.0)], ("gradient echo",), blind=False)
        assert not found[CELLS[0]]["inside"]

    def test_the_blind_cases_count(self) -> None:
        """Ranges of cases that are not at hand widen those of the real ones."""
        assert realism.real_range([], "rim > 0.3 %", ("gradient echo",)) == (18, 20)
        assert realism.real_range([], "rim p99.9", GROUPS) == (1.0, 4.3)


class TestStudy:
    def test_the_report(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A real case of two volumes beside two patients: the tables, the numbers, the figure."""
        folder = tmp_path / "case"
        folder.mkdir()
        for name, top in (("t1", 1.0), ("t1c", 2.0)):
            array = np.where(BRAIN, 100, 0) + np.where(RADIUS < 4, 100 * top, 0)
            sitk.WriteImage(sitk.GetImageFromArray(array.astype(np.float32)), str(folder / f"{name}.nii.gz"))
        meta = {"protocol": {"t1c": {"kind": "se"}}}
        monkeypatch.setattr(realism_study, "load_brain_network", lambda _: None)
        monkeypatch.setattr(realism_study, "UnlessBrainExtracted", lambda _: BrainExtractedInput())
        monkeypatch.setattr(realism_study, "BuiltInExtractor", lambda _: None)
        monkeypatch.setattr(realism_study, "simulate_patient", lambda seed, config: make_patient(seed, meta))
        said: list[str] = []
        output = tmp_path / "out"
        realism_study.realism_study(
            output, tmp_path, [folder], seeds=(1, 2), config=PatientConfig(), report=said.append
        )
        assert [line.split(":")[0] for line in said] == ["case", "sim-1 (se)", "sim-2 (se)"]
        numbers = json.loads((output / "realism.json").read_text())
        assert [row["group"] for row in numbers["simulated"]] == ["spin echo", "spin echo"]
        assert set(numbers["verdicts"]) == {"all", *GROUPS}
        assert "| case | gradient echo |" in (output / "report.md").read_text()
        assert (output / "projections.png").stat().st_size > 1000


@pytest.mark.real_data
class TestRealCases:
    @pytest.mark.parametrize(
        ("case", "expected"),
        [
            ("BraTS-GLI-00001-000", (24, 7.6, 11.4, 10.1, 2.3, 2.0, 3.6, 2.6, 1.9)),
            ("TCGA-FG-6692/atlas_skullstripped", (17, 4.1, 3.2, 7.2, 1.2, 0.7, 2.1, 1.5, 1.2)),
        ],
    )
    def test_the_table_of_the_reference(self, real_data: Path, case: str, expected: tuple[float, ...]) -> None:
        """The shares and percentiles that were first measured by hand."""
        found = realism_study.measure_real(
            read_case(real_data / "tumours" / case), BrainExtractedInput(), "gradient echo"
        )
        assert list(found.row.cells.values()) == pytest.approx(expected, rel=0.03, abs=0.06)
