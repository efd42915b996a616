"""Reading single attributes from headers that nobody guarantees.

Real archives hold empty, misspelt, wrongly typed and truncated attributes. pydicom converts a value when it
is first asked for, so any access may raise; here every such case is the same as "absent". What is needed
and absent is refused later, with a code, by whoever needs it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from typing import Any, NamedTuple

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

# What pydicom is known to raise when it converts a broken value; RecursionError comes from nested sequences.
UNREADABLE = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    LookupError,
    EOFError,
    RecursionError,
    BytesLengthException,
    struct.error,
)

_LONGEST_TEXT = 512
_LONGEST_KEPT = 128
_BINARY_VRS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FD": "d", "FL": "f"}
# Texts of one line. Those of several hold backslashes; numbers in binary form are pydicom's.
_TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UI"})


def value(ds: Dataset, key: str | BaseTag | tuple[int, int]) -> Any:
    """The converted value of one attribute, or None where it is absent, empty or unreadable."""
    try:
        if (tag := _tag_of(key)) is not None and tag not in ds.keys():  # noqa: SIM118 - "in ds" makes a tag of the tag
            return None
        found: Any = ds.get(key)
        if found is None:
            return None
        return found if isinstance(key, str) else found.value
    except UNREADABLE:
        return None


@lru_cache(maxsize=1024)
def _tag_of(key: str | BaseTag | tuple[int, int]) -> BaseTag | None:
    if not isinstance(key, str):
        return Tag(key)
    number = tag_for_keyword(key)
    return None if number is None else BaseTag(number)


def _as_stored(ds: Dataset, key: str | BaseTag | tuple[int, int]) -> tuple[str, ...] | None:
    """The values of an attribute that is absent, or that pydicom has not converted yet and that is plain ASCII.

    None elsewhere. A study has thousands of headers, and a conversion costs ten times as much as this.
    """
    tag = _tag_of(key)
    try:
        element = None if tag is None else ds.get_item(tag)
    except UNREADABLE:
        return ()
    if element is None:
        return None if tag is None else ()
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return None
    vr = element.VR or _vr_of(element.tag)
    if (packed := _BINARY_VRS.get(vr)) is not None:
        return _unpacked(element.value, packed, "<" if element.is_little_endian else ">")
    if vr not in _TEXT_VRS:
        return None
    seldom_twice = vr == "UI" or len(element.value) > _LONGEST_KEPT
    return _written(element.value) if seldom_twice else _written_once(element.value)


@lru_cache(maxsize=1024)
def _vr_of(tag: BaseTag) -> str:
    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def _written(stored: bytes) -> tuple[str, ...] | None:
    """The values in the bytes of a text; None where they are not plain ASCII."""
    if not stored.isascii() or b"\x1b" in stored:
        return None
    parts = (part.strip(" \0\r\n\t")[:_LONGEST_TEXT] for part in stored.decode("ascii").split("\\"))
    return tuple(part for part in parts if part)


_written_once = lru_cache(maxsize=1 << 13)(_written)  # most attributes are the same in all images of a series


@lru_cache(maxsize=1 << 10)
def _unpacked(stored: bytes, packed: str, order: str) -> tuple[str, ...] | None:
    size = struct.calcsize(packed)
    if not stored or len(stored) % size:
        return None
    return tuple(str(number) for number in struct.unpack(f"{order}{len(stored) // size}{packed}", stored))


def texts(ds: Dataset, key: str | BaseTag | tuple[int, int]) -> tuple[str, ...]:
    """All values of one attribute as stripped text; () where there is none."""
    if (stored := _as_stored(ds, key)) is not None:
        return stored
    found = value(ds, key)
    if found is None or isinstance(found, (bytes, Dataset)):
        return ()
    items = found if isinstance(found, (MultiValue, list, tuple)) else (found,)
    return tuple(text for text in (str(item).strip(" \0\r\n\t")[:_LONGEST_TEXT] for item in items) if text)


def text(ds: Dataset, key: str | BaseTag | tuple[int, int]) -> str:
    """One attribute as text, several values joined by a backslash as in the file."""
    return "\\".join(texts(ds, key))


def as_numbers(found: Any) -> tuple[float, ...]:
    """Finite numbers in a converted value; () if any of it is not one."""
    if found is None or isinstance(found, (bytes, Dataset)):
        return ()
    items: Iterable[Any] = found if isinstance(found, (MultiValue, list, tuple)) else (found,)
    try:
        numbers_found = tuple(float(item) for item in items)
    except UNREADABLE:
        return ()
    return numbers_found if all(math.isfinite(number) for number in numbers_found) else ()


@lru_cache(maxsize=1 << 13)
def _numbers_in(stored: tuple[str, ...]) -> tuple[float, ...]:
    return as_numbers(stored)


def numbers(ds: Dataset, key: str | BaseTag | tuple[int, int], count: int | None = None) -> tuple[float, ...]:
    """All values of one attribute as finite numbers; () where there are none, or not exactly `count`."""
    stored = _as_stored(ds, key)
    found = as_numbers(value(ds, key)) if stored is None else _numbers_in(stored)
    return found if count is None or len(found) == count else ()


def number(ds: Dataset, key: str | BaseTag | tuple[int, int]) -> float | None:
    """The first value of one attribute as a finite number, or None."""
    found = numbers(ds, key)
    return found[0] if found else None


def integer(ds: Dataset, key: str | BaseTag | tuple[int, int]) -> int | None:
    """The first value of one attribute as a whole number, or None."""
    found = number(ds, key)
    return None if found is None else int(found)


def items(ds: Dataset, key: str | BaseTag | tuple[int, int]) -> tuple[Dataset, ...]:
    """The items of a sequence; () where it is absent or not a sequence."""
    found = value(ds, key)
    try:
        return tuple(item for item in found if isinstance(item, Dataset)) if found is not None else ()
    except UNREADABLE:
        return ()


@lru_cache(maxsize=1 << 12)
def seconds_of_day(clock: str) -> float | None:
    """Seconds since midnight of a DICOM TM, or of the time in a DT; None if it is neither."""
    digits = clock.split("+")[0].replace(":", "")
    if len(digits.split(".")[0]) >= 12:  # DT: YYYYMMDDHHMMSS
        digits = digits[8:]
    whole, _, fraction = digits.partition(".")
    if not whole.isdecimal() or len(whole) < 4:
        return None
    hours, minutes, seconds = int(whole[:2]), int(whole[2:4]), int(whole[4:6] or 0)
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    return hours * 3600.0 + minutes * 60.0 + seconds + (float(f"0.{fraction}") if fraction.isdecimal() else 0.0)


class Moment(NamedTuple):
    """A time of the day in seconds, and its date as YYYYMMDD, None where that is not given."""

    seconds: float
    day: str | None


def moment_of(ds: Dataset, date_keyword: str, time_keyword: str) -> Moment | None:
    """The moment in a pair of DA and TM, or in one DT where both keywords name it; None where there is none."""
    clock = text(ds, time_keyword)
    seconds = seconds_of_day(clock)
    if seconds is None:
        return None
    return Moment(seconds, day_of(clock if date_keyword == time_keyword else text(ds, date_keyword)))


@lru_cache(maxsize=1 << 8)
def day_of(written: str) -> str | None:
    """YYYYMMDD of a DICOM DA or DT, also with the dots of old files; None where it is no date."""
    digits = written.replace(".", "")[:8] if written[4:5] == "." else written[:8]
    if len(digits) != 8 or not digits.isdecimal():
        return None
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return None
    return digits


def walk_groups(ds: Dataset, frame: int) -> Iterator[Dataset]:
    """The functional groups of one frame, the frame's own before the shared ones (PS3.3 C.7.6.16)."""
    per_frame = value(ds, "PerFrameFunctionalGroupsSequence")
    try:
        if per_frame is not None and frame < len(per_frame):
            yield per_frame[frame]
    except UNREADABLE:
        pass
    yield from items(ds, "SharedFunctionalGroupsSequence")[:1]
