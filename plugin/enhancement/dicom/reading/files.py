"""DICOM files of unknown origin into datasets, with a bound on what they may unfold to."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import DeflatedExplicitVRLittleEndian

from enhancement.dicom.reading.headers import UNREADABLE, text

# Thirty bytes can declare thirty thousand. An enhanced MR series in one instance has up to 200 MB; what unfolds to
# more than this is a bomb.
_LONGEST_INFLATED = 1 << 28
_DEFLATED = DeflatedExplicitVRLittleEndian.encode("ascii")
_FAILURES = (*UNREADABLE, InvalidDicomError, OSError, zlib.error, MemoryError)


def read_header(path: Path) -> Dataset | None:
    """The header of one file without its pixel data; None where it is no readable DICOM instance."""
    return _read(path, stop_before_pixels=True)


def read_instance(path: Path) -> Dataset | None:
    """One file with its pixel data; None where it is no readable DICOM instance."""
    return _read(path, stop_before_pixels=False)


def parse(data: bytes, *, pixels: bool) -> Dataset | None:
    """A DICOM file that is in memory; None where it is no readable DICOM instance."""
    try:
        return _parse(io.BytesIO(data), stop_before_pixels=not pixels)
    except _FAILURES:
        return None


def read_headers(folder: Path) -> Iterator[Dataset]:
    """Headers of all DICOM instances under a folder, in the order of their paths; anything else is passed over."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.is_file() and path.name != "DICOMDIR" and (ds := read_header(path)) is not None:
            yield ds


def read_studies(folder: Path) -> dict[str, list[Dataset]]:
    """Headers under a folder by StudyInstanceUID.

    What a broken file leaves without a series belongs to nothing; without a study, to the others where they are of one.
    """
    studies: dict[str, list[Dataset]] = {}
    for ds in read_headers(folder):
        if text(ds, "SeriesInstanceUID"):
            studies.setdefault(text(ds, "StudyInstanceUID"), []).append(ds)
    if len(studies) == 2 and "" in studies:
        nameless = studies.pop("")
        next(iter(studies.values())).extend(nameless)
    return studies


def _read(path: Path, *, stop_before_pixels: bool) -> Dataset | None:
    try:
        with path.open("rb") as file:
            return _parse(file, stop_before_pixels=stop_before_pixels)
    except _FAILURES:
        return None


def _parse(file: BinaryIO, *, stop_before_pixels: bool) -> Dataset | None:
    if file.read(132)[128:] != b"DICM":
        return _parse_without_preamble(file, stop_before_pixels=stop_before_pixels)
    # (0002,0000) comes first and holds the length of the rest of the meta group.
    meta_length = int.from_bytes(file.read(12)[8:12], "little")
    if _DEFLATED in file.read(min(meta_length, 1 << 16)) and not _inflates_within_bounds(file):
        return None
    file.seek(0)
    ds = pydicom.dcmread(file, stop_before_pixels=stop_before_pixels)
    return ds if text(ds, "SOPInstanceUID") else None


def _parse_without_preamble(file: BinaryIO, *, stop_before_pixels: bool) -> Dataset | None:
    """What some exports write: the data set alone. It begins with group 0002 or 0008, and must say what it is."""
    file.seek(0)
    begin = file.read(1024)
    if begin[:2] not in (b"\x02\x00", b"\x08\x00") or begin[3:4] != b"\x00" or _DEFLATED in begin:
        return None
    file.seek(0)
    ds = pydicom.dcmread(file, stop_before_pixels=stop_before_pixels, force=True)
    return ds if text(ds, "SOPInstanceUID") and text(ds, "SOPClassUID") else None


def _inflates_within_bounds(data: BinaryIO) -> bool:
    """Whether what follows stays under the bound when unfolded; nothing is kept of it."""
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while chunk := (inflater.unconsumed_tail or data.read(1 << 20)):
        total += len(inflater.decompress(chunk, 1 << 24))
        if total > _LONGEST_INFLATED:
            return False
    return True
