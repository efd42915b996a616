"""A simulated tumour patient as a DICOM study with the truth beside it.

T1 and T1c are 3D spoiled gradient echo, FLAIR is 3D and cut in another plane, DWI is 2D with thick slices; every series
has its own grid and obliquity, and the patient lies a little differently in each. The frame of the truth is that of
the T1c.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.progress import Progress
from simulation.anatomy import build_anatomy
from simulation.dicom_writer import SeriesPlan, StudyPlan, write_study
from simulation.fields import stream
from simulation.frames import HEAD_ORIGIN_MNI, OFFSET
from simulation.grids import Grid, Plane, make_grid
from simulation.label_maps import Purpose
from simulation.lesion_shapes import LesionDraw
from simulation.lesions import ENHANCING_KINDS
from simulation.patient import PatientConfig, anatomy_of, draw_lesions
from simulation.physics import Sequence
from simulation.protocols import Protocol, draw_protocol
from simulation.scene import Imperfection, Scene, render, render_truth, sequence_of, simulate_study_scene
from simulation.vendors import Vendor

ORDER = ("T1", "FLAIR", "DWI", "T1C")
B_VALUES = (0.0, 1000.0)
LABEL_ENHANCING = 3
# LPS mm around the isocentre near the anterior commissure: left-right, front-back, foot-head.
HEAD_BOX_MM, HEAD_BOX_CENTER_MM = (204.0, 252.0, 190.0), (0.0, 14.0, 3.0)
DWI_BOX_MM, DWI_BOX_CENTER_MM = (220.0, 220.0, 156.0), (0.0, 18.0, 3.0)


@dataclass(frozen=True)
class StudySpec:
    """What to simulate.

    Parameters
    ----------
    plane : str
        Of T1 and T1c; FLAIR is cut sagittally (axially where T1c is sagittal), DWI axially.
    spacing_mm : (between columns, between rows, between slices)
        Of T1 and T1c.
    flair_spacing_mm, dwi_spacing_mm : likewise
    tilt_deg : about L, P, S
        Of the T1c; drawn from the seed if not given. The other series have tilts of their own.
    reversed_slices : bool
        Instance numbers count against the slice normal.
    noise_free : bool
        No noise, receive field or ghosts.
    still : bool
        The patient does not move between the series.
    slices : int, optional
        Number of T1c slices instead of what covers the head.
    least_lesion_mm, least_concentration_mm : mm, mM
        The patient drawn has an enhancing lesion at least so large and so strong.
    leave_out : tuple of str
        Series not to be written.
    anatomies : str
        Folder of real heads' label maps; empty: the ICBM average.
    heads : str
        Which of them may be drawn.
    """

    seed: int = 0
    vendor: Vendor = "ge"
    plane: Plane = "axial"
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    flair_spacing_mm: tuple[float, float, float] = (1.1, 1.1, 1.2)
    dwi_spacing_mm: tuple[float, float, float] = (1.8, 1.8, 4.0)
    tilt_deg: tuple[float, float, float] | None = None
    reversed_slices: bool = False
    noise_free: bool = False
    still: bool = False
    slices: int | None = None
    least_lesion_mm: float = 12.0
    least_concentration_mm: float = 0.15
    leave_out: tuple[str, ...] = ()
    anatomies: str = ""
    heads: Purpose = "training"

    def facts(self) -> dict[str, Any]:
        """What a reader of the study may know: no path, and nothing of anatomies where there are none."""
        told = asdict(self)
        return {k: v for k, v in told.items() if k != "anatomies" and (self.anatomies or k != "heads")}

    def coarse(self) -> StudySpec:
        """The same patient at about 2 mm: a sixth of the data, for tests."""
        return replace(
            self, spacing_mm=(2.0, 2.0, 2.5), flair_spacing_mm=(2.0, 2.0, 3.0), dwi_spacing_mm=(2.5, 2.5, 5.0)
        )


@dataclass(frozen=True)
class Simulated:
    """A study on disk and what is known of it."""

    files: list[Path]
    truth: Path
    facts: dict[str, Any]


def simulate(
    folder: Path, spec: StudySpec, report: Progress | None = None, *, drawn: tuple[int, Scene] | None = None
) -> Simulated:
    """Draw a patient, acquire every series, and write DICOM and truth.

    Parameters
    ----------
    folder : Path
        Gets one sub-folder per series and `truth/`: `labels`, `enhancing_lesion`, `white_matter`, `brain`,
        `concentration` (mM) on the T1c's grid, `adc` (mm^2/s) on that of the DWI, and `truth.json`.
    report : callable, optional
        Called with the stage and the fraction of the whole.
    drawn : (seed, scene), optional
        What `draw_patient` gave, to acquire one patient several times.

    Returns
    -------
    Simulated
    """
    say = report or (lambda _stage, _fraction: None)
    say("drawing a patient", 0.0)
    scene_seed, scene = drawn or draw_patient(spec)
    grids, motions = draw_grids(spec), draw_motions(spec)
    plans = []
    for index, role in enumerate(role for role in ORDER if role not in spec.leave_out):
        say(f"acquiring {role}", 0.4 + 0.1 * index)
        plans.append(_acquire(scene, role, grids[role], motions[role], spec))
    say("writing DICOM", 0.8)
    plan = StudyPlan(
        seed=spec.seed,
        vendor=spec.vendor,
        patient_id=f"SIM{spec.seed:06d}",
        accession_number=f"SIM{spec.seed:06d}",
        field_strength_t=scene.protocol.field_t,
        salt=json.dumps(spec.facts(), sort_keys=True),
    )
    files = write_study(folder, plan, plans)
    say("writing the truth", 0.9)
    facts = _facts(spec, scene_seed, scene, grids, motions, plan)
    truth = _write_truth(folder / "truth", scene, grids, motions, facts)
    say("done", 1.0)
    return Simulated(files, truth, facts)


def draw_patient(spec: StudySpec) -> tuple[int, Scene]:
    """The first patient of this seed with a lesion worth showing, in a spoiled-gradient-echo protocol."""
    config = PatientConfig(
        enhancing=1.0,
        kinds=(("glioma", 0.5), ("metastasis", 0.35), ("meningioma", 0.15)),
        same_t1c=False,
        anatomies=spec.anatomies,
        heads=spec.heads,
    )
    for attempt in range(64):
        scene_seed = spec.seed * 64 + attempt
        anatomy = build_anatomy(anatomy_of(scene_seed, config))
        if any(_worth_showing(lesion, spec) for lesion in draw_lesions(stream(scene_seed, "lesions"), anatomy, config)):
            break
    return scene_seed, simulate_study_scene(scene_seed, config=config, protocol=draw_spoiled_protocol(scene_seed))


def draw_spoiled_protocol(seed: int) -> Protocol:
    """T1 and T1c alike, by 3D spoiled gradient echo around the values of the paper's table."""
    rng = stream(seed, "study protocol")
    spoiled = Sequence(
        "spgr", float(rng.uniform(6.5, 9.5)), float(rng.uniform(2.2, 4.0)), flip_deg=float(rng.uniform(11, 16))
    )
    return replace(draw_protocol(rng), t1=spoiled, t1c=spoiled)


