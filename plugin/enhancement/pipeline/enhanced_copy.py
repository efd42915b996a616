"""An enhanced series that lost every word of ours is known by its pixels, beside the series that it was made of.

An anonymiser may take away the equipment, the codes, the kind of image, the description and the identifiers
(`dicom/own_series.py`). Outside the brain its voxels are still those of its source, value for value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from enhancement.dicom.own_series import is_own
from enhancement.dicom.reading.frames import count_frames, is_image
from enhancement.dicom.reading.geometry import Stack
from enhancement.dicom.reading.headers import integer, text
from enhancement.dicom.reading.series import SeriesVolume, plan_series, read_series
from enhancement.errors import AmbiguousMatch, InputError
from enhancement.imaging.edited_copy import Relation, relation
from enhancement.settings import Role

_ADVICE = (
    "Remove the enhanced copy from the study, leave it out by a rule, or start the study by hand with the acquired "
    "series named."
)


def refuse_enhanced_copies(
    volumes: Mapping[Role, SeriesVolume],
    needed: Collection[Role],
    headers: Sequence[Dataset],
    instances: Callable[[str], list[Dataset]],
) -> tuple[str, ...]:
    """Make sure that no series that was read is an enhanced copy of another of the study.

    Parameters
    ----------
    volumes : mapping of role to SeriesVolume
        As read.
    needed : collection of Role
        Which of them are asked about: what may be missing changes too little to end a study.
    headers : sequence of Dataset
        Of the whole study.
    instances : callable
        The whole instances of a series, by its UID.

    Returns
    -------
    tuple of str
        Notes on series that are enhanced copies and were not taken.

    Raises
    ------
    AmbiguousMatch
        ENHANCED_COPY, where a series that was read is another one with a region made brighter, or may be.
    """
    known = {volume.series_instance_uid: volume.image for volume in volumes.values()}
    notes: list[str] = []
    for role, volume in ((role, volumes[role]) for role in needed if role in volumes):
        for uid in _on_its_grid(volume, headers):
            image = known[uid] if uid in known else _read(instances(uid))
            if image is None:
                continue
            found = relation(sitk.GetArrayViewFromImage(volume.image), sitk.GetArrayViewFromImage(image))
            if found in (Relation.DARKENED, Relation.CHANGED):
                raise _refused(role, volume.series_instance_uid, uid, found)
            if found is Relation.BRIGHTENED:
                notes.append(f"{role}: series {uid} is a copy of it with a region made brighter, and is not used")
    return tuple(notes)


def _refused(role: Role, taken: str, other: str, found: Relation) -> AmbiguousMatch:
    told = "with a region made brighter" if found is Relation.DARKENED else "but for a region"
    what = f"An acquired {role} series is needed; {taken} has the voxels of {other} {told}, so it was made from it."
    if found is Relation.CHANGED:
        what = f"An acquired {role} series is needed; {taken} has the voxels of {other} {told}: one of them was edited."
    return AmbiguousMatch(what, code="ENHANCED_COPY", advice=_ADVICE)


def _on_its_grid(volume: SeriesVolume, headers: Sequence[Dataset]) -> Iterator[str]:
    """The other series of the study with the same voxels; what is known to be ours plays no role anyway."""
    by_series: dict[str, list[Dataset]] = defaultdict(list)
    for ds in headers:
        if is_image(ds):
            by_series[text(ds, "SeriesInstanceUID")].append(ds)
    columns, rows, slices = volume.image.GetSize()
    for uid, found in by_series.items():
        first = found[0]
        if uid == volume.series_instance_uid or is_own(first) or sum(map(count_frames, found)) != slices:
            continue
        if (integer(first, "Columns"), integer(first, "Rows")) != (columns, rows):
            continue
        try:
            stack = plan_series(found)
        except InputError:
            continue
        if _lies_on(stack, volume.image):
            yield uid


def _lies_on(stack: Stack, image: sitk.Image) -> bool:
    spacing = image.GetSpacing()
    return (
        stack.size == image.GetSize()
        and np.allclose(stack.spacing_mm, spacing, rtol=1e-3)
        and np.allclose(stack.direction, image.GetDirection(), atol=2e-3)
        and np.allclose(stack.origin, image.GetOrigin(), atol=0.1 * min(spacing))
    )


def _read(instances: Sequence[Dataset]) -> sitk.Image | None:
    """The image of a series that nothing is made of; None where it cannot be read."""
    try:
        return read_series(instances).image
    except InputError:
        return None
