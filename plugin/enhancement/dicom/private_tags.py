"""What vendors keep in private attributes: b-values, directions, mosaics.

A private block may lie at any element xx10..xxFF of its group, so it is found by its creator. Where
anonymisation took the creator away but left the values, the vendor's usual place is tried.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from pydicom.dataset import Dataset

from enhancement.dicom.csa import parse_csa
from enhancement.dicom.headers import UNREADABLE, as_numbers, numbers, text, value

# A GE scanner adds 1e9 to b-values of some protocols; a smaller modulus would break high b (dcm2niix issue 149).
_GE_OFFSET = 1_000_000_000
_HIGHEST_B = 100_000.0
_CREATOR_ELEMENTS = range(0x10, 0x100)
_CANON_COMMENT = re.compile(r"\bb\s*=\s*(\d+(?:\.\d+)?)\s*(?:\(\s*([-\d.]+)\s*,\s*([-\d.]+)\s*,\s*([-\d.]+)\s*\))?")
_SIEMENS_SEQUENCE = re.compile(r"^\*?ep_b(\d+)(?:t|#\d+|_\d+)*$")


def private_value(ds: Dataset, group: int, creator: str, offset: int) -> Any:
    """The value of one private attribute, found by its creator; None where it is absent.

    Parameters
    ----------
    group : int
        Odd group number.
    creator : str
        Start of the Private Creator, case does not matter.
    offset : int
        Last two hexadecimal digits of the element.
    """
    wanted = creator.casefold()
    creators_seen = False
    for block in _CREATOR_ELEMENTS:
        if (group, block) not in ds:
            if creators_seen and block > 0x20:
                break
            continue
        creators_seen = True
        if text(ds, (group, block)).casefold().startswith(wanted):
            found = value(ds, (group, block << 8 | offset))
            if found is not None:
                return found
    return None if creators_seen else value(ds, (group, 0x1000 | offset))


def private_numbers(ds: Dataset, group: int, creator: str, offset: int, packed: str = "d") -> tuple[float, ...]:
    """Numbers of one private attribute, also where the file gives it as UN, that is as bytes.

    Parameters
    ----------
    packed : str
        `struct` letter of the binary form (d: FD, f: FL); text is tried first.
    """
    found = private_value(ds, group, creator, offset)
    if not isinstance(found, bytes):
        return as_numbers(found)
    try:
        return as_numbers([part for part in found.decode("ascii").strip(" \0").split("\\") if part])
    except ValueError:
        size = struct.calcsize(packed)
        count = len(found) // size
        return as_numbers(list(struct.unpack(f"<{count}{packed}", found[: count * size])))


def csa_numbers(ds: Dataset, name: str) -> tuple[float, ...]:
    """Numbers of one entry of Siemens' CSA image header; () where there are none."""
    raw = private_value(ds, 0x0029, "SIEMENS CSA HEADER", 0x10)
    return as_numbers(parse_csa(raw).get(name)) if isinstance(raw, bytes) and len(raw) < 1 << 20 else ()


def _plausible(b_values: tuple[float, ...]) -> float | None:
    return b_values[0] if b_values and 0.0 <= b_values[0] <= _HIGHEST_B else None


def _ge_b_value(ds: Dataset) -> float | None:
    found = private_numbers(ds, 0x0043, "GEMS_PARM_01", 0x39)
    return _plausible((math.fmod(found[0], _GE_OFFSET),)) if found and found[0] >= 0 else None


def _siemens_b_value(ds: Dataset) -> float | None:
    for found in (private_numbers(ds, 0x0019, "SIEMENS MR HEADER", 0x0C), csa_numbers(ds, "B_value")):
        if (b_value := _plausible(found)) is not None:
            return b_value
    name = _SIEMENS_SEQUENCE.match(text(ds, "SequenceName"))
    return float(name.group(1)) if name else None


def _philips_b_value(ds: Dataset) -> float | None:
    return _plausible(private_numbers(ds, 0x2001, "Philips Imaging DD 001", 0x03, "f"))


