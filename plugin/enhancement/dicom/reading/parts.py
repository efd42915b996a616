"""One volume out of a series that holds several, or one image too many.

Scanners put water beside fat, the uniform image beside its inversions, several echoes and corrected beside uncorrected
images into one series; archives add a scout, or the same slices twice. What tells the images apart says which part is
meant; what is left out is noted. Repeats in time are not chosen from: contrast may have been given between them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from enhancement.dicom.reading.frames import Frame, normal_of
from enhancement.dicom.reading.geometry import Stack, stack_frames
from enhancement.dicom.reading.headers import text
from enhancement.errors import InputError

# What an image is, from the words of Image Type: the lowest is taken first.
_KINDS: dict[str, int] = {
    "WATER": 0, "W": 0, "WATER_ONLY": 0, "UNI-DEN": 0, "UNI_DEN": 0, "UNI": 1, "MEAN": 1, "RMS": 0, "COMBINED": 0,
    "IN_PHASE": 6, "IP": 6, "INPHASE": 6, "OUT_PHASE": 7, "OP": 7, "OPP_PHASE": 7, "OPPOSED_PHASE": 7, "FAT": 8, "F": 8,
    "FAT_ONLY": 8, "FAT_FRACTION": 9, "FF": 9, "T2_STAR": 9, "R2_STAR": 9, "INV1": 8, "INV2": 8, "T1 MAP": 9,
    "T1_MAP": 9, "SUBTRACTION": 9, "SUB": 9, "MIP": 9, "MPR": 9, "PROJECTION IMAGE": 9, "LOCALIZER": 9,
}  # fmt: skip
_CORRECTED = ("DIS3D", "DIS2D", "NORM", "FM")
_PLAIN_KIND = 3
# A part of a stack, or a stray image: never more than this share is left out for its geometry.
_MOST_STRAY = 0.1
_SHORT_ECHO_MS = 35.0

Note = str


def volume_of(frames: Sequence[Frame], everything: Sequence[Frame]) -> tuple[Stack, tuple[Note, ...]] | None:
    """The part of a series that is one volume, with notes; None where nothing tells which one.

    Parameters
    ----------
    frames : sequence of Frame
        The magnitude ones, which do not form one volume.
    everything : sequence of Frame
        With phase, real and imaginary ones: a slice may be called so by mistake.
    """
    notes: list[Note] = []
    left = list(frames)
    for step in (_without_strays, _once, _of_one_kind, _of_one_correction, _of_one_echo):
        left = step(left, notes)
        if (stack := _stack(left)) is not None:
            return stack, tuple(notes)
    mended = _with_misnamed(frames, everything, notes)
    return (mended, tuple(notes)) if mended is not None else None


def _stack(frames: Sequence[Frame]) -> Stack | None:
    try:
        return stack_frames(frames)
    except InputError:
        return None


def _without_strays(frames: Sequence[Frame], notes: list[Note]) -> list[Frame]:
    """Without the few images of another size, spacing or orientation."""
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame in frames:
        rounded = tuple(round(value, 2) for value in (*frame.orientation, *frame.spacing_mm))
        groups[frame.rows, frame.columns, rounded].append(frame)
    most = max(groups.values(), key=len, default=[])
    stray = len(frames) - len(most)
    if not stray or stray > max(1, _MOST_STRAY * len(frames)) or _continues(frames, most):
        return list(frames)
    notes.append(f"{stray} images of another size or orientation left out")
    return most


def _continues(frames: Sequence[Frame], most: Sequence[Frame]) -> bool:
    """Whether an odd image lies where the stack's next slice would: then it is that slice, and the stack is broken."""
    if not all(len(frame.position) == 3 for frame in frames) or len(most) < 2 or not most[0].orientation:
        return True
    normal = normal_of(most[0].orientation)
    along = np.sort([float(np.dot(frame.position, normal)) for frame in most])
    step = float(np.median(np.diff(along)))
    kept = {id(frame) for frame in most}
    odd = [float(np.dot(frame.position, normal)) for frame in frames if id(frame) not in kept]
    ends = (along[0] - step, along[-1] + step)
    return any(abs(place - end) < 0.25 * abs(step) for place in odd for end in ends)


