"""What vendors keep in private attributes: b-values, directions, mosaics.

A private block may lie at any element xx10..xxFF of its group, so it is found by its creator. Where
anonymisation took the creator away but left the values, the vendor's usual place is tried.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from enhancement.dicom.reading.csa import parse_csa
from enhancement.dicom.reading.headers import UNREADABLE, as_numbers, numbers, text, texts, value, walk_groups

# A GE scanner adds 1e9 to b-values of some protocols; a smaller modulus would break high b (dcm2niix issue 149).
_GE_OFFSET = 1_000_000_000
_HIGHEST_B = 100_000.0
_CANON_COMMENT = re.compile(r"\bb\s*=\s*(\d+(?:\.\d+)?)\s*(?:\(\s*([-\d.]+)\s*,\s*([-\d.]+)\s*,\s*([-\d.]+)\s*\))?")
_SIEMENS_SEQUENCE = re.compile(r"^\*?(?:ep|re|tse|bl|hs)_b(\d+)(?:t|#\d+|_\d+)*$")


class PrivateBlocks:
    """The private attributes of one instance, found by creator.

    The creators are looked up once, as a private block may lie anywhere and a study has thousands of files.
    """

    def __init__(self, ds: Dataset) -> None:
        self.ds = ds
        self.groups: set[int] = set()
        self.blocks: dict[tuple[int, str], list[int]] = {}
        # keys: iterating a Dataset would convert every element; bit 16 is that of an odd group
        for number in [int(tag) for tag in tuple(ds.keys()) if tag & 0x10000]:
            group, element = number >> 16, number & 0xFFFF
            if 0x10 <= element <= 0xFF:
                self.groups.add(group)
                self.blocks.setdefault((group, text(ds, BaseTag(number)).casefold()), []).append(element)

    def value(self, group: int, creator: str, offset: int) -> Any:
        """The value of one private attribute, None where it is absent.

        Parameters
        ----------
        group : int
            Odd group number.
        creator : str
            Start of the Private Creator, case does not matter.
        offset : int
            Last two hexadecimal digits of the element.
        """
        for tag in self._tags(group, creator, offset):
            if (found := value(self.ds, tag)) is not None:
                return found
        return None

    def _tags(self, group: int, creator: str, offset: int) -> Iterator[tuple[int, int]]:
        """Where a private attribute may lie."""
        if group not in self.groups:
            yield group, 0x1000 | offset
            return
        wanted = creator.casefold()
        for (held, name), blocks in self.blocks.items():
            if held == group and name.startswith(wanted):
                yield from ((group, block << 8 | offset) for block in blocks)

    def numbers(self, group: int, creator: str, offset: int, packed: str = "d") -> tuple[float, ...]:
        """Numbers of one private attribute, also where the file gives it as UN, that is as bytes.

        Parameters
        ----------
        packed : str
            `struct` letter of the binary form (d: FD, f: FL); text is tried first.
        """
        for tag in self._tags(group, creator, offset):
            if found := numbers(self.ds, tag):
                return found
            if isinstance(raw := value(self.ds, tag), bytes):
                return _unpacked(raw, packed)
        return ()

    def csa(self, name: str) -> tuple[float, ...]:
        """Numbers of one entry of Siemens' CSA image header; () where there are none."""
        raw = self.value(0x0029, "SIEMENS CSA HEADER", 0x10)
        return as_numbers(parse_csa(raw).get(name)) if isinstance(raw, bytes) and len(raw) < 1 << 20 else ()


def _unpacked(raw: bytes, packed: str) -> tuple[float, ...]:
    # Bytes of floats may be ASCII too: 1000.0 in four of them is "zD". What does not read as numbers is no text.
    text_parts = [part for part in raw.decode("latin-1").strip(" \0").split("\\") if part]
    if found := as_numbers(text_parts):
        return found
    size = struct.calcsize(packed)
    count = len(raw) // size
    return as_numbers(list(struct.unpack(f"<{count}{packed}", raw[: count * size])))


