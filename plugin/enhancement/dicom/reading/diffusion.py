"""Diffusion series of every vendor into one image per b-value.

b = 0 is written as absent, 0, 0.001, 1.25 or 5, so it is told by a threshold and never by equality. A
scanner's isotropic (trace) volume can lie among the directions under the same b-value; trace and directions
are never mixed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from enhancement.dicom.reading.frames import Frame, frames_of, normal_of
from enhancement.dicom.reading.geometry import Stack, series_uid, stack_frames
from enhancement.dicom.reading.gradients import with_effective_b
from enhancement.dicom.reading.headers import text
from enhancement.dicom.reading.one_contrast import comparable
from enhancement.dicom.reading.private_tags import philips_scale, vendor_of
from enhancement.dicom.reading.series import SourceSlice, magnitude, read_stack, source_slices
from enhancement.errors import DiffusionInputError, InputError

# Below this the diffusion weighting of brain is under 5 %: one b-value, called 0 (IVIM's smallest excepted).
B_ZERO_BELOW = 50.0
# Shells: scanners vary b a little from direction to direction (UIH, Siemens multi-band, GE).
_SAME_SHELL = 0.05
_FEWEST_DIRECTIONS = 3
_ADVICE = "Send the whole diffusion series, with b = 0 and at least one b-value of 50 s/mm^2 or more."

Grid = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True, eq=False)
class DiffusionSeries:
    """One image per b-value.

    `b_values` are in s/mm^2 and ascend, the first is 0; `images` and `slices` go with them, the slices
    volume after volume, each in k order. `kinds` says for
    each whether it is the mean of b = 0 volumes ("b0"), a scanner's isotropic image ("trace") or the
    geometric mean of directions ("directions"), and `volumes` how many went into it. `unevenness` says how
    unevenly the directions of each point, see `unevenness_of`.
    """

    b_values: tuple[float, ...]
    images: tuple[sitk.Image, ...]
    slices: tuple[tuple[SourceSlice, ...], ...]
    kinds: tuple[str, ...]
    volumes: tuple[int, ...]
    series_instance_uids: tuple[str, ...]
    notes: tuple[str, ...]
    unevenness: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Shell:
    """What will be one image: the volumes of one b-value on one grid, not yet read."""

    b_value: float
    kind: str
    stacks: tuple[Stack, ...]


# What scanners put beside the images they were computed from, sometimes in the same series (Philips).
_MAPS = frozenset(
    {"ADC", "ADC_UNSPECIFIED", "EADC", "FA", "EXP", "EXPONENTIAL", "COLFA", "MD", "AD", "RD", "RA", "VR", "TENSOR"}
)


def is_map(image_type: Iterable[str]) -> bool:
    """Whether Image Type names a map computed from diffusion images."""
    return not _MAPS.isdisjoint(value.upper() for value in image_type)


def weighted_frames(frames: Sequence[Frame]) -> list[Frame]:
    """Diffusion-weighted frames without maps among them; all frames where all are maps."""
    return [frame for frame in frames if not is_map(frame.image_type)] or list(frames)


def reported_b_values(frames: Iterable[Frame]) -> tuple[float, ...]:
    """Sorted distinct b-values, s/mm^2 as stored to two decimals; below 50 is given as 0, absent too."""
    found = {frame.b_value or 0.0 for frame in weighted_frames(tuple(frames))}
    return tuple(sorted({0.0 if b < B_ZERO_BELOW else round(b, 2) for b in found}))


def read_diffusion(instances: Sequence[Dataset]) -> DiffusionSeries:
    """Read one diffusion series, or the several that together hold b = 0 and b > 0.

    Parameters
    ----------
    instances : sequence of Dataset
        All instances, in any order.

    Raises
    ------
    DiffusionInputError
        No b = 0, no b > 0, or volumes that cannot be told apart.
    InconsistentGeometry, MissingAttribute, UnreadablePixels
        As for `read_series`.
    """
    shells, notes = plan_diffusion(frames_of(instances))
    uids = {series_uid(stack.frames): None for shell in shells for stack in shell.stacks}
    return DiffusionSeries(
        b_values=tuple(shell.b_value for shell in shells),
        images=tuple(_combine(shell, shells[0].stacks[0].frames[0]) for shell in shells),
        slices=tuple(tuple(part for stack in shell.stacks for part in source_slices(stack)) for shell in shells),
        kinds=tuple(shell.kind for shell in shells),
        volumes=tuple(len(shell.stacks) for shell in shells),
        series_instance_uids=tuple(uids),
        notes=notes,
        unevenness=tuple(unevenness_of(shell) for shell in shells),
    )


def unevenness_of(shell: Shell) -> float:
    """How far the mean of a shell's directions is from the trace: 0 for even ones, 2 where all point one way.

    The largest eigenvalue of 3 x the mean of g g^T, minus 1; the error of the ADC of white matter goes with it. Where
    gradients are not in the header nothing is known, and that counts as uneven (2). What is no mean has 0.
    """
    if shell.kind != "directions" or len(shell.stacks) < _FEWEST_DIRECTIONS:
        return 0.0
    gradients = [stack.frames[0].gradient for stack in shell.stacks]
    if not all(any(gradient) for gradient in gradients):
        return 2.0
    units = np.array([np.asarray(gradient) / np.linalg.norm(gradient) for gradient in gradients])
    return float(np.linalg.eigvalsh(3.0 * units.T @ units / len(units))[-1] - 1.0)


def plan_diffusion(frames: Sequence[Frame]) -> tuple[tuple[Shell, ...], tuple[str, ...]]:
    """What `read_diffusion` would read, from headers alone, and notes on what it would leave out."""
    notes: list[str] = []
    shells = plan_shells(frames, notes)
    if shells[0].b_value != 0 or len(shells) < 2:
        found = ", ".join(f"{shell.b_value:g}" for shell in shells)
        what = "; ".join((f"found only b = {found}", *notes))
        raise _refused(frames, "NO_B_ZERO" if shells[0].b_value else "NO_B_VALUES", f"{what}.")
    return shells, tuple(notes)


def plan_shells(frames: Sequence[Frame], notes: list[str]) -> tuple[Shell, ...]:
    """The shells of one or several series, ascending; b = 0 or b > 0 may be absent."""
    frames = weighted_frames(magnitude(frames))
    if not frames:
        raise DiffusionInputError("No MR image is in the series.", code="NO_IMAGES")
    frames = comparable(with_effective_b(frames, notes), notes)
    by_shell = _group_by_shell(frames)
    kinds = {b: _kinds(group) for b, group in by_shell.items()}
    kind = _common_kind([found for b, found in kinds.items() if b > 0])
    shells = []
    for b, found in sorted(kinds.items()):
        if b > 0 and kind not in found:
            notes.append(f"b = {b:g} left out: it has no {kind} images as the others have")
            continue
        wanted = found["b0"] if b == 0 else found[kind]
        if b > 0 and len(found) > 1:
            notes.append(f"b = {b:g}: the scanner's trace image is taken, its directions are not mixed in")
        stacks = _volumes(wanted, notes, b)
        if kind == "directions" and b > 0 and len(stacks) == 1 and _may_be_unmarked_trace(stacks[0].frames[0]):
            notes.append(f"b = {b:g}: one volume with a gradient, taken for the trace image")
        elif kind == "directions" and b > 0 and len(stacks) < _FEWEST_DIRECTIONS:
            what = f"at least {_FEWEST_DIRECTIONS} directions or a trace image are needed, found {len(stacks)}"
            notes.append(f"b = {b:g} left out: {what}")
            continue
        shells.append(Shell(b, "b0" if b == 0 else kind, stacks))
    if not shells:
        raise _refused(frames, "TOO_FEW_DIRECTIONS", "; ".join(notes))
    return tuple(shells)


def _may_be_unmarked_trace(frame: Frame) -> bool:
    """GE leaves the last direction's gradient in the header of its combined image."""
    return frame.directionality != "DIRECTIONAL" and vendor_of(frame.header) == "ge"