def _once(frames: Sequence[Frame], notes: list[Note]) -> list[Frame]:
    """Every slice once: copies have the same place, number and time, and where pixels are there, the same pixels."""
    kept: dict[Hashable, Frame] = {}
    for frame in frames:
        place = tuple(round(value, 3) for value in frame.position)
        key = (place, frame.instance_number, frame.frame_number, frame.acquisition_number, frame.acquired_s,
               frame.repeat,
               frame.echo_time_ms, frame.image_type, frame.b_value, _pixels(frame))  # fmt: skip
        kept.setdefault(key, frame)
    if len(kept) < len(frames):
        notes.append(f"{len(frames) - len(kept)} copies of slices left out")
    return list(kept.values())


def _pixels(frame: Frame) -> int:
    data = frame.header.get("PixelData") if frame.tile is None and frame.frame_number is None else None
    return hash(data) if isinstance(data, bytes) else 0


def rank_of_kind(image_type: Sequence[str]) -> int:
    """How likely an image is the one that is meant, by the words of its Image Type: the lowest first."""
    ranks = [_KINDS[word] for value in image_type if (word := value.upper()) in _KINDS]
    return min(ranks, default=_PLAIN_KIND)


def _rank_of_kind(frame: Frame) -> int:
    return rank_of_kind(frame.image_type)


def _of_one_kind(frames: Sequence[Frame], notes: list[Note]) -> list[Frame]:
    """The water image, the uniform one, the combined one: by Image Type or Frame Type."""
    return _first(frames, _rank_of_kind, "of another kind (fat, phase, inversion)", notes)


def _of_one_correction(frames: Sequence[Frame], notes: list[Note]) -> list[Frame]:
    """The images that the scanner corrected most, as between series."""

    def rank(frame: Frame) -> int:
        words = {value.upper() for value in frame.image_type}
        return -sum(1 << (len(_CORRECTED) - at) for at, word in enumerate(_CORRECTED) if word in words)

    return _first(frames, rank, "without the scanner's correction", notes)


def _of_one_echo(frames: Sequence[Frame], notes: list[Note]) -> list[Frame]:
    """The first echo of a sequence of short ones (T1), the last of one with long ones (T2)."""
    echoes = [frame.echo_time_ms for frame in frames if frame.echo_time_ms is not None]
    if len(echoes) < len(frames) or not echoes:
        return list(frames)
    sign = 1.0 if max(echoes) <= _SHORT_ECHO_MS else -1.0
    return _first(frames, lambda frame: sign * (frame.echo_time_ms or 0.0), "of another echo", notes)


def _first(frames: Sequence[Frame], rank: Callable[[Frame], float], what: str, notes: list[Note]) -> list[Frame]:
    ranks = [rank(frame) for frame in frames]
    if len(set(ranks)) < 2:
        return list(frames)
    counts = Counter(ranks)
    # A part of fewer images is a stray one, not the volume; two kinds of one rank are as many images twice.
    alike = Counter((found, frame.image_type) for found, frame in zip(ranks, frames, strict=True))
    whole = [found for found, count in counts.items() if count >= 0.8 * max(alike.values())]
    best = min(whole)
    kept = [frame for frame, found in zip(frames, ranks, strict=True) if found == best]
    notes.append(f"{len(frames) - len(kept)} images {what} left out")
    return kept


def _with_misnamed(frames: Sequence[Frame], everything: Sequence[Frame], notes: list[Note]) -> Stack | None:
    """The stack with the one or two slices that are called phase or real and lie where no other image does."""
    extra = [frame for frame in everything if frame.component != "M"]
    if not frames or not 0 < len(extra) <= 2 or len(frames) < 10:
        return None
    normal = normal_of(frames[0].orientation)
    taken = {round(float(np.dot(frame.position, normal)), 1) for frame in frames if frame.position}
    if any(not frame.position or round(float(np.dot(frame.position, normal)), 1) in taken for frame in extra):
        return None
    if text(extra[0].header, "PixelRepresentation") != text(frames[0].header, "PixelRepresentation"):
        return None
    stack = _stack([*frames, *extra])
    if stack is not None:
        notes.append(f"{len(extra)} slices called {extra[0].component} are taken, no other image lies there")
    return stack
