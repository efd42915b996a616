"""A case to evaluate: inputs, truth where there is one, and regions; simulated or real, the same from here on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from evaluation.expert import atlas_place
from evaluation.pairing import Lesion
from evaluation.regions import Regions, Spacing, find_regions
from evaluation.surroundings import Place
from simulation.layers import Label
from simulation.patient import PatientConfig, SimulatedPatient, simulate_patient
from training.simulated import PHYSIOLOGICAL, focal_target

#: Simulated patients of this seed and above are for evaluation; training never draws them.
FIRST_TEST_SEED = 900_000
#: Seeds on which the reader's numbers were set; no report counts them.
FIRST_DEVELOPMENT_SEED = 890_000

_NORMAL = (Label.NONE, *PHYSIOLOGICAL)


@dataclass(frozen=True)
class Case:
    """One patient on one grid.

    Parameters
    ----------
    name : str
    volumes : {role: (z, y, x)}
        "T1" and "T1C", and "FLAIR" and "ADC" (mm2/s) where there are any.
    brain : (z, y, x)
        The mask that the network gets.
    regions : Regions
        Calm tissue and enhancing lesion, found from T1 and T1c.
    spacing_zyx_mm : (z, y, x)
    lesions : tuple of Lesion
        Reference of the enhancing lesions.
    enhancing : (z, y, x)
        Everything that takes up agent: lesions, vessels, dura, plexus. Truth in simulated cases, from T1c/T1 in real.
    place : Place, optional
        What the reader knows of anatomy, on this grid; without it he knows shapes alone.
    targets : {k: (z, y, x)}
        Noise-free T1c at k times the dose, in units of the T1c; 0 is without agent. Empty in real cases.
    focal : (z, y, x), optional
        Noise-free T1c where diseased tissue has four times the dose and all else its own: what t1c-pro is trained for.
    facts : mapping
        JSON-ready: seed, protocol.
    """

    name: str
    volumes: Mapping[str, Volume]
    brain: Mask
    regions: Regions
    spacing_zyx_mm: Spacing = (1.0, 1.0, 1.0)
    lesions: tuple[Lesion, ...] = ()
    enhancing: Mask | None = None
    place: Place | None = None
    targets: Mapping[float, Volume] = field(default_factory=dict)
    focal: Volume | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def t1(self) -> Volume:
        return self.volumes["T1"]

    @property
    def t1c(self) -> Volume:
        return self.volumes["T1C"]

    def reference(self, dose_factor: float) -> Volume | None:
        """Noise-free T1c at a multiple of the dose; None where nobody knows it."""
        return self.targets.get(float(dose_factor))


def of_test_heads(anatomies: Path | None, config: PatientConfig | None = None) -> PatientConfig:
    """A cohort whose anatomies are the heads kept for tests; that of the ICBM average without a folder."""
    config = config or PatientConfig()
    return config if anatomies is None else replace(config, anatomies=str(anatomies), heads="test")


def simulated_case(seed: int, *, config: PatientConfig | None = None, folder: Path | None = None) -> Case:
    """Simulate a patient and describe it as a case; see `stored_patient`."""
    return from_patient(stored_patient(seed, config=config, folder=folder))


def stored_patient(seed: int, *, config: PatientConfig | None = None, folder: Path | None = None) -> SimulatedPatient:
    """Simulate a patient, or read it where an earlier run has left it.

    Parameters
    ----------
    seed : int
    config : PatientConfig, optional
    folder : Path, optional
        Where patients are kept (200 MB each), to measure several models on the same ones. The file's name has the
        configuration's digest: one seed is another patient with another configuration.
    """
    if folder is None:
        return simulate_patient(seed, config=config)
    path = folder / f"{seed}-{digest(asdict(config or PatientConfig()))}.npz"
    if path.is_file():
        return SimulatedPatient.load(path)
    patient = simulate_patient(seed, config=config)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"part-{path.name}")
    patient.save(partial)
    partial.replace(path)
    return patient


def digest(content: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits of what JSON makes of the content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def from_patient(patient: SimulatedPatient) -> Case:
    """Describe a simulated patient.

    The network gets the imperfect brain mask, as it would in use. Lesions are those of the patient's table
    that take up agent and left at least one voxel within 1.5 mm of their centre in the truth map.
    """
    labels = patient.labels
    lesion = labels == Label.ENHANCING
    abnormal = ~np.isin(labels, [int(label) for label in _NORMAL])
    brain = np.asarray(patient.brain_imperfect, dtype=bool)
    physiological = np.isin(labels, [int(label) for label in PHYSIOLOGICAL])
    regions = find_regions(
        patient.t1, patient.t1c, brain, lesion=lesion & brain, abnormal=abnormal | physiological,
        white_prior=patient.wm > 0.9,
    )  # fmt: skip
    return Case(
        name=f"sim-{patient.meta['seed']}",
        volumes={"T1": patient.t1, "FLAIR": patient.flair, "ADC": patient.adc, "T1C": patient.t1c},
        brain=brain,
        regions=regions,
        lesions=tuple(reference_lesions(patient, lesion)),
        enhancing=patient.concentration_mm > _ENHANCING_MM,
        place=atlas_place(),
        targets={0.0: patient.t1_clean, **{float(k): volume for k, volume in patient.t1c_k.items()}},
        focal=focal_target(patient.t1c_k[1.0], patient.t1_clean, labels, patient.brain, disease_only=True),
        facts={"seed": patient.meta["seed"], "protocol": patient.meta["protocol"], "lesions": patient.meta["lesions"]},
    )


_ENHANCING_MM = 0.03  # mM, voxel mean: above the blood volume of normal tissue


def reference_lesions(patient: SimulatedPatient, lesion: Mask) -> list[Lesion]:
    """The patient's enhancing lesions that are to be seen; ``lesion`` is the truth map of what enhances of them."""
    near = ndimage.binary_dilation(lesion, iterations=2)
    found = []
    for row in patient.meta["lesions"]:
        centre = tuple(float(v) for v in row["centre_zyx"])
        voxel = tuple(int(np.clip(round(v), 0, n - 1)) for v, n in zip(centre, lesion.shape, strict=True))
        radii = row.get("radii_mm")
        hollow = float(row["diameter_mm"]) > 8  # a necrotic centre is not labelled as enhancing
        if row["enhancing"] and (near[voxel] or (hollow and patient.brain[voxel])):
            short = 2 * sorted(radii)[-2] if radii else 0.8 * float(row["diameter_mm"])
            found.append(Lesion(centre, float(row["diameter_mm"]), short, str(row["kind"])))  # type: ignore[arg-type]
    return found
