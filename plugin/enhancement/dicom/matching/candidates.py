"""A series with its role and what its headers say about reading it: what ranking compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from enhancement.dicom.matching.facts import SeriesFacts
from enhancement.dicom.reading.diffusion import plan_diffusion, plan_shells
from enhancement.dicom.reading.frames import Frame, frames_of
from enhancement.dicom.reading.geometry import Stack
from enhancement.dicom.reading.series import plan_frames
from enhancement.errors import InputError
from enhancement.settings import Role

# A series of more frames is no volume of ours (fMRI, perfusion); its geometry is not worked out.
_MOST_FRAMES_PLANNED = 20_000
# Of a series that plays no role, no more than one repeat is looked at beyond this.
_MANY_FRAMES = 1_000


@dataclass(frozen=True, eq=False)
class Candidate:
    """One series, classified.

    `stack` is one volume of it, None where its headers form none; `refusal` says why it cannot be read.
    """

    facts: SeriesFacts
    role: Role | None
    reason: str
    stack: Stack | None
    refusal: str

    @property
    def uid(self) -> str:
        return self.facts.series_instance_uid

    @property
    def usable(self) -> bool:
        return self.role is not None and not self.refusal

    @property
    def coverage_mm(self) -> float:
        """Extent across the slices."""
        return self.stack.spacing_mm[2] * self.stack.size[2] if self.stack else 0.0


def plan(facts: SeriesFacts, role: Role | None) -> tuple[Stack | None, str]:
    """One volume of a series as its headers tell it, and why it cannot be read ("" if it can)."""
    if not facts.images:
        return None, "it holds no MR image"
    if role is None and facts.frame_count > _MANY_FRAMES:
        return _any_stack(frames_of(facts.one_repeat())), ""
    if facts.frame_count > _MOST_FRAMES_PLANNED:
        return None, f"it holds {facts.frame_count} frames"
    try:
        if role is Role.DWI:
            return plan_shells(facts.frames, [])[0].stacks[0], ""
        return plan_frames(facts.frames), ""
    except InputError as error:
        return _any_stack(facts.frames), f"{error.code}: {error.reason.partition(': ')[2] or error.reason}"


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


def serves_alone(candidate: Candidate) -> bool:
    """Whether a diffusion series holds both b = 0 and b > 0."""
    try:
        plan_diffusion(candidate.facts.frames)
    except InputError:
        return False
    return True
