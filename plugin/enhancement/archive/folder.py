"""A folder of DICOM files as the archive: what the command line works on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from enhancement.archive.base import PublishedSeries
from enhancement.dicom.reading.files import read_header, read_instance
from enhancement.dicom.reading.headers import text
from enhancement.errors import ArchiveError


class FolderArchive:
    """One study in a folder (searched in depth); results go to another folder.

    Parameters
    ----------
    source : Path
        Where the study lies. `study_id` of every method is a folder below it, or "" for all of it.
    destination : Path, optional
        Results become ``destination/SERIES_UID/NNNN.dcm``; without one nothing can be published.
    """

    def __init__(self, source: Path, destination: Path | None = None) -> None:
        self._source = Path(source)
        self._destination = None if destination is None else Path(destination)
        self._series: dict[tuple[Path, int, int], str] = {}  # of a file as it was: path, time, size

    def headers(self, study_id: str = "") -> list[Dataset]:
        """Every DICOM file of the study without pixel data; other files are passed over."""
        found: list[Dataset] = [ds for path in self._files(study_id) if (ds := self._header(path)) is not None]
        if not found:
            raise ArchiveError(f"no DICOM file was found in {self._source / study_id}", code="NO_DICOM")
        return found

    def instances(self, study_id: str, series_instance_uid: str) -> list[Dataset]:
        """The files of one series, whole."""
        found: list[Dataset] = []
        for path in self._files(study_id):
            if self._series_of(path) != series_instance_uid:
                continue
            if (whole := read_instance(path)) is None:
                raise ArchiveError(f"{path.name} cannot be read", code="UNREADABLE_INSTANCE")
            found.append(whole)
        if not found:
            raise ArchiveError(f"no file of series {series_instance_uid} was found", code="SERIES_GONE")
        return found

    def publish(self, study_id: str, series: Sequence[Dataset]) -> PublishedSeries:
        """Write the series into a folder of its own, under its final name only when all of it is there."""
        if self._destination is None:
            raise ArchiveError("no destination folder was given", code="PUBLISH_FAILED")
        uid = str(series[0].SeriesInstanceUID)
        final = self._destination / uid
        if not final.exists():
            try:
                self._destination.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=self._destination, prefix=".publishing-") as temporary:
                    whole = Path(temporary) / uid
                    whole.mkdir()
                    for index, ds in enumerate(series, start=1):
                        ds.save_as(whole / f"{index:04d}.dcm", enforce_file_format=True)
                    os.replace(whole, final)
            except OSError as error:
                raise ArchiveError(f"the result could not be written to {final}: {error.strerror}") from error
        return PublishedSeries(series_instance_uid=uid, archive_id=str(final), instances=len(series))

    def _header(self, path: Path) -> Dataset | None:
        header = read_header(path)
        self._series[_version(path)] = "" if header is None else text(header, "SeriesInstanceUID")
        return header

    def _series_of(self, path: Path) -> str:
        """Of which series a file is; a study has thousands of files, and is asked for series by series."""
        if _version(path) not in self._series:
            self._header(path)
        return self._series[_version(path)]

    def _files(self, study_id: str) -> list[Path]:
        folder = (self._source / study_id).resolve()
        if not folder.is_relative_to(self._source.resolve()) or not folder.is_dir():
            raise ArchiveError(f"{folder} is not a folder of this archive", code="NO_STUDY")
        return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "DICOMDIR")


def _version(path: Path) -> tuple[Path, int, int]:
    stat = path.stat()
    return path, stat.st_mtime_ns, stat.st_size