def _refused(frames: Sequence[Frame], code: str, what: str) -> DiffusionInputError:
    message = f"Series {series_uid(frames)}: b = 0 and a higher b-value are needed; {what}"
    return DiffusionInputError(message, code=code, advice=_ADVICE)


def _group_by_shell(frames: Sequence[Frame]) -> dict[float, list[Frame]]:
    """Frames by b-value; values within 5 % of each other are one shell, named by its commonest value."""
    groups: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: frame.b_value or 0.0):
        b = frame.b_value or 0.0
        start = (groups[-1][0].b_value or 0.0) if groups else -1.0
        same = b < B_ZERO_BELOW if start < B_ZERO_BELOW else b <= start * (1 + _SAME_SHELL)
        if groups and start >= 0 and same:
            groups[-1].append(frame)
        else:
            groups.append([frame])
    named = {}
    for group in groups:
        b = Counter(frame.b_value or 0.0 for frame in group).most_common(1)[0][0]
        named[0.0 if b < B_ZERO_BELOW else b] = group
    return named


def is_isotropic(frame: Frame) -> bool:
    """Whether a frame of b > 0 is marked as a scanner's trace-weighted image."""
    words = {value.upper() for value in frame.image_type}
    if frame.directionality == "ISOTROPIC" or words & {"TRACEW", "TRACE", "ISO", "ISOTROPIC", "COMBINED"}:
        return True
    return frame.directionality != "DIRECTIONAL" and bool(frame.gradient) and not any(frame.gradient)


def _has_direction(frame: Frame) -> bool:
    return any(frame.gradient) and not is_isotropic(frame)


def _kinds(group: Sequence[Frame]) -> dict[str, list[Frame]]:
    """The frames of one shell, apart by what they are: b0, trace or directions."""
    if (group[0].b_value or 0.0) < B_ZERO_BELOW:
        return {"b0": list(group)}
    directional = [frame for frame in group if _has_direction(frame)]
    isotropic = [frame for frame in group if is_isotropic(frame)]
    silent = [frame for frame in group if not _has_direction(frame) and not is_isotropic(frame)]
    if directional or isotropic:
        # A volume without a direction beside others with one is the isotropic one (GE, Canon, Siemens).
        isotropic = isotropic + silent
    elif _most_at_one_position(silent) < _FEWEST_DIRECTIONS:
        isotropic = silent
    else:  # nothing tells the volumes apart: directions whose gradients were taken out
        directional = silent
    found = {"trace": isotropic, "directions": directional}
    return {kind: frames for kind, frames in found.items() if frames}