def _plausible(b_values: tuple[float, ...]) -> float | None:
    return b_values[0] if b_values and 0.0 <= b_values[0] <= _HIGHEST_B else None


def _ge_b_value(private: PrivateBlocks) -> float | None:
    found = private.numbers(0x0043, "GEMS_PARM_01", 0x39)
    return _plausible((math.fmod(found[0], _GE_OFFSET),)) if found and found[0] >= 0 else None


def _siemens_b_value(private: PrivateBlocks) -> float | None:
    if (b_value := _plausible(private.numbers(0x0019, "SIEMENS MR HEADER", 0x0C))) is not None:
        return b_value
    if _may_be_diffusion(private.ds) and (b_value := _plausible(private.csa("B_value"))) is not None:
        return b_value
    name = _SIEMENS_SEQUENCE.match(text(private.ds, "SequenceName"))
    return float(name.group(1)) if name else None


def _may_be_diffusion(ds: Dataset) -> bool:
    """Whether the CSA header, slow to read, is worth a look: echo-planar, or diffusion by Image Type."""
    return "EP" in texts(ds, "ScanningSequence") or "DIFFUSION" in texts(ds, "ImageType")


def _philips_b_value(private: PrivateBlocks) -> float | None:
    return _plausible(private.numbers(0x2001, "Philips Imaging DD 001", 0x03, "f"))


def _uih_b_value(private: PrivateBlocks) -> float | None:
    return _plausible(private.numbers(0x0065, "Image Private Header", 0x09))


def _canon_b_value(private: PrivateBlocks) -> float | None:
    comment = _CANON_COMMENT.search(text(private.ds, "ImageComments"))
    return _plausible((float(comment.group(1)),)) if comment else None


def _hitachi_b_value(private: PrivateBlocks) -> float | None:
    # Other makers keep other things in this group, so without a creator the place alone says nothing.
    if 0x0029 not in private.groups and vendor_of(private.ds) != "hitachi":
        return None
    return _plausible(private.numbers(0x0029, "MMCPrivate", 0x30))


def vendor_of(ds: Dataset) -> str:
    """One word for the maker: ge, siemens, philips, uih, canon, hitachi, or "" for any other."""
    return _vendor_of(text(ds, "Manufacturer"))


@lru_cache(maxsize=256)
def _vendor_of(manufacturer: str) -> str:
    maker = manufacturer.casefold()
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
    "hitachi": _hitachi_b_value,
}


def private_b_value(private: PrivateBlocks) -> float | None:
    """The b-value of a classic instance from its vendor's private attributes, in s/mm^2.

    Anonymised files may have lost the maker: then every vendor's place is tried, found by its creator.
    """
    reader = _READERS.get(vendor_of(private.ds))
    for read in (reader,) if reader else tuple(_READERS.values()):
        if (found := read(private)) is not None:
            return found
    return None


def private_direction(private: PrivateBlocks) -> tuple[float, ...]:
    """Gradient direction of a classic instance from private attributes; () where none is given."""
    for group, creator, offset in (
        (0x0019, "SIEMENS MR HEADER", 0x0E),
        (0x0065, "Image Private Header", 0x37),
    ):
        if len(found := private.numbers(group, creator, offset)) == 3:
            return found
    if _may_be_diffusion(private.ds) and len(found := private.csa("DiffusionGradientDirection")) == 3:
        return found
    for group, creator, offsets in (
        (0x2005, "Philips MR Imaging DD 001", (0xB0, 0xB1, 0xB2)),
        (0x0019, "GEMS_ACQU_01", (0xBB, 0xBC, 0xBD)),
    ):
        axes = [private.numbers(group, creator, offset, "f") for offset in offsets]
        if all(axes):
            return tuple(axis[0] for axis in axes)
    comment = _CANON_COMMENT.search(text(private.ds, "ImageComments"))
    return tuple(float(part) for part in comment.groups()[1:]) if comment and comment.group(2) else ()


