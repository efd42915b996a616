"""Folders as people export them: other files, other objects, other studies, and files that broke on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage, generate_uid

from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.reading.files import read_headers, read_studies
from unit.series_builder import base, classic, ramp

STUDY, OTHER = "1.2.3.4.1", "1.2.3.4.2"


def series(description: str, **attributes: Any) -> list[Dataset]:
    """Four slices, headers alone."""
    made = classic(description, volume=ramp(4, 8, 8), **{"StudyInstanceUID": STUDY, **attributes})
    for ds in made:
        del ds.PixelData
    return made


def save(folder: Path, datasets: list[Dataset], *, preamble: bool = True) -> list[Path]:
    """One file each; `preamble` False writes the data set alone, as pydicom does by default."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for ds in datasets:
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(folder / f"{len(list(folder.iterdir())):04d}")
        ds.save_as(paths[-1], enforce_file_format=preamble)
    return paths


def only(folder: Path) -> StudyMatch:
    [found] = read_studies(folder).values()
    return match(found)


@pytest.mark.parametrize("preamble", [True, False])
def test_headers_without_pixels(tmp_path: Path, preamble: bool) -> None:
    """With the 128 bytes before them or without."""
    save(tmp_path, series("T1 MPRAGE") + series("T1 MPRAGE +C"), preamble=preamble)
    assert set(only(tmp_path).roles) == {"T1", "T1C"}


def test_other_objects_of_a_study(tmp_path: Path) -> None:
    """Raw data, reports, presentation states, CT and captures have no role, and are listed."""
    save(tmp_path, series("T1 MPRAGE"))
    for modality, sop_class in (
        ("MR", "1.2.840.10008.5.1.4.1.1.66"),
        ("SR", "1.2.840.10008.5.1.4.1.1.88.22"),
        ("PR", "1.2.840.10008.5.1.4.1.1.11.1"),
        ("CT", "1.2.840.10008.5.1.4.1.1.2"),
        ("OT", "1.2.840.10008.5.1.4.1.1.7"),
    ):
        attributes = {"SOPClassUID": UID(sop_class), "Modality": modality, "StudyInstanceUID": STUDY}
        save(tmp_path, [base("T1 MPRAGE +C", generate_uid(), **attributes)])
    found = only(tmp_path)
    assert [report.role for report in found.series if report.role] == ["T1"]
    assert len(found.series) == 6
    assert all(report.frames == 0 for report in found.series if not report.role)


def test_files_that_are_no_instances(tmp_path: Path) -> None:
    """Text, nothing, a report in PDF, DICOMDIR and a copy of it."""
    save(tmp_path / "a", series("T1"))
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7" + bytes(2000))
    (tmp_path / "short").write_bytes(b"\x08\x00\x05\x00CS")
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    directory.FileSetID = "EXPORT"
    directory.DirectoryRecordSequence = Sequence([])
    for path in (save(tmp_path / "b", [directory])[0], tmp_path / "DICOMDIR"):
        directory.save_as(path, enforce_file_format=True)
    assert len(list(read_headers(tmp_path))) == 4


def test_several_studies(tmp_path: Path) -> None:
    """Each for itself."""
    save(tmp_path, series("T1 MPRAGE") + series("T1 MPRAGE +C", StudyInstanceUID=OTHER))
    assert set(read_studies(tmp_path)) == {STUDY, OTHER}


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_file_cut_short_makes_no_second_study(tmp_path: Path) -> None:
    """Wherever it was cut."""
    whole = save(tmp_path, series("T1 MPRAGE"))[-1].read_bytes()
    for length in range(200, len(whole), 25):
        (tmp_path / f"cut{length}").write_bytes(whole[:length])
    assert set(read_studies(tmp_path)) == {STUDY}


def test_an_instance_that_is_there_twice(tmp_path: Path) -> None:
    """Counts once, as a volume and as frames."""
    headers = series("T1 MPRAGE")
    save(tmp_path / "a", headers)
    save(tmp_path / "b", headers)
    [report] = only(tmp_path).series
    assert (report.frames, report.size, report.usable) == (4, (8, 8, 4), True)