def draw_grids(spec: StudySpec) -> dict[str, Grid]:
    """One grid per series, each with its own tilt and offset."""
    rng = stream(spec.seed, "grids")
    drawn = {role: (rng.normal(0, (5, 2, 2)), rng.normal(0, 2, 3)) for role in ORDER}
    other: Plane = "axial" if spec.plane == "sagittal" else "sagittal"
    planes: dict[str, Plane] = {"T1": spec.plane, "T1C": spec.plane, "FLAIR": other, "DWI": "axial"}
    spacings = {"FLAIR": spec.flair_spacing_mm, "DWI": spec.dwi_spacing_mm}
    grids = {}
    for role in ORDER:
        tilt, offset = drawn[role]
        if spec.tilt_deg is not None and role in ("T1", "T1C"):
            tilt = np.array(spec.tilt_deg) + (0.0 if role == "T1C" else tilt / 4)
        box, center = (DWI_BOX_MM, DWI_BOX_CENTER_MM) if role == "DWI" else (HEAD_BOX_MM, HEAD_BOX_CENTER_MM)
        grids[role] = make_grid(
            planes[role],
            spacings.get(role, spec.spacing_mm),
            box,
            tilt_deg=[float(t) for t in tilt],
            center_mm=[float(c) for c in np.array(center) + offset],
            slices=spec.slices if role == "T1C" else None,
        )
    return grids


def draw_motions(spec: StudySpec) -> dict[str, sitk.Euler3DTransform]:
    """How the head moved before each series, relative to the T1c: degrees and millimetres."""
    rng = stream(spec.seed, "motion")
    motions = {}
    for role in ORDER:
        angles, shift = np.radians(rng.normal(0, 1.2, 3)), rng.normal(0, 1.5, 3)
        transform = sitk.Euler3DTransform()
        if role != "T1C" and not spec.still:
            transform.SetRotation(*(float(angle) for angle in angles))
            transform.SetTranslation([float(value) for value in shift])
        motions[role] = transform
    return motions


def lesion_center_mm(lesion: LesionDraw) -> NDArray[np.float64]:
    """LPS position of a lesion's centre in the scene, from its voxel on the network's grid."""
    z, y, x = (offset + at for offset, at in zip(OFFSET, lesion.centre, strict=True))
    head = np.array([x, y, z]) + np.array(HEAD_ORIGIN_MNI)
    return np.asarray(head * np.array([-1.0, -1.0, 1.0]))


