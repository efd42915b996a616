"""A series with its role and what its headers say about reading it: what ranking compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.reading.diffusion import plan_diffusion, plan_shells
from enhancement.dicom.reading.frames import MR_IMAGE, Frame, frames_of, normal_of
from enhancement.dicom.reading.geometry import Stack
from enhancement.dicom.reading.headers import numbers, text
from enhancement.dicom.reading.series import plan_frames, plan_volume
from enhancement.errors import InputError
from enhancement.settings import Role

# A series of more frames is no volume of ours (fMRI, perfusion); its geometry is not worked out.
_MOST_FRAMES_PLANNED = 20_000
# Of a series that plays no role, no more than one repeat is looked at beyond this.
_MANY_FRAMES = 1_000


@dataclass(frozen=True, eq=False)
class Candidate:
    """One series, classified.

    `stack` is one volume of it, None where its headers form none; `refusal` says why it cannot be read, `notes` what
    of it is left out. `copies_before` counts series of lower number that hold the same acquisition.
    """

    facts: SeriesFacts
    role: Role | None
    reason: str
    stack: Stack | None
    refusal: str
    notes: tuple[str, ...] = ()
    copies_before: int = 0

    @property
    def uid(self) -> str:
        return self.facts.series_instance_uid

    @property
    def usable(self) -> bool:
        return self.role is not None and not self.refusal

    @property
    def undecided(self) -> bool:
        """Whether it is a T1 of which the evidence on contrast contradicts itself."""
        return self.role in (Role.T1, Role.T1C) and self.facts.contrast == "CONFLICT"

    @property
    def coverage_mm(self) -> float:
        """Extent across the slices."""
        return self.stack.spacing_mm[2] * self.stack.size[2] if self.stack else 0.0


def plan(facts: SeriesFacts, role: Role | None) -> tuple[Stack | None, str, tuple[str, ...]]:
    """One volume of a series as its headers tell it, why it cannot be read ("" if it can).

    And what is left out of it.
    """
    if not facts.images:
        return None, "it holds no MR image", ()
    if role is None:
        return _rough_stack(facts), "", ()
    if facts.frame_count > _MOST_FRAMES_PLANNED:
        return None, f"it holds {facts.frame_count} frames", ()
    try:
        if role is Role.DWI:
            return plan_shells(facts.frames, [])[0].stacks[0], "", ()
        stack, notes = plan_volume(facts.frames)
        return stack, "", notes
    except InputError as error:
        return _any_stack(facts.frames), f"{error.code}: {error.reason.partition(': ')[2] or error.reason}", ()


def _rough_stack(facts: SeriesFacts) -> Stack | None:
    """Size and spacing of a series that plays no role, from its positions alone: there may be thousands of images."""
    frame = next(iter(frames_of([facts.first])), None)
    if frame is None or frame.tile is not None or text(facts.first, "SOPClassUID") != MR_IMAGE:
        return _any_stack(frames_of(facts.one_repeat()[:_MANY_FRAMES]))
    places = {numbers(ds, "ImagePositionPatient", 3) for ds in facts.images} - {()}
    if not places or len(frame.orientation) != 6 or len(frame.spacing_mm) != 2:
        return None
    along = sorted(float(np.dot(place, normal_of(frame.orientation))) for place in places)
    step = float(np.median(np.diff(along))) if len(along) > 1 else frame.thickness_mm or 0.0
    spacing = (float(frame.spacing_mm[1]), float(frame.spacing_mm[0]), step)
    return Stack((frame,), frame.position, (), spacing, (frame.columns, frame.rows, len(along)))


def _any_stack(frames: Sequence[Frame]) -> Stack | None:
    """A volume of a series of several (fMRI, repeats), for its size and spacing."""
    by_volume: dict[tuple[object, ...], list[Frame]] = {}
    for frame in frames:
        key = (
            frame.echo_time_ms,
            frame.repeat,
            frame.acquisition_number,
            frame.component,
            frame.b_value,
            frame.gradient,
        )
        by_volume.setdefault(key, []).append(frame)
    try:
        return plan_frames(next(iter(by_volume.values()), []))
    except InputError:
        return None


def serves_together(candidates: Sequence[Candidate]) -> bool:
    """Whether diffusion series hold b = 0 and b > 0 together."""
    try:
        plan_diffusion([frame for candidate in candidates for frame in candidate.facts.frames])
    except InputError:
        return False
    return True


def serves_alone(candidate: Candidate) -> bool:
    """Whether a diffusion series holds both b = 0 and b > 0."""
    try:
        plan_diffusion(candidate.facts.frames)
    except InputError:
        return False
    return True
