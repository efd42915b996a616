"""How well registration finds a head that turned and moved between series: simulated, thus with a known truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.imaging.registration.register import FixedSeries, Registration, compose, register_rigid
from enhancement.imaging.registration.similarity import mask_points
from simulation.grids import Grid, Plane, make_grid
from simulation.scene import Scene, render, render_truth, simulate_study_scene

FIRST_SEED = 710_000
LARGEST_TURN_DEGREES, LARGEST_SHIFT_MM = 30.0, 60.0
_CASES_A_SCENE = 10
_ROLES: tuple[Literal["t1", "flair", "b0"], ...] = ("t1", "flair", "b0")
_CENTER_MM = np.array([0.0, 10.0, 5.0])  # of the brain in the scene
_BOX_MM = (230.0, 240.0, 190.0)


@dataclass(frozen=True)
class Setting:
    """What one case is made of; all of it is drawn from the seed."""

    number: int
    scene_seed: int
    role: Literal["t1", "flair", "b0"]
    plane: Plane
    spacing_mm: tuple[float, float, float]
    turn_degrees: float
    shift_mm: float
    on_side: bool
    cut_mm: float
    noise: float


@dataclass(frozen=True)
class Outcome:
    """Error over the brain, and what the gate sees."""

    setting: Setting
    mean_error_mm: float
    largest_error_mm: float
    information: float
    chance: float
    seconds: float

    @property
    def ratio(self) -> float:
        """The gate's measure of agreement."""
        return self.information / max(self.chance, 1e-6)

    def to_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self) | {"ratio": self.ratio}


def draw_settings(cases: int) -> Iterator[Setting]:
    """Every third case is T1, FLAIR, b0; half are thick 2D slices; a fifth lie on the side; a third are cut."""
    for number in range(cases):
        rng = np.random.default_rng([FIRST_SEED, number])
        role = _ROLES[number % 3]
        thick = role == "b0" or rng.random() < 0.4
        in_plane = rng.uniform(1.7, 2.2) if role == "b0" else rng.uniform(0.8, 1.1)
        spacing = (in_plane, in_plane, rng.uniform(3.0, 5.5)) if thick else tuple(rng.uniform(0.9, 1.2, 3))
        plane: Plane = "axial" if role == "b0" else rng.choice(["axial", "sagittal", "coronal"])
        yield Setting(
            number=number,
            scene_seed=FIRST_SEED + number // _CASES_A_SCENE,
            role=role,
            plane=plane,
            spacing_mm=tuple(float(s) for s in spacing),  # type: ignore[arg-type]
            turn_degrees=float(rng.uniform(0, LARGEST_TURN_DEGREES)),
            shift_mm=float(rng.uniform(0, LARGEST_SHIFT_MM)),
            on_side=(number // _CASES_A_SCENE) % 5 == 4,
            cut_mm=float(rng.choice([0.0, 0.0, 30.0])),
            noise=float(rng.uniform(0.02, 0.06)),
        )


def run(cases: int, report: Callable[[str], None] | None = None) -> Iterator[Outcome]:
    """Register every case."""
    fixed: tuple[int, Scene, sitk.Image, sitk.Image, sitk.Transform] | None = None
    for setting in draw_settings(cases):
        if fixed is None or fixed[0] != setting.scene_seed:
            fixed = _fixed(setting)
        _, scene, t1c, brain, pose = fixed
        outcome = _run_one(setting, scene, t1c, brain, pose)
        if report is not None:
            report(
                f"{setting.number} {setting.role} turned {setting.turn_degrees:.0f} deg,"
                f" shifted {setting.shift_mm:.0f} mm:"
                f" mean {outcome.mean_error_mm:.2f} mm, largest {outcome.largest_error_mm:.2f} mm,"
                f" {outcome.ratio:.1f} x chance, {outcome.seconds:.0f} s"
            )
        yield outcome


def rigid(turn: NDArray[np.floating], shift: NDArray[np.floating]) -> sitk.Euler3DTransform:
    """Rotation (radians about L, P, S) about the brain's centre, then a shift in mm."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter(_CENTER_MM.tolist())
    transform.SetRotation(*(float(angle) for angle in turn))
    transform.SetTranslation([float(value) for value in shift])
    return transform


def view(plane: Plane, spacing_mm: tuple[float, float, float], pose: sitk.Transform, cut_mm: float = 0.0) -> Grid:
    """A grid around the head where it lies; `cut_mm` is missing at the top."""
    center = np.array(pose.TransformPoint(_CENTER_MM.tolist())) - [0.0, 0.0, 10.0 + cut_mm / 2]
    box = (_BOX_MM[0], _BOX_MM[1], _BOX_MM[2] - cut_mm)
    return make_grid(plane, spacing_mm, box, center_mm=center.tolist())


def _fixed(setting: Setting) -> tuple[int, Scene, sitk.Image, sitk.Image, sitk.Transform]:
    scene = simulate_study_scene(setting.scene_seed)
    pose = rigid(np.array([0.0, 0.0, np.pi / 2 if setting.on_side else 0.0]), np.zeros(3))
    grid = view("axial", (1.0, 1.0, 1.2), pose).empty()
    t1c = render(scene, "t1c", grid, motion=pose)
    brain = sitk.Cast(render_truth(scene, "brain", grid, motion=pose) > 0.5, sitk.sitkUInt8)
    return setting.scene_seed, scene, t1c, brain, pose


def _run_one(setting: Setting, scene: Scene, t1c: sitk.Image, brain: sitk.Image, pose: sitk.Transform) -> Outcome:
    from simulation.scene import Imperfection

    rng = np.random.default_rng([FIRST_SEED, setting.number, 1])
    axis, direction = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    move = rigid(np.zeros(3), direction * setting.shift_mm)
    versor = sitk.VersorRigid3DTransform()
    versor.SetRotation(axis.tolist(), float(np.radians(setting.turn_degrees)))
    move.SetMatrix(versor.GetMatrix())
    moved_pose = compose(pose, move)
    grid = view(setting.plane, setting.spacing_mm, moved_pose, setting.cut_mm).empty()
    quality = Imperfection(noise=setting.noise, bias_sd=0.15)
    moving = render(scene, setting.role, grid, motion=moved_pose, imperfection=quality, salt=setting.number)
    began = time.process_time()
    found = register_rigid(FixedSeries(t1c, brain), moving)
    seconds = time.process_time() - began
    errors = errors_mm(found, move, brain)
    return Outcome(setting, float(errors.mean()), float(errors.max()), found.information, found.chance, seconds)


def errors_mm(found: Registration, truth: sitk.Transform, brain: sitk.Image) -> NDArray[np.float64]:
    """Distance between where a transform takes points of the brain and where they are, on a 6 mm lattice."""
    points = mask_points(brain, 6.0).tolist()
    taken = np.array([found.transform.TransformPoint(point) for point in points])
    real = np.array([truth.TransformPoint(point) for point in points])
    return np.asarray(np.linalg.norm(taken - real, axis=1))
