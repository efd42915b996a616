"""Pixel data into numbers, without trusting what the header or the codestream declares.

Sizes are checked before anything is allocated: a few bytes of a hostile or broken file can declare
gigabytes, in the header (Rows, Columns, NumberOfFrames) as well as inside a compressed frame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from enhancement.dicom.reading.frames import Frame, count_frames
from enhancement.dicom.reading.headers import UNREADABLE, integer, text
from enhancement.errors import UnreadablePixels

FloatArray = np.ndarray[Any, np.dtype[np.float32]]

# 0.4 mm isotropic over a whole head is 0.25e9 voxels; beyond this a header is wrong or hostile.
MOST_VOXELS = 500_000_000
_LONGEST_SIDE = 8192
_DECODING = (*UNREADABLE, RuntimeError, MemoryError, ArithmeticError, OSError)


def check_pixels(frames: Sequence[Frame]) -> None:
    """Refuse what `read_planes` would not read, before anything is allocated for it.

    Parameters
    ----------
    frames : at least one, all of the same rows and columns

    Raises
    ------
    UnreadablePixels
        Absent, truncated or coloured pixels, or a declared size that cannot be true.
    """
    rows, columns = frames[0].rows, frames[0].columns
    if rows * columns * len(frames) > MOST_VOXELS or max(rows, columns) > _LONGEST_SIDE:
        raise _refused(frames[0], "TOO_LARGE", f"{columns} x {rows} x {len(frames)} voxels are more than is read.")
    for ds in {id(frame.header): frame.header for frame in frames}.values():
        check_instance(ds)


def read_planes(frames: Sequence[Frame], planes: FloatArray) -> None:
    """Decode the given frames of one size into rescaled numbers.

    Each frame gets its own rescale slope and intercept (PS3.3 C.7.6.16.2.9): they differ from frame to
    frame on some scanners.

    Parameters
    ----------
    frames : at least one, all of the same rows and columns
    planes : (frame, row, column)
        Filled in, in the order of `frames`.

    Raises
    ------
    UnreadablePixels
        What cannot be decoded, is of another size than declared, or is no number.
    """
    rows, columns = frames[0].rows, frames[0].columns
    decoded: tuple[tuple[int, int | None], np.ndarray[Any, Any]] | None = None
    for index in sorted(range(len(frames)), key=lambda at: (id(frames[at].header), frames[at].frame_number or 0)):
        frame = frames[index]
        key = (id(frame.header), frame.frame_number)
        if decoded is None or decoded[0] != key:  # the tiles of a mosaic share one decoded picture
            decoded = (key, _decode(frame))
        plane = _tile(frame, decoded[1])
        if plane.shape != (rows, columns):
            raise _refused(frame, "SIZE_MISMATCH", f"pixels are {plane.shape}, the header says {(rows, columns)}.")
        if frame.slope == 0:
            raise _refused(frame, "BAD_RESCALE", "RescaleSlope is 0.")
        planes[index] = plane
        planes[index] *= np.float32(frame.slope)
        planes[index] += np.float32(frame.intercept)
        if not np.isfinite(planes[index]).all():
            raise _refused(frame, "NOT_FINITE", "pixel values are not finite numbers.")


def _refused(frame: Frame, code: str, what: str) -> UnreadablePixels:
    return UnreadablePixels(
        f"Series {text(frame.header, 'SeriesInstanceUID')}, instance {frame.sop_instance_uid}: {what}", code=code
    )


def _refused_instance(ds: Dataset, code: str, what: str) -> UnreadablePixels:
    return UnreadablePixels(
        f"Series {text(ds, 'SeriesInstanceUID')}, instance {text(ds, 'SOPInstanceUID')}: {what}", code=code
    )


def _tile(frame: Frame, picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if frame.tile is None:
        return picture
    row, column = frame.tile
    return picture[row * frame.rows : (row + 1) * frame.rows, column * frame.columns : (column + 1) * frame.columns]


def check_instance(ds: Dataset) -> None:
    """Refuse an instance whose pixels are absent, truncated, coloured, or of a size that cannot be true."""
    if (integer(ds, "SamplesPerPixel") or 1) != 1:
        raise _refused_instance(ds, "COLOUR", "one sample per pixel is needed, this is a colour image.")
    if (kind := text(ds, "PhotometricInterpretation")) not in ("MONOCHROME2", ""):
        raise _refused_instance(ds, "PHOTOMETRIC", f"brightness must rise with the value (MONOCHROME2), found {kind}.")
    if "PixelData" not in ds:
        raise _refused_instance(ds, "NO_PIXELS", "there are no pixel data.")
    bits = integer(ds, "BitsAllocated")
    if bits not in (8, 16, 32):
        raise _refused_instance(ds, "BITS_ALLOCATED", f"8, 16 or 32 bits per pixel are read, found {bits}.")
    rows, columns, frames = integer(ds, "Rows") or 0, integer(ds, "Columns") or 0, count_frames(ds)
    if rows < 1 or columns < 1 or rows * columns * frames > MOST_VOXELS or max(rows, columns) > _LONGEST_SIDE:
        raise _refused_instance(ds, "TOO_LARGE", f"{columns} x {rows} x {frames} voxels cannot be read.")
    syntax = transfer_syntax(ds)
    try:
        data = ds.PixelData
    except _DECODING:
        raise _refused_instance(ds, "UNREADABLE_PIXELS", "pixel data are unreadable.") from None
    if not isinstance(data, bytes):
        raise _refused_instance(ds, "UNREADABLE_PIXELS", "pixel data are not bytes.")
    if syntax.is_encapsulated:
        _check_codestreams(ds, (rows, columns), frames)
    else:
        needed = rows * columns * frames * bits // 8
        if len(data) < needed:
            what = f"{needed} bytes of pixels are needed for {columns} x {rows} x {frames}, found {len(data)}."
            raise _refused_instance(ds, "TRUNCATED_PIXELS", what)


def transfer_syntax(ds: Dataset) -> UID:
    """Transfer syntax of an instance; where the file meta lost it, what pydicom read it as.

    Raises
    ------
    UnreadablePixels
        If nothing tells it, or if it is none of pixel data.
    """
    meta: Any = getattr(ds, "file_meta", None)
    named = UID(text(meta, "TransferSyntaxUID")) if isinstance(meta, Dataset) else UID("")
    if not named:
        implicit, little = getattr(ds, "original_encoding", (None, None))
        if little is None:
            raise _refused_instance(ds, "NO_TRANSFER_SYNTAX", "the transfer syntax is not given.")
        plain = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        named = plain if little else ExplicitVRBigEndian
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = named
    if not named.is_transfer_syntax or named.is_private:
        raise _refused_instance(ds, "TRANSFER_SYNTAX", f"transfer syntax {named} is not one of images.")
    return named


def _decode(frame: Frame) -> np.ndarray[Any, Any]:
    ds = frame.header
    index = (frame.frame_number or 1) - 1
    try:
        if unused := _unused_low_bits(ds):
            return _shifted(ds, index, unused)
        return np.asarray(pixel_array(ds, index=index, raw=True))
    except _DECODING as error:
        raise _refused(frame, "UNREADABLE_PIXELS", f"pixels cannot be decoded ({type(error).__name__}).") from error


def _unused_low_bits(ds: Dataset) -> int:
    """How many bits lie below the stored ones; 0 where High Bit is Bits Stored - 1, as PS3.5 8.1.1 asks today."""
    high, stored = integer(ds, "HighBit"), integer(ds, "BitsStored")
    return max(0, high - stored + 1) if high is not None and stored else 0


def _shifted(ds: Dataset, index: int, unused: int) -> np.ndarray[Any, Any]:
    """Pixels whose bits are at the upper end: all bits are read, and those below are shifted out."""
    whole = Dataset()
    whole.update(ds)
    whole.file_meta = ds.file_meta
    whole.BitsStored, whole.HighBit = ds.BitsAllocated, int(ds.BitsAllocated) - 1
    stored = np.asarray(pixel_array(whole, index=index, raw=True))
    above = int(ds.BitsAllocated) - 1 - int(ds.HighBit)  # bits of an overlay, as old files have them
    return np.asarray((stored << above) >> (above + unused))


def _check_codestreams(ds: Dataset, wanted: tuple[int, int], count: int) -> None:
    """Refuse compressed frames that are cut short, too few, or of another size than the header declares."""
    if _unused_low_bits(ds):
        what = f"bits {ds.BitsStored} up to {ds.HighBit} of compressed pixels cannot be told from those below."
        raise _refused_instance(ds, "BITS_STORED", what)
    found = 0
    for frame in _compressed_frames(ds):
        found += 1
        if frame.startswith(b"\xff") and not frame.rstrip(b"\0").endswith(b"\xff\xd9"):
            raise _refused_instance(ds, "TRUNCATED_PIXELS", f"frame {found} ends before its end marker.")
        size = codestream_size(frame)
        if size is not None and size != wanted:
            raise _refused_instance(ds, "SIZE_MISMATCH", f"the codestream declares {size}, the header {wanted}.")
    if found < count:
        raise _refused_instance(ds, "TRUNCATED_PIXELS", f"{count} frames are declared, {found} are there.")


def _compressed_frames(ds: Dataset) -> Iterator[bytes]:
    try:
        yield from generate_frames(ds.PixelData, number_of_frames=count_frames(ds))
    except _DECODING:
        raise _refused_instance(ds, "UNREADABLE_PIXELS", "the compressed frames cannot be told apart.") from None


def codestream_size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 codestream declares; None for any other (RLE has none)."""
    at = frame.find(b"\xff\x4f\xff\x51")  # SOC, SIZ; inside a JP2 box too
    if 0 <= at < 4096 and len(frame) >= at + 24:
        columns, rows, left, top = struct.unpack(">4I", frame[at + 8 : at + 24])
        return rows - top, columns - left
    return _jpeg_size(frame) if frame.startswith(b"\xff\xd8") else None


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        # SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC); F7 is SOF of JPEG-LS
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            rows, columns = struct.unpack(">2H", frame[at + 5 : at + 9])
            return rows, columns
        at += 2 + int(struct.unpack(">H", frame[at + 2 : at + 4])[0])
    return None
