"""DICOM files of unknown origin into datasets, with a bound on what they may unfold to."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import DeflatedExplicitVRLittleEndian

from enhancement.dicom.headers import UNREADABLE, text

# A header without pixels is some ten kilobytes; a deflated one that grows beyond this is a bomb.
_LONGEST_INFLATED = 1 << 30
_FAILURES = (*UNREADABLE, InvalidDicomError, OSError, zlib.error, MemoryError)


def read_header(path: Path) -> Dataset | None:
    """The header of one file without its pixel data; None where it is no readable DICOM instance."""
    return _read(path, stop_before_pixels=True)


def read_instance(path: Path) -> Dataset | None:
    """One file with its pixel data; None where it is no readable DICOM instance."""
    return _read(path, stop_before_pixels=False)


def read_headers(folder: Path) -> Iterator[Dataset]:
    """Headers of all DICOM instances under a folder, in the order of their paths; anything else is passed over."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else [folder]:
        if path.is_file() and path.name != "DICOMDIR" and (ds := read_header(path)) is not None:
            yield ds


def _read(path: Path, *, stop_before_pixels: bool) -> Dataset | None:
    try:
        if not _has_preamble(path):
            return None
        meta = read_file_meta_info(path)
        if text(meta, "TransferSyntaxUID") == DeflatedExplicitVRLittleEndian and not _inflates_within_bounds(path):
            return None
        ds = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)
    except _FAILURES:
        return None
    return ds if text(ds, "SOPInstanceUID") else None


def _has_preamble(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _inflates_within_bounds(path: Path) -> bool:
    """Whether the deflated part of a file stays under the bound when unfolded; nothing is kept of it."""
    with path.open("rb") as file:
        file.seek(132)
        # (0002,0000) comes first and holds the length of the rest of the meta group
        head = file.read(12)
        meta_length = int.from_bytes(head[8:12], "little")
        file.seek(132 + 12 + meta_length)
        data = io.BytesIO(file.read())
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while chunk := (inflater.unconsumed_tail or data.read(1 << 20)):
        total += len(inflater.decompress(chunk, 1 << 24))
        if total > _LONGEST_INFLATED:
            return False
    return True
