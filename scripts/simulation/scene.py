"""A whole simulated examination: one head in the room, rendered onto any series grid.

For writing DICOM studies::

    scene = simulate_study_scene(seed=7)
    reference = sitk.Image(size, sitk.sitkFloat32)      # origin, spacing, direction of the series
    image = render(scene, "t1c", reference)             # noisy, with its own receive field
    clean = render(scene, "t1c", reference, clean=True) # the same without noise, receive field and ghosts
    adc = render_truth(scene, "adc", reference)         # mm2/s; also "concentration", "brain", "labels"

Geometry is LPS in mm. The isocentre (0, 0, 0) lies near the anterior commissure; the head spans about
+-100 mm left-right, 140 mm behind to 110 mm before and 118 mm below to 102 mm above it. The reference
may lie anywhere, be oblique and anisotropic; where it leaves the head the image is air. A slice is
averaged over its thickness. ``motion`` is the head's movement in that series: a point p of the scene
is found at motion(p).

The same scene, name, reference and options give the same bytes.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.arrays import Volume
from simulation.anatomy import Anatomy
from simulation.fields import bias_field, smooth_noise, stream
from simulation.frames import HEAD_ORIGIN_MNI, HEAD_SHAPE, OFFSET
from simulation.frames import window as _window
from simulation.head_tissues import BLOOD, outer_of_labels
from simulation.label_maps import HeadChoice, load_head
from simulation.layers import Model, adc_map, concentration_map, label_map
from simulation.layers import render as render_model
from simulation.lesion_shapes import LesionDraw
from simulation.outer_head import Outer, build_outer, coordinates, draw_head, hull_distance, signed_distance
from simulation.patient import PatientConfig, anatomy_of, build_model, transmit_field
from simulation.physics import Sequence, signal
from simulation.protocols import Protocol, draw_protocol

SeriesName = Literal["t1", "t1c", "t1c_low", "flair", "b0", "b1000", "t2"]
Truth = Literal["adc", "concentration", "brain", "labels", "white_matter"]

_OUTER_TISSUE: dict[int, str] = {
    Outer.CSF: "csf", Outer.DURA: "dura", Outer.BONE: "bone", Outer.MARROW: "marrow", Outer.MUSCLE: "muscle",
    Outer.FAT: "fat", Outer.SKIN: "scalp", Outer.VITREOUS: "vitreous", Outer.MUCOSA: "plexus", Outer.CORD: "wm",
    Outer.GLAND: "pituitary", BLOOD: "blood",
}  # fmt: skip
# Share of the plasma concentration that the tissue takes up.
_OUTER_UPTAKE: dict[int, float] = {
    Outer.MUCOSA: 0.5, Outer.GLAND: 0.4, Outer.MUSCLE: 0.08, Outer.SKIN: 0.12, Outer.DURA: 0.25, Outer.MARROW: 0.06,
    Outer.CORD: 0.01, BLOOD: 0.58,
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """A head without a scanner.

    Attributes
    ----------
    model
        Brain, vessels and lesions on the network's grid.
    outer : (z, y, x) uint8
        Classes of `simulation.outer_head.Outer` on the head grid, and `simulation.head_tissues.BLOOD`.
    texture : (z, y, x)
        Relative signal of the soft tissues around 1.
    """

    seed: int
    model: Model
    lesions: tuple[LesionDraw, ...]
    protocol: Protocol
    b1: Volume
    outer: NDArray[np.uint8]
    texture: Volume
    plasma_mm: float
    facts: dict[str, Any] = field(default_factory=dict)


def simulate_study_scene(seed: int, *, config: PatientConfig | None = None, protocol: Protocol | None = None) -> Scene:
    """Build one head; ``config`` chooses its lesions, ``protocol`` its sequences (drawn if not given)."""
    config = config or PatientConfig()
    protocol = protocol or draw_protocol(stream(seed, "protocol"))
    model, lesions, facts = build_model(seed, config, protocol)
    choice = anatomy_of(seed, config).head
    outer = _drawn_outer(seed, model.anatomy) if choice is None else _real_outer(seed, model.anatomy, choice)
    texture = 1 + np.float32(0.06) * smooth_noise(stream(seed, "texture"), HEAD_SHAPE, 8)
    b1 = transmit_field(stream(seed, "series"), protocol.field_t)
    return Scene(seed, model, tuple(lesions), protocol, b1, outer, texture, facts["plasma_mm"], facts)


def _real_outer(seed: int, anatomy: Anatomy, choice: HeadChoice) -> NDArray[np.uint8]:
    """What lies around the brain of a real head, deformed as its brain is."""
    labels = anatomy.deformation.sample_labels(load_head(choice).labels, OFFSET, whole=True)
    cavity = np.full(HEAD_SHAPE, 30, np.float32)
    if anatomy.cavity is not None:
        cavity[_window()] = anatomy.cavity
    return outer_of_labels(draw_head(stream(seed, "head")), labels, cavity, 1.0, dura_mm=0.0)


def _drawn_outer(seed: int, anatomy: Anatomy) -> NDArray[np.uint8]:
    """What lies around the ICBM average: shapes in their places."""
    coarse = (HEAD_SHAPE[0] // 2, HEAD_SHAPE[1] // 2, HEAD_SHAPE[2] // 2)
    brain = np.zeros(HEAD_SHAPE, bool)
    brain[_window()] = anatomy.brain
    hull = hull_distance(signed_distance(brain[::2, ::2, ::2], 2.0), 2.0)
    distance = signed_distance(brain, 1.0)
    at = coordinates(HEAD_ORIGIN_MNI, HEAD_SHAPE, 1.0)
    return build_outer(draw_head(stream(seed, "head")), at, distance, _double(hull, coarse))


def _double(volume: Volume, shape: tuple[int, int, int]) -> Volume:
    """Linear upsampling by 2 of every second voxel."""
    out = volume
    for axis in range(3):
        after = np.concatenate([np.delete(out, 0, axis), np.take(out, [-1], axis)], axis)
        pairs = np.stack([out, (out + after) / 2], axis + 1)
        out = pairs.reshape([*out.shape[:axis], 2 * shape[axis], *out.shape[axis + 1 :]])
    return np.asarray(out, np.float32)


def sequence_of(scene: Scene, name: SeriesName) -> tuple[Sequence, float]:
    """The sequence and dose multiple of a named series."""
    protocol = scene.protocol
    table: dict[str, tuple[Sequence, float]] = {
        "t1": (protocol.t1, 0.0),
        "t1c": (protocol.t1c, 1.0),
        "t1c_low": (protocol.t1c, 0.25),
        "flair": (protocol.flair, 0.0),
        "b0": (protocol.b0, 0.0),
        "b1000": (protocol.dwi, 0.0),
        "t2": (Sequence("se", 5000.0, 95.0), 0.0),
    }
    return table[name]


def scene_signal(scene: Scene, sequence: Sequence, dose: float) -> Volume:
    """Signal of the whole head at 1 mm: signals of the classes outside, the full model inside."""
    tissues = scene.model.tissues
    lut = np.zeros(256, np.float32)
    for kind, name in _OUTER_TISSUE.items():
        uptake = dose * scene.plasma_mm * _OUTER_UPTAKE.get(kind, 0.0)
        lut[kind] = signal(sequence, tissues[name], agent=scene.model.agent, concentration_mm=uptake)
    if sequence.kind == "dwi":
        lut[[Outer.FAT, Outer.MARROW, Outer.SKIN]] *= 0.15  # fat saturation
    head = lut[scene.outer] * scene.texture
    window = _window()
    # A voxel of brain that the outer classes call INSIDE has no background: the model is all there is.
    head[window] = render_model(scene.model, sequence, dose=dose, b1=scene.b1, background=head[window])
    return head


def _image(array: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetOrigin((float(-HEAD_ORIGIN_MNI[0]), float(-HEAD_ORIGIN_MNI[1]), float(HEAD_ORIGIN_MNI[2])))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    return image


def _onto(image: sitk.Image, reference: sitk.Image, motion: sitk.Transform | None, interpolator: int) -> sitk.Image:
    """Resample with slices averaged over their thickness (the third axis, and any in-plane axis above 1.5 mm)."""
    inverse = sitk.Transform(3, sitk.sitkIdentity) if motion is None else motion.GetInverse()
    spacing = reference.GetSpacing()
    steps = [max(1, round(s)) if interpolator == sitk.sitkLinear else 1 for s in spacing]
    matrix = np.array(reference.GetDirection()).reshape(3, 3)
    total: NDArray[np.float32] | None = None
    for index in np.ndindex(*steps):
        shift = [((i + 0.5) / n - 0.5) * s for i, n, s in zip(index, steps, spacing, strict=True)]
        grid = sitk.Image(reference.GetSize(), sitk.sitkUInt8)
        grid.CopyInformation(reference)
        grid.SetOrigin(tuple(np.array(reference.GetOrigin()) + matrix @ np.array(shift)))
        part = sitk.GetArrayFromImage(sitk.Resample(image, grid, inverse, interpolator, 0.0, sitk.sitkFloat32))
        total = part if total is None else total + part
    assert total is not None
    result = sitk.GetImageFromArray(np.asarray(total / np.float32(np.prod(steps)), np.float32))
    result.CopyInformation(reference)
    return result


@dataclass(frozen=True)
class Imperfection:
    """What the scanner adds to a series: ``noise`` over the brain mean, which is ``mean`` grey values."""

    noise: float = 0.03
    bias_sd: float = 0.12
    ghost: float = 0.0
    mean: float = 400.0


def render(
    scene: Scene,
    name: SeriesName,
    reference: sitk.Image,
    *,
    motion: sitk.Transform | None = None,
    clean: bool = False,
    dose: float | None = None,
    imperfection: Imperfection | None = None,
    salt: int = 0,
) -> sitk.Image:
    """One series on the reference's grid.

    Parameters
    ----------
    name
        ``t1``, ``t1c``, ``t1c_low``, ``flair``, ``b0``, ``b1000`` or ``t2``.
    reference
        Geometry only.
    motion
        Rigid movement of the head in this series (LPS, mm).
    clean
        Without noise, receive field and ghosts (the grey scale stays).
    dose
        Multiple of the full dose instead of the series' own.
    salt
        Another number draws another noise and receive field.

    Returns
    -------
    sitk.Image
        float32, arbitrary units with the brain's mean at ``imperfection.mean``.
        Series of one examination with the same salt group (``b0`` and ``b1000``) share their scale and field.
    """
    imperfection = imperfection or Imperfection()
    sequence, own_dose = sequence_of(scene, name)
    head = scene_signal(scene, sequence, own_dose if dose is None else dose)
    base = _base_level(scene, name)
    image = _onto(_image(head), reference, motion, sitk.sitkLinear)
    array = sitk.GetArrayFromImage(image) * np.float32(imperfection.mean / base)
    if not clean:
        array = _imperfect(scene, name, array, imperfection, salt)
    result = sitk.GetImageFromArray(array)
    result.CopyInformation(reference)
    return result


def _base_level(scene: Scene, name: SeriesName) -> float:
    """Brain mean of the series' first member: b1000 keeps the scale of b0, or its ADC would be lost."""
    sequence, dose = sequence_of(scene, "b0" if name == "b1000" else name)
    volume = render_model(scene.model, sequence, dose=dose, b1=scene.b1)
    return max(float(volume[scene.model.anatomy.brain].mean()), 1e-9)


