"""Vessels that everybody has: control points in MNI space, drawn for a patient and snapped to the head.

Places are from the atlases of Huang and Wolf (Radiology 1964, cerebral veins), Salamon and Huang (1976, arteries)
and what the ICBM template shows. A trunk is a cubic through jittered control points. It then relaxes, as an active
contour does (Kass, Witkin and Terzopoulos, Int J Comput Vis 1988): towards its habitat, and towards a smooth course.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from simulation.vasculature.painting import Tubes
from simulation.vasculature.terrain import Points, Terrain, at, gradient, onto_level

Kind = Literal["artery", "vein", "sinus"]
Habitat = Literal[
    "skull", "midline skull", "tentorium skull", "midline tentorium", "midline", "ventricle", "fluid", "free"
]


@dataclass(frozen=True)
class Trunk:
    """One named vessel.

    Attributes
    ----------
    points : MNI, mm
        Upstream end of an artery first; veins and sinuses end where they drain.
    radius_mm
        At both ends.
    habitat
        What it is snapped to.
    paired
        Drawn on both sides.
    share : 0..1
        Of people, per side, who show it.
    parent
        Cortical branches grow from it.
    """

    name: str
    kind: Kind
    points: tuple[tuple[float, float, float], ...]
    radius_mm: tuple[float, float]
    habitat: Habitat = "free"
    paired: bool = True
    share: float = 1.0
    parent: bool = False


TRUNKS = (
    Trunk("superior sagittal sinus", "sinus", ((0, 74, 8), (0, 68, 38), (0, 46, 62), (0, 14, 80), (0, -22, 86),
          (0, -56, 80), (0, -86, 52), (0, -106, 16), (0, -105, -6), (0, -99, -27)), (1.4, 4.2), "midline skull", False,
          parent=True),
    Trunk("transverse sinus", "sinus", ((0, -99, -27), (24, -93, -30), (44, -78, -34), (56, -58, -37)), (3.8, 3.6),
          "tentorium skull", parent=True),
    Trunk("sigmoid sinus", "sinus", ((56, -58, -37), (50, -46, -46), (40, -42, -62), (34, -38, -70)), (3.5, 3.4),
          "skull"),
    Trunk("straight sinus", "sinus", ((0, -41, 4), (0, -60, -6), (0, -79, -19), (0, -97, -27)), (1.8, 2.6),
          "midline tentorium", False, parent=True),
    Trunk("inferior sagittal sinus", "sinus", ((0, 28, 26), (0, 8, 36), (0, -20, 34), (0, -41, 8)), (0.4, 0.9),
          "midline", False, 0.8),
    Trunk("cavernous sinus", "sinus", ((11, 10, -30), (12, 0, -30), (12, -10, -31)), (2.8, 3.2)),
    Trunk("sphenoparietal sinus", "sinus", ((44, 12, -18), (34, 17, -20), (22, 14, -24), (13, 8, -28)), (0.8, 1.3),
          share=0.7, parent=True),
    Trunk("superior petrosal sinus", "sinus", ((13, -10, -31), (28, -26, -32), (42, -42, -35), (53, -54, -38)),
          (0.8, 1.3), share=0.8, parent=True),
    Trunk("inferior petrosal sinus", "sinus", ((12, -10, -31), (14, -22, -42), (22, -36, -56), (34, -38, -66)),
          (1.0, 1.4)),
    Trunk("vein of Galen", "vein", ((0, -33, 8), (0, -38, 9), (0, -41, 4)), (1.4, 2.0), "midline", False, parent=True),
    Trunk("internal cerebral vein", "vein", ((3, 0, 14), (2, -18, 13), (2, -30, 9), (0, -35, 8)), (0.7, 1.2)),
    Trunk("thalamostriate vein", "vein", ((26, -26, 18), (22, -12, 22), (16, -2, 20), (8, 2, 16), (3, 0, 14)),
          (0.35, 0.8), "ventricle"),
    Trunk("septal vein", "vein", ((3, 24, 8), (4, 12, 15), (3, 0, 14)), (0.3, 0.6), "ventricle", share=0.8),
    Trunk("direct lateral vein", "vein", ((26, -34, 18), (14, -26, 20), (3, -20, 14)), (0.3, 0.5), "ventricle",
          share=0.6),
    Trunk("basal vein", "vein", ((17, -4, -17), (20, -20, -12), (14, -34, -2), (1, -40, 5)), (0.6, 1.1), "fluid",
          parent=True),
    Trunk("vein of Labbe", "vein", ((50, -14, 0), (58, -30, 0), (60, -46, -10), (55, -62, -30)), (0.7, 1.6), "skull",
          share=0.8, parent=True),
    Trunk("vein of Trolard", "vein", ((50, -6, 12), (55, -14, 34), (44, -24, 56), (24, -32, 76), (3, -38, 85)),
          (0.7, 1.7), "skull", share=0.75, parent=True),
    Trunk("superficial middle cerebral vein", "vein", ((58, -34, 20), (58, -16, 12), (52, 2, 2), (42, 14, -12),
          (30, 14, -22)), (0.7, 1.6), "fluid", share=0.85, parent=True),
    Trunk("precentral cerebellar vein", "vein", ((0, -46, -18), (0, -44, -6), (0, -41, 2)), (0.4, 0.8), "fluid", False,
          parent=True),
    Trunk("anterior pontomesencephalic vein", "vein", ((0, -18, -44), (0, -16, -30), (4, -14, -16), (17, -10, -15)),
          (0.3, 0.5), "fluid", share=0.6),
    Trunk("petrosal vein", "vein", ((10, -34, -44), (20, -34, -38), (26, -32, -33)), (0.5, 0.8), "fluid", share=0.8,
          parent=True),
    Trunk("internal carotid", "artery", ((24, -30, -66), (25, -24, -52), (17, -10, -44), (13, -11, -34), (12, 4, -31),
          (13, 8, -25), (11, 2, -21), (13, 0, -15)), (2.3, 1.8)),
    Trunk("middle cerebral", "artery", ((13, 0, -15), (24, 2, -17), (35, 4, -16), (40, 0, -8)), (1.4, 1.1), "fluid",
          parent=True),
    Trunk("middle cerebral, inferior trunk", "artery", ((38, 3, -12), (41, -8, 0), (41, -22, 10), (46, -36, 14),
          (54, -44, 12)), (1.0, 0.5), "fluid", parent=True),
    Trunk("middle cerebral, superior trunk", "artery", ((38, 3, -12), (39, 12, 0), (42, 16, 10), (52, 14, 18)),
          (1.0, 0.5), "fluid", parent=True),
    Trunk("middle cerebral, central branch", "artery", ((40, 0, -6), (40, -4, 8), (46, -6, 16), (57, -6, 26)),
          (0.8, 0.4), "fluid", share=0.9, parent=True),
    Trunk("anterior cerebral", "artery", ((13, 0, -15), (6, 8, -16), (2, 18, -13), (2, 32, -4), (2, 39, 8), (2, 30, 27),
          (2, 6, 37), (2, -20, 38), (3, -40, 34)), (1.1, 0.5), "fluid", parent=True),
    Trunk("callosomarginal", "artery", ((2, 36, -1), (3, 48, 16), (3, 40, 36), (3, 18, 48), (3, -6, 52)), (0.7, 0.4),
          "fluid", share=0.8, parent=True),
    Trunk("anterior communicating", "artery", ((-4, 11, -16), (0, 12, -16), (4, 11, -16)), (0.7, 0.7), paired=False,
          share=0.9),
    Trunk("posterior communicating", "artery", ((13, -1, -16), (12, -8, -17), (9, -14, -19)), (0.5, 0.6), share=0.7),
    Trunk("anterior choroidal", "artery", ((13, -2, -15), (18, -10, -15), (24, -22, -10)), (0.4, 0.3), "fluid",
          share=0.8),
    Trunk("vertebral", "artery", ((12, -34, -80), (9, -26, -70), (6, -21, -60), (0, -17, -50)), (1.6, 1.5), "fluid"),
    Trunk("basilar", "artery", ((0, -17, -50), (0, -13, -36), (0, -12, -24)), (1.7, 1.5), "fluid", False),
    Trunk("posterior cerebral", "artery", ((0, -12, -24), (10, -14, -19), (20, -28, -11), (20, -46, -3), (16, -64, 2),
          (10, -82, 4)), (1.2, 0.5), "fluid", parent=True),
    Trunk("superior cerebellar", "artery", ((0, -12, -26), (12, -18, -24), (18, -34, -20), (12, -50, -14)), (0.8, 0.4),
          "fluid", parent=True),
    Trunk("anterior inferior cerebellar", "artery", ((0, -15, -40), (12, -22, -40), (24, -34, -42), (32, -44, -48)),
          (0.6, 0.4), "fluid", share=0.9, parent=True),
    Trunk("posterior inferior cerebellar", "artery", ((7, -24, -64), (12, -36, -62), (8, -46, -56), (10, -60, -60)),
          (0.7, 0.4), "fluid", share=0.85, parent=True),
)  # fmt: skip


#: Vessels that leave the head, and how far others are led on to the next vessel.
_OPEN = ("sigmoid sinus", "internal carotid", "vertebral")
_JOIN_MM = 14.0
_SEEN_ARTERIES = ("internal carotid", "vertebral", "basilar")


@dataclass(frozen=True)
class Course:
    """A trunk in one head: voxels from end to end and radius in mm."""

    trunk: Trunk
    side: int
    line: Points
    radius: NDArray[np.float64]


def polyline(points: NDArray[np.floating], step_mm: float = 0.6) -> Points:
    """Resample control points by a cubic to about this step."""
    length = np.r_[0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-6)]
    where = np.linspace(0, length[-1], max(int(length[-1] / step_mm), 2))
    return np.asarray(CubicSpline(length, points)(where))


def draw_courses(rng: np.random.Generator, terrain: Terrain, calibre: float, jitter_mm: float) -> list[Course]:
    """All trunks of one patient; one transverse and sigmoid sinus is usually larger."""
    dominance = float(rng.uniform(-0.65, 0.65))
    result = []
    for trunk in TRUNKS:
        for side in (1, -1) if trunk.paired else (1,):
            shown = rng.random() < trunk.share
            control = np.array(trunk.points, float) * (side, 1, 1)
            jitter = rng.normal(0, jitter_mm, control.shape)
            thickness = calibre * float(np.exp(rng.normal(0, 0.15)))
            if trunk.name in ("transverse sinus", "sigmoid sinus"):
                thickness *= 1 + side * dominance * (0.4 if side * dominance > 0 else 1.0)
            if shown:
                # The ends stay, where vessels meet.
                jitter[[0, -1]] *= 0.3
                if not trunk.paired:
                    jitter[:, 0] *= 0.3
                line = terrain.place(polyline(control + jitter))
                radius = np.linspace(*trunk.radius_mm, len(line)) * max(thickness, 0.3)
                line = _snap(line, radius, trunk.habitat, terrain)
                result.append(Course(trunk, side, _to_seen(line, trunk, terrain), radius))
    return [_joined(course, result) for course in result]


def _joined(course: Course, courses: list[Course]) -> Course:
    """A course whose open end (where it drains, or an artery's beginning) reaches the nearest other vessel."""
    artery = course.trunk.kind == "artery"
    others = [c.line for c in courses if c is not course and (c.trunk.kind == "artery") == artery]
    end = course.line[0 if artery else -1]
    if not others or course.trunk.name in _OPEN:
        return course
    points = np.concatenate(others)
    goal = points[np.argmin(((points - end) ** 2).sum(1))]
    gap = float(np.linalg.norm(goal - end))
    if not 0.5 < gap < _JOIN_MM:
        return course
    bridge = end + np.linspace(0, 1, int(gap / 0.6) + 2)[1:, None] * (goal - end)
    width = np.full(len(bridge), course.radius[0 if artery else -1])
    if artery:
        return replace(
            course, line=np.concatenate([bridge[::-1], course.line]), radius=np.concatenate([width, course.radius])
        )
    return replace(course, line=np.concatenate([course.line, bridge]), radius=np.concatenate([course.radius, width]))


def _to_seen(line: Points, trunk: Trunk, terrain: Terrain) -> Points:
    """Move a line into the large vessels that the head's label map shows near it."""
    seen = terrain.seen.get(trunk.kind) if trunk.kind == "sinus" or trunk.name in _SEEN_ARTERIES else None
    if seen is None:
        return line
    for _ in range(3):
        gap, index = seen.query(line, k=16, distance_upper_bound=6.0)
        near = np.isfinite(gap).all(axis=1)
        line[near] += 0.6 * (seen.data[index[near]].mean(axis=1) - line[near])
        for _ in range(4):
            line = smooth(line)
    return line


def _snap(line: Points, radius: NDArray[np.float64], habitat: Habitat, terrain: Terrain) -> Points:
    """Relax a line into its habitat; `free` ones stay."""
    if habitat == "free":
        return line
    for _ in range(10):
        if habitat == "fluid":
            line = line + np.clip(4 * gradient(lambda points: at(terrain.fluid, points), line), -0.7, 0.7)
        if habitat == "ventricle":
            line = onto_level(terrain.wall, line, 0.3, 0.5)
        if "midline" in habitat:
            line = onto_level(terrain.side, line, 0.0)
        if "tentorium" in habitat:
            line = onto_level(terrain.roof, line, 0.0, 0.7)
        if "skull" in habitat:
            line = onto_level(terrain.skull, line, -0.6 * radius, 0.7)
        line = smooth(line)
    return line


def smooth(line: Points, weight: float = 0.5) -> Points:
    """Move each point of a line towards the middle of its neighbours; the ends stay."""
    out = line.copy()
    out[1:-1] += weight * ((line[:-2] + line[2:]) / 2 - line[1:-1])
    return out


def tubes_of(course: Course, terrain: Terrain) -> Tubes:
    """The balls of one trunk: a triangle for the sagittal sinus, a flattened tube for the other large sinuses."""
    line, radius = course.line, course.radius
    if course.trunk.habitat not in ("midline skull", "tentorium skull"):
        return Tubes(line, radius)
    normal = _unit(gradient(terrain.skull, line, 2.0))
    along = _unit(np.gradient(line, axis=0))
    across = _unit(np.cross(normal, along))
    width = radius[:, None]
    if course.trunk.habitat == "midline skull":
        parts = [(0.25 * width * normal, 0.62), (0.55 * width * across, 0.5), (-0.55 * width * across, 0.5),
                 (-0.55 * width * normal, 0.5), (-1.1 * width * normal, 0.32)]  # fmt: skip
    else:
        parts = [(0 * width * normal, 0.75), (0.45 * width * across, 0.55), (-0.45 * width * across, 0.55)]
    return Tubes(np.concatenate([line + shift for shift, _ in parts]), np.concatenate([radius * k for _, k in parts]))


def _unit(vectors: Points) -> Points:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))


def in_fluid(course: Course, terrain: Terrain) -> float:
    """Mean fraction of fluid along a course (for tests and tuning)."""
    return float(at(terrain.fluid, course.line).mean())