def _common_kind(kinds: Sequence[dict[str, list[Frame]]]) -> str:
    """The kind that most shells have, the trace in a draw."""
    counts = Counter(kind for found in kinds for kind in found)
    return max(("trace", "directions"), key=lambda kind: counts[kind])


def _places(frames: Sequence[Frame]) -> dict[tuple[int, ...], list[Frame]]:
    """Frames by where they lie across the planes, in steps of 0.1 mm, and by series grid."""
    places: dict[tuple[int, ...], list[Frame]] = defaultdict(list)
    normals: dict[tuple[float, ...], Any] = {}
    for frame in frames:
        if not frame.orientation or not frame.position:
            places[()].append(frame)
            continue
        normal = normals.setdefault(frame.orientation, normal_of(frame.orientation))
        places[(round(float(np.dot(frame.position, normal)) * 10),)].append(frame)
    return places


def _most_at_one_position(frames: Sequence[Frame]) -> int:
    return max((len(found) for found in _places(frames).values()), default=0)


def _volumes(frames: Sequence[Frame], notes: list[str], b: float) -> tuple[Stack, ...]:
    """Cut the frames of one shell into volumes; incomplete ones are left out where complete ones exist."""
    stacks: list[Stack] = []
    refusals: list[InputError] = []
    for group in _split(frames):
        try:
            stacks.append(stack_frames(group))
        except InputError as error:
            refusals.append(error)
    if not stacks:
        raise refusals[0]
    deepest = max(stack.size[2] for stack in stacks)
    whole = [stack for stack in stacks if stack.size[2] == deepest]
    kept = [stack for stack in whole if stack.same_grid(whole[0])]
    left_out = len(refusals) + len(stacks) - len(kept)
    if left_out:
        notes.append(f"b = {b:g}: {left_out} incomplete or displaced volumes left out")
    return tuple(kept)


def _split(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames of one shell into volumes: by series, object, direction and repeat, else by order of acquisition."""
    by_key: dict[tuple[Any, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        direction = tuple(round(axis, 3) for axis in frame.gradient)
        holder = frame.sop_instance_uid if frame.tile is not None else ""
        by_key[text(frame.header, "SeriesInstanceUID"), holder, direction].append(frame)
    volumes: list[list[Frame]] = []
    for group in by_key.values():
        places = list(_places(group).values())
        deepest = max(len(place) for place in places)
        if deepest == 1:
            volumes.append(group)
            continue
        ordered = [sorted(place, key=_acquisition_order) for place in places]
        volumes.extend([place[at] for place in ordered if at < len(place)] for at in range(deepest))
    return volumes


def _acquisition_order(frame: Frame) -> tuple[float, float, float, int, int]:
    return (
        float(frame.repeat or 0),
        float(frame.acquisition_number or 0),
        frame.acquired_s or 0.0,
        frame.instance_number,
        frame.frame_number or 0,
    )


def _philips_factors(frames: Sequence[Frame], reference: Frame) -> Grid:
    """What brings the values of a Philips volume to the scale of `reference`, (frame, 1, 1); ones elsewhere.

    Philips scales every series, and at times every image, for display; b-values in separate series are
    comparable only as (SV RS + RI) / (RS SS), with its private Scale Slope SS.
    """
    if vendor_of(reference.header) != "philips":
        return np.ones((1, 1, 1), dtype=np.float32)
    scales = [philips_scale(frame.header, frame.frame_number) for frame in (reference, *frames)]
    if None in scales:  # taken out with the private tags: the rescaled values are all there is
        return np.ones((1, 1, 1), dtype=np.float32)
    slopes = [frame.slope * (scale or 1.0) for frame, scale in zip((reference, *frames), scales, strict=True)]
    factors = np.array([slopes[0] / slope if slope else 1.0 for slope in slopes[1:]], dtype=np.float32)
    return factors[:, np.newaxis, np.newaxis]


def _combine(shell: Shell, reference: Frame) -> sitk.Image:
    """One image of a shell: the arithmetic mean of b = 0 and trace repeats, the geometric mean of directions."""
    geometric = shell.kind == "directions"
    total: tuple[sitk.Image, Grid] | None = None
    for stack in shell.stacks:
        image, planes = read_stack(stack)
        planes *= _philips_factors(stack.frames, reference)
        if geometric:  # log of the signal is linear in direction; a zero stays a zero
            np.log(np.maximum(planes, np.float32(1e-20), out=planes), out=planes)
        if total is None:
            total = image, planes
        else:
            np.add(total[1], planes, out=total[1])
    if total is None:
        raise DiffusionInputError("A b-value without a volume.", code="NO_IMAGES")
    mean, voxels = total
    voxels /= np.float32(len(shell.stacks))
    if geometric:
        np.exp(voxels, out=voxels)
    return mean
