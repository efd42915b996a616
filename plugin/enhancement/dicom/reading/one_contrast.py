"""Diffusion images whose ratio means something: of one phase encoding, one echo time, and b = 0 that is none.

One series can hold more: b = 0 images of the other way for a correction (GE, UIH), several echoes, and the small
b-values
of perfusion. What is left out is noted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

from enhancement.dicom.reading.frames import Frame
from enhancement.dicom.reading.headers import text
from enhancement.dicom.reading.phase_encoding import polarity_of

_WEIGHTED_FROM = 50.0
# Scanners write 0, 0.001, 1.25, 5 or 10 for none; more is the weighting of an IVIM scan.
_NONE_UP_TO = 10.0


def comparable(frames: Sequence[Frame], notes: list[str]) -> list[Frame]:
    """The frames that can be compared with the diffusion-weighted ones."""
    kept = _like_the_weighted(frames, _polarities(frames), "of the other phase-encoding direction", notes)
    kept = _like_the_weighted(kept, lambda frame: frame.echo_time_ms, "of another echo time", notes)
    return _without_small_b(kept, notes)


def _polarities(frames: Sequence[Frame]) -> Callable[[Frame], Hashable]:
    """The polarity of each frame; a header is asked once for each volume, as some are slow to read."""
    found: dict[Hashable, int | None] = {}

    def of(frame: Frame) -> Hashable:
        key = (
            text(frame.header, "SeriesInstanceUID"),
            text(frame.header, "RectilinearPhaseEncodeReordering"),
            (frame.b_value or 0.0) >= _WEIGHTED_FROM,
            frame.acquisition_number,
            frame.repeat,
        )
        if key not in found:
            found[key] = polarity_of(frame.header)
        return found[key]

    return of


def _like_the_weighted(
    frames: Sequence[Frame], kind_of: Callable[[Frame], Hashable], what: str, notes: list[str]
) -> list[Frame]:
    kinds = [kind_of(frame) for frame in frames]
    if len({kind for kind in kinds if kind is not None}) < 2:
        return list(frames)
    weighted = Counter(
        kind for frame, kind in zip(frames, kinds, strict=True) if (frame.b_value or 0.0) >= _WEIGHTED_FROM
    )
    if not weighted:
        return list(frames)
    # Of several that are weighted alike, the smallest: the shortest echo has most signal.
    most = max(weighted.values())
    wanted = min(
        (kind for kind, count in weighted.items() if count == most), key=lambda kind: (kind is None, str(kind))
    )
    kept = [frame for frame, kind in zip(frames, kinds, strict=True) if kind == wanted or kind is None]
    notes.append(f"{len(frames) - len(kept)} images {what} left out")
    return kept


def _without_small_b(frames: Sequence[Frame], notes: list[str]) -> list[Frame]:
    values = [frame.b_value or 0.0 for frame in frames]
    if min(values, default=0.0) > _NONE_UP_TO:
        return list(frames)
    kept = [frame for frame, b in zip(frames, values, strict=True) if b <= _NONE_UP_TO or b >= _WEIGHTED_FROM]
    if len(kept) < len(frames):
        notes.append(f"{len(frames) - len(kept)} images of b between {_NONE_UP_TO:g} and {_WEIGHTED_FROM:g} left out")
    return kept
