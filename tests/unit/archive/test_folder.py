"""A folder as the archive: which file is of which series."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from enhancement.archive import folder as module
from enhancement.archive.folder import FolderArchive
from enhancement.dicom.reading.files import read_header
from enhancement.errors import ArchiveError
from unit.series_builder import classic, ramp

FIRST, SECOND = "1.2.1", "1.2.2"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    for uid in (FIRST, SECOND):
        for number, ds in enumerate(classic("T1", volume=ramp(3, 8, 8), series_uid=uid)):
            ds.save_as(tmp_path / f"{uid}-{number}.dcm", enforce_file_format=True)
    (tmp_path / "notes.txt").write_text("no DICOM")
    return tmp_path


def test_a_header_is_read_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many series are asked for."""
    read: list[Path] = []

    def counted(path: Path) -> Dataset | None:
        read.append(path)
        return read_header(path)

    monkeypatch.setattr(module, "read_header", counted)
    archive = FolderArchive(study)
    assert len(archive.headers("")) == 6
    assert [len(archive.instances("", uid)) for uid in (FIRST, SECOND)] == [3, 3]
    assert sorted(read) == sorted(study.iterdir())


def test_a_file_that_was_replaced(study: Path) -> None:
    """It is what it is now."""
    archive = FolderArchive(study)
    archive.headers("")
    (study / f"{SECOND}-0.dcm").replace(study / f"{FIRST}-0.dcm")
    assert len(archive.instances("", FIRST)) == 2
    assert len(archive.instances("", SECOND)) == 3


def test_a_series_that_is_not_there(study: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        FolderArchive(study).instances("", "1.2.3")
    assert caught.value.code == "SERIES_GONE"