def _uih_b_value(ds: Dataset) -> float | None:
    return _plausible(private_numbers(ds, 0x0065, "Image Private Header", 0x09))


def _canon_b_value(ds: Dataset) -> float | None:
    comment = _CANON_COMMENT.search(text(ds, "ImageComments"))
    return _plausible((float(comment.group(1)),)) if comment else None


def vendor_of(ds: Dataset) -> str:
    """One word for the maker: ge, siemens, philips, uih, canon, hitachi, or "" for any other."""
    maker = text(ds, "Manufacturer").casefold()
    for name, marks in (
        ("ge", ("ge medical", "ge healthcare", "gems")),
        ("siemens", ("siemens",)),
        ("philips", ("philips",)),
        ("uih", ("uih", "united imaging", "united-imaging")),
        ("canon", ("canon", "toshiba")),
        ("hitachi", ("hitachi", "fujifilm")),
    ):
        if any(mark in maker for mark in marks):
            return name
    return "ge" if maker == "ge" else ""


_READERS = {
    "ge": _ge_b_value,
    "siemens": _siemens_b_value,
    "philips": _philips_b_value,
    "uih": _uih_b_value,
    "canon": _canon_b_value,
}


def private_b_value(ds: Dataset) -> float | None:
    """The b-value of a classic instance from its vendor's private attributes, in s/mm^2.

    Anonymised files may have lost the maker: then every vendor's place is tried, found by its creator.
    """
    reader = _READERS.get(vendor_of(ds))
    for read in (reader,) if reader else tuple(_READERS.values()):
        if (found := read(ds)) is not None:
            return found
    return None


def private_direction(ds: Dataset) -> tuple[float, ...]:
    """Gradient direction of a classic instance from private attributes; () where none is given."""
    for group, creator, offset in (
        (0x0019, "SIEMENS MR HEADER", 0x0E),
        (0x0065, "Image Private Header", 0x37),
    ):
        if len(found := private_numbers(ds, group, creator, offset)) == 3:
            return found
    if len(found := csa_numbers(ds, "DiffusionGradientDirection")) == 3:
        return found
    for group, creator, offsets in (
        (0x2005, "Philips MR Imaging DD 001", (0xB0, 0xB1, 0xB2)),
        (0x0019, "GEMS_ACQU_01", (0xBB, 0xBC, 0xBD)),
    ):
        axes = [private_numbers(ds, group, creator, offset, "f") for offset in offsets]
        if all(axes):
            return tuple(axis[0] for axis in axes)
    comment = _CANON_COMMENT.search(text(ds, "ImageComments"))
    return tuple(float(part) for part in comment.groups()[1:]) if comment and comment.group(2) else ()


def mosaic_count(ds: Dataset) -> int | None:
    """Number of slices tiled into one Siemens mosaic, or None where the image is not one."""
    found = private_numbers(ds, 0x0019, "SIEMENS MR HEADER", 0x0A) or csa_numbers(ds, "NumberOfImagesInMosaic")
    return int(found[0]) if found and found[0] >= 1 else None


def mosaic_normal(ds: Dataset) -> tuple[float, ...]:
    """Direction in which a mosaic's slices follow each other, from the CSA header; () where it is not given."""
    found = csa_numbers(ds, "SliceNormalVector")
    return found if len(found) == 3 else ()


def grid_count(ds: Dataset) -> int | None:
    """Number of slices tiled into one UIH grid image, or None."""
    found = private_numbers(ds, 0x0065, "Image Private Header", 0x50)
    return int(found[0]) if found and found[0] >= 1 else None


def grid_positions(ds: Dataset) -> tuple[tuple[float, ...], ...]:
    """Position of every slice of a UIH grid image, in mm, LPS; () where any is missing."""
    sequence = private_value(ds, 0x0065, "Image Private Header", 0x51)
    try:
        found = tuple(numbers(item, "ImagePositionPatient", 3) for item in sequence or () if isinstance(item, Dataset))
    except UNREADABLE:
        return ()
    return found if found and all(found) else ()