def _worth_showing(lesion: LesionDraw, spec: StudySpec) -> bool:
    return (
        lesion.kind in ENHANCING_KINDS
        and lesion.diameter_mm >= spec.least_lesion_mm
        and lesion.concentration_mm >= spec.least_concentration_mm
    )


def _acquire(scene: Scene, role: str, grid: Grid, motion: sitk.Transform, spec: StudySpec) -> SeriesPlan:
    names: dict[str, tuple[Literal["t1", "t1c", "flair", "b0", "b1000"], ...]] = {
        "T1": ("t1",),
        "T1C": ("t1c",),
        "FLAIR": ("flair",),
        "DWI": ("b0", "b1000"),
    }
    quality = Imperfection(noise=0.02 if role == "DWI" else 0.03)
    volumes = tuple(
        render(scene, name, grid.empty(), motion=motion, clean=spec.noise_free, imperfection=quality)
        for name in names[role]
    )
    return SeriesPlan(
        role,
        volumes,
        B_VALUES if role == "DWI" else (),
        reversed_slices=spec.reversed_slices,
        protocol=_protocol(sequence_of(scene, names[role][0])[0]),
        two_d=role == "DWI",
    )


def _protocol(sequence: Sequence) -> dict[str, float]:
    keywords = {"RepetitionTime": sequence.tr_ms, "EchoTime": sequence.te_ms, "FlipAngle": sequence.flip_deg}
    if sequence.kind == "flair":
        keywords["InversionTime"] = sequence.ti_ms
    return {keyword: round(number, 2) for keyword, number in keywords.items()}


def _facts(
    spec: StudySpec,
    scene_seed: int,
    scene: Scene,
    grids: dict[str, Grid],
    motions: dict[str, sitk.Euler3DTransform],
    plan: StudyPlan,
) -> dict[str, Any]:
    """JSON-ready truth."""
    written = [role for role in ORDER if role not in spec.leave_out]
    return {
        "spec": spec.facts(),
        "scene_seed": scene_seed,
        "study_instance_uid": plan.study_instance_uid,
        "protocol": asdict(scene.protocol),
        "agent": scene.facts,
        "lesions": [
            {
                "kind": lesion.kind,
                "enhancing": lesion.kind in ENHANCING_KINDS,
                "center_mm": lesion_center_mm(lesion).round(3).tolist(),
                "diameter_mm": round(lesion.diameter_mm, 2),
                "concentration_mm": round(lesion.concentration_mm, 4),
            }
            for lesion in scene.lesions
        ],
        "series": {
            role: {
                "series_instance_uid": plan.uid("series", number),
                "size": grids[role].size,
                "spacing_mm": grids[role].spacing_mm,
                "axes": grids[role].axes.round(12).tolist(),
                "origin_mm": grids[role].origin_mm.round(9).tolist(),
                # A point p of the T1c is found at matrix @ p + translation in this series.
                "motion": {
                    "matrix": np.array(motions[role].GetMatrix()).reshape(3, 3).tolist(),
                    "translation_mm": list(motions[role].GetTranslation()),
                },
            }
            for number, role in enumerate(written, start=1)
        },
    }


def _true_adc(scene: Scene, grid: Grid, motion: sitk.Transform) -> sitk.Image:
    """In mm^2/s; 0 outside the brain, where no tissue is modelled that has an ADC worth the name."""
    adc = render_truth(scene, "adc", grid.empty(), motion=motion)
    brain = render_truth(scene, "brain", grid.empty(), motion=motion)
    return sitk.Mask(adc, sitk.Cast(brain, sitk.sitkUInt8))


def _write_truth(
    folder: Path, scene: Scene, grids: dict[str, Grid], motions: dict[str, sitk.Euler3DTransform], facts: dict[str, Any]
) -> Path:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    reference = grids["T1C"].empty()
    labels = render_truth(scene, "labels", reference)
    images = {
        "labels": sitk.Cast(labels, sitk.sitkUInt8),
        "enhancing_lesion": sitk.Cast(sitk.Equal(labels, LABEL_ENHANCING), sitk.sitkUInt8),
        "white_matter": sitk.Cast(render_truth(scene, "white_matter", reference), sitk.sitkUInt8),
        "brain": sitk.Cast(render_truth(scene, "brain", reference), sitk.sitkUInt8),
        "concentration": render_truth(scene, "concentration", reference),
        "adc": _true_adc(scene, grids["DWI"], motions["DWI"]),
    }
    for name, image in images.items():
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"), useCompression=True)
    (folder / "truth.json").write_text(json.dumps(facts, indent=2) + "\n")
    return folder
