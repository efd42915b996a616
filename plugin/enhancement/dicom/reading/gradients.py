"""What a gradient's length says of the b-value, and what GE's table of directions does.

A scanner that plays several shells from one table scales the vectors: b is the nominal one times the square of the
length.
GE marks every image of a diffusion series in (0043,1030): 14 is b = 0, 16 a line of the table (b = 0 where that is
zero), 18
a map of anisotropy, 19 the trace. Sources: dcm2niix issues 245, 574, 690, 769, 777; MRtrix3 2231.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from enhancement.dicom.reading.frames import Frame, Vector
from enhancement.dicom.reading.private_tags import PrivateBlocks, ge_kind, vendor_of

# Unit vectors are written with about four digits; below the lower bound it is a zero with rounding.
_UNIT = 0.97
_ZERO = 0.03
_B_ZERO_BELOW = 50.0
# A tensor needs six directions; a clinical scan of fewer has its trace beside them, which also has no direction.
_FEWEST_OF_A_TABLE = 6


def is_zero(gradient: Vector) -> bool:
    """Whether a gradient is given, and is none."""
    return bool(gradient) and math.hypot(*gradient) <= _ZERO


def with_effective_b(frames: Sequence[Frame], notes: list[str]) -> list[Frame]:
    """Frames with the b-values that were played, for scanners that write the nominal one on all."""
    if not any(_is_ge(frame) for frame in frames):
        return list(frames)
    corrected = [_by_length(_by_kind(frame)) if _is_ge(frame) else frame for frame in frames]
    corrected = _zeros_of_the_table(corrected)
    changed = sum(after.b_value != before.b_value for after, before in zip(corrected, frames, strict=True))
    if changed:
        notes.append(f"the b-value of {changed} images is not the nominal one, by the length of their gradients")
    return corrected


def _is_ge(frame: Frame) -> bool:
    return vendor_of(frame.header) in ("ge", "")


def _by_kind(frame: Frame) -> Frame:
    if not frame.b_value or vendor_of(frame.header) != "ge":
        return frame
    kind = ge_kind(PrivateBlocks(frame.header))
    if kind == 14 or (kind == 16 and is_zero(frame.gradient)):
        return replace(frame, b_value=0.0)
    return replace(frame, directionality="ISOTROPIC") if kind == 19 else frame


def _by_length(frame: Frame) -> Frame:
    length = math.hypot(*frame.gradient) if frame.gradient else 1.0
    if not frame.b_value or not _ZERO < length < _UNIT:
        return frame
    return replace(frame, b_value=round(frame.b_value * length**2, 1))


def _zeros_of_the_table(frames: Sequence[Frame]) -> list[Frame]:
    """A zero among the directions of a tensor is a b = 0 that the table holds, not the trace."""
    directions: dict[float, set[Vector]] = defaultdict(set)
    for frame in frames:
        if frame.b_value and frame.gradient and not is_zero(frame.gradient):
            directions[round(frame.b_value, -1)].add(tuple(round(axis, 3) for axis in frame.gradient))
    tensor = max((len(found) for found in directions.values()), default=0) >= _FEWEST_OF_A_TABLE
    return [
        replace(frame, b_value=0.0)
        if tensor and frame.b_value and is_zero(frame.gradient) and frame.directionality != "ISOTROPIC"
        else frame
        for frame in frames
    ]
