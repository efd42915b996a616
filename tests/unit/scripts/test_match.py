"""scripts/match.py: one study in full, and many studies with a line each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from rich.console import Console

from enhancement.settings import MatchingSettings
from surveying.survey import print_survey, reasons, survey
from unit.series_builder import classic, ramp

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "match.py"
_MPRAGE = {"ScanningSequence": ["GR", "IR"], "MRAcquisitionType": "3D", "RepetitionTime": 2000.0, "EchoTime": 2.9,
           "InversionTime": 900.0}  # fmt: skip


def _write(folder: Path, study: str, *series: list[Dataset]) -> None:
    folder.mkdir(parents=True)
    for number, instances in enumerate(series):
        for index, ds in enumerate(instances):
            ds.StudyInstanceUID, ds.SeriesNumber = study, number + 1
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
            ds.save_as(folder / f"{number}-{index}.dcm", enforce_file_format=True)


def _t1(name: str, at: int, **attributes: str) -> list[Dataset]:
    clock = {"AcquisitionDate": "20250101", "AcquisitionTime": f"{at:02d}0000"}
    return classic(name, volume=ramp(3, 4, 4), **_MPRAGE, **clock, **attributes)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that is decided, one without a T1c, one of which nothing tells contrast, and a file that is none."""
    folder: Path = tmp_path_factory.mktemp("studies")
    _write(folder / "a", "1.2.1", _t1("T1", 8), _t1("T1 KM", 9, ContrastBolusAgent="Gadobutrol"))
    _write(folder / "b", "1.2.2", _t1("T1 nativ", 8))
    _write(folder / "c", "1.2.3", _t1("T1", 8), _t1("T1", 9))
    (folder / "notes.txt").write_text("no DICOM")
    return folder


def test_a_line_for_each_study(studies: Path) -> None:
    """What is decided, how sure it is, and which roles are played."""
    lines = survey(studies, MatchingSettings(), Console(quiet=True))
    told = {line.study_instance_uid: (line.why, line.certainty) for line in lines}
    assert told["1.2.1"] == ("process without FLAIR, DWI", "sure")
    assert told["1.2.2"] == ("reject: no series for T1C", "")
    assert told["1.2.3"][0].startswith("hold: nothing tells which of two like series was made after contrast")


def test_the_summary_counts_reasons(studies: Path) -> None:
    """Decisions, codes of what is held, and pairs."""
    counts = dict(reasons(survey(studies, MatchingSettings(), Console(quiet=True))))
    assert counts["process without FLAIR, DWI"] == 1
    assert counts["hold, code CONTRAST_UNKNOWN_T1"] == 1
    assert counts["hold, code CONTRAST_UNKNOWN_T1C"] == 1
    assert counts["pair of T1 and T1c is sure"] == 1


def test_the_table_is_printed(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a study and the summary."""
    print_survey(survey(studies, MatchingSettings(), Console(quiet=True)), Console(width=200))
    shown = capsys.readouterr().out
    assert "3 studies" in shown
    assert "Summary" in shown
    assert shown.count("held") >= 2


def test_the_command_line(studies: Path, tmp_path: Path) -> None:
    """--table over a folder; a folder without DICOM ends with 1."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(studies), "--table"], capture_output=True, text=True, check=True
    )
    assert "1.2.1" in done.stdout
    assert "Traceback" not in done.stderr
    empty = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path), "--table"], capture_output=True, text=True, check=False
    )
    assert empty.returncode == 1
    assert "No DICOM instance found" in empty.stderr


def test_json_tells_how_sure_the_pair_is(studies: Path) -> None:
    """And what would change the decision, or settle it."""

    def told(name: str) -> dict[str, object]:
        command = [sys.executable, str(SCRIPT), str(studies / name), "--json"]
        found: dict[str, object] = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout
        )
        return found

    pair = told("a")["pair"]
    assert isinstance(pair, dict)
    assert pair["certainty"] == "sure"
    assert pair["evidence"]
    holds = told("c")["holds"]
    assert isinstance(holds, dict)
    assert "settled_by" in holds["T1C"]
    assert told("c")["pair"] is None
