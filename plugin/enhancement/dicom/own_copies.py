"""Copies of what this software made: which series of ours in a study is a result of the series beside it?

Who modifies, anonymises, merges or moves a study copies its results too, under other UIDs. A copy has the place of its
source: it names the source's instances, or lies in the source's frame of reference at the source's positions. Whoever
gives a copy other UIDs gives all of it a frame of reference of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pydicom.dataset import Dataset

from enhancement.dicom.own_series import is_enhanced, is_own, lies_on
from enhancement.dicom.reading.headers import text, texts

Position = tuple[float, ...]
_ROUNDING = 2  # digits of a millimetre; anonymisers write positions anew, in other decimals


def copied_results(
    series: Mapping[str, Sequence[Dataset]], reference: Collection[str], image_type: str, known: Collection[str]
) -> list[str]:
    """The results of a study that nobody here stored.

    Parameters
    ----------
    series : mapping of SeriesInstanceUID to headers
        All of the study.
    reference : collection of SeriesInstanceUID
        The series that the result must lie on.
    image_type : str
        Value 4 of the result's Image Type.
    known : collection of SeriesInstanceUID
        Results of which the ledger says that they belong to this study.

    Returns
    -------
    list of SeriesInstanceUID
        One enhanced series first, then the ADC maps that came with it; empty where none lies on the reference.
    """
    strangers = {uid: found for uid, found in series.items() if uid not in known and is_own(found[0])}
    acquired = [header for uid in reference for header in series.get(uid, ())]
    enhanced = [
        uid for uid, found in strangers.items() if _is_kind(found[0], image_type) and _lies_on_all(found, acquired)
    ]
    if not enhanced:
        return []
    maps = [uid for uid, found in strangers.items() if not is_enhanced(found[0]) and _kind(found[0]) == "ADC"]
    return [min(enhanced), *sorted(maps)]


def _kind(header: Dataset) -> str:
    """Value 4 of Image Type; "" where an anonymiser emptied it."""
    return next(iter(texts(header, "ImageType")[3:]), "").upper()


def _is_kind(header: Dataset, image_type: str) -> bool:
    kind = _kind(header)
    return kind == image_type.upper() if kind else is_enhanced(header)


def _lies_on_all(copy: Sequence[Dataset], acquired: Sequence[Dataset]) -> bool:
    if not acquired:
        return False
    named = {lies_on(header) for header in copy} - {""}
    if named and named <= {text(header, "SOPInstanceUID") for header in acquired}:
        return True
    frames = {text(header, "FrameOfReferenceUID") for header in (*copy, *acquired)}
    positions = _positions(acquired)
    return len(frames) == 1 and "" not in frames and bool(positions) and _positions(copy) == positions


def _positions(headers: Sequence[Dataset]) -> set[Position]:
    """Where the slices lie; nothing where a header does not say."""
    found = [header.get("ImagePositionPatient") for header in headers]
    if any(position is None or len(position) != 3 for position in found):
        return set()
    return {tuple(round(float(value), _ROUNDING) + 0.0 for value in position) for position in found if position}