def _imperfect(scene: Scene, name: str, array: Volume, imperfection: Imperfection, salt: int) -> Volume:
    group = "dwi" if name in ("b0", "b1000") else name
    shape = (array.shape[0], array.shape[1], array.shape[2])
    field_rng = np.random.default_rng([scene.seed, salt, zlib.crc32(group.encode())])
    noise_rng = np.random.default_rng([scene.seed, salt, zlib.crc32(name.encode()), 1])
    out = array * bias_field(field_rng, shape, imperfection.bias_sd, 2)
    if imperfection.ghost > 0:
        out = np.abs(out + np.float32(imperfection.ghost) * np.roll(out, shape[1] // 5, 1))
    sigma = np.float32(imperfection.noise * imperfection.mean)
    real, imaginary = (noise_rng.standard_normal(shape, dtype=np.float32) * sigma for _ in range(2))
    return np.asarray(np.hypot(out + real, imaginary), np.float32)


def render_truth(
    scene: Scene, name: Truth, reference: sitk.Image, *, motion: sitk.Transform | None = None
) -> sitk.Image:
    """True ADC (mm2/s), concentration (mM), brain mask, pure white matter or lesion labels on the reference's grid."""
    window = _window()
    head = np.zeros(HEAD_SHAPE, np.float32)
    volumes: dict[str, Callable[[Model], NDArray[Any]]] = {
        "adc": adc_map,
        "concentration": concentration_map,
        "labels": label_map,
        "brain": lambda model: model.anatomy.brain,
        "white_matter": lambda model: (model.anatomy.wm > 0.95) & (label_map(model) == 0),
    }
    head[window] = volumes[name](scene.model)
    nearest = name in ("brain", "labels", "white_matter")
    return _onto(_image(head), reference, motion, sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear)