def ge_component(private: PrivateBlocks) -> tuple[str, ...]:
    """Phase, real or imaginary, which GE writes in (0043,102f) and not in Image Type; () for magnitude."""
    found = private.numbers(0x0043, "GEMS_PARM_01", 0x2F)
    return ({1: "P", 2: "R", 3: "I"}.get(int(found[0]), "M"),) if found and found[0] in (1, 2, 3) else ()


def directionality(private: PrivateBlocks, gradient: tuple[float, ...]) -> str:
    """DIRECTIONAL, ISOTROPIC or NONE where Siemens or Philips say so in private; "" elsewhere."""
    said = str(private.value(0x0019, "SIEMENS MR HEADER", 0x0D) or "").strip().upper()
    if said in ("DIRECTIONAL", "ISOTROPIC", "NONE"):
        return said
    # Philips: I is the isotropic image, but b = 0 images have it too; a gradient says more
    if any(gradient):
        return ""
    return "ISOTROPIC" if private.value(0x2001, "Philips Imaging DD 001", 0x04) in ("I", b"I ") else ""


def philips_scale(ds: Dataset, frame_number: int | None = None) -> float | None:
    """Philips' Scale Slope (2005,100E), that makes images comparable; None where it is gone.

    It stands in the object, or in a private sequence of the object or of a frame (2005,140F).
    """
    for holder in (*_frame_groups(ds, frame_number), ds):
        private = PrivateBlocks(holder)
        nested = private.value(0x2005, "Philips MR Imaging DD 005", 0x0F)
        places = [PrivateBlocks(item) for item in _datasets(nested)] + [private]
        for place in places:
            found = place.numbers(0x2005, "Philips MR Imaging DD 001", 0x0E, "f")
            if found and found[0] > 0:
                return found[0]
    return None


def _datasets(found: Any) -> list[Dataset]:
    try:
        return [item for item in found or () if isinstance(item, Dataset)]
    except UNREADABLE:
        return []


def _frame_groups(ds: Dataset, frame_number: int | None) -> tuple[Dataset, ...]:
    return () if frame_number is None else tuple(walk_groups(ds, frame_number - 1))


def ge_kind(private: PrivateBlocks) -> int | None:
    """What a GE diffusion image is, (0043,1030): 14 b = 0, 16 a line of the direction table, 19 trace.

    None elsewhere.
    """
    found = private.numbers(0x0043, "GEMS_PARM_01", 0x30)
    return int(found[0]) if found else None


def mosaic_count(private: PrivateBlocks) -> int | None:
    """Number of slices tiled into one Siemens mosaic, or None where the image is not one."""
    found = private.numbers(0x0019, "SIEMENS MR HEADER", 0x0A) or private.csa("NumberOfImagesInMosaic")
    return int(found[0]) if found and found[0] >= 1 else None


def mosaic_normal(private: PrivateBlocks) -> tuple[float, ...]:
    """Direction in which a mosaic's slices follow each other, from the CSA header; () where it is not given."""
    found = private.csa("SliceNormalVector")
    return found if len(found) == 3 else ()


def grid_count(private: PrivateBlocks) -> int | None:
    """Number of slices tiled into one UIH grid image, or None."""
    found = private.numbers(0x0065, "Image Private Header", 0x50)
    return int(found[0]) if found and found[0] >= 1 else None


def grid_positions(private: PrivateBlocks) -> tuple[tuple[float, ...], ...]:
    """Position of every slice of a UIH grid image, in mm, LPS; () where any is missing."""
    sequence = private.value(0x0065, "Image Private Header", 0x51)
    try:
        found = tuple(numbers(item, "ImagePositionPatient", 3) for item in sequence or () if isinstance(item, Dataset))
    except UNREADABLE:
        return ()
    return found if found and all(found) else ()
