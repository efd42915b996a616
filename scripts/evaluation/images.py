"""Everything measured on one image of one case: a row of every table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from enhancement.arrays import Volume
from enhancement.imaging.intensity import brain_statistics
from evaluation.cases import Case
from evaluation.dose import InversionPrepared, Spgr, equivalent_dose, simulated_sequence
from evaluation.expert import candidate_lesions
from evaluation.fidelity import Fidelity, fidelity
from evaluation.measures import Contrast, common_gain, contrast
from evaluation.pairing import Reading, read_case
from evaluation.reader import ReaderSettings
from evaluation.texture import Edge, Glow, edge, glow, white_matter_noise

#: The unit scale of fidelity: this range of the T1c's z-score is [0, 1]; nothing is clipped.
UNIT_Z = (-3.0, 12.0)
#: T1 of an enhancing lesion before contrast, where a case does not say; k_eff depends on it little.
LESION_T1_S = 1.5
#: The reader runs at this fraction of its threshold, so that an FROC curve goes beyond its working point.
FROC_REACH = 0.02


@dataclass(frozen=True)
class ImageResult:
    """Measures of one image of one case; what does not apply is None or NaN.

    Parameters
    ----------
    roi, white : Contrast
        Against the reader's region, and against all calm white matter.
    k_eff_spgr, k_eff_inversion, k_eff_own : float
        Dose factor by the signal equation of two fixed sequences, and of the case's own where it is simulated;
        `k_eff_simulated` by the case's own simulated doses.
    noise : float
        `white_matter_noise`.
    fidelity, fidelity_scaled, fidelity_focal : Fidelity
        Against the physical image at the higher dose, as it is; against the same with the image brought to its
        level by one factor (the median ratio in calm tissue: a window, for MR has no unit); and against the focal
        target, where only what enhances has the higher dose and calm brain its own.
    reading : Reading, optional
        Down to `FROC_REACH` of the threshold.
    """

    roi: Contrast | None
    white: Contrast | None
    k_eff_spgr: float
    k_eff_inversion: float
    k_eff_own: float
    k_eff_simulated: float
    noise: float
    glow: Glow | None
    edge: Edge | None
    fidelity: Fidelity | None
    fidelity_scaled: Fidelity | None
    fidelity_focal: Fidelity | None
    reading: Reading | None

    def flat(self) -> dict[str, float]:
        """All numbers under one level of names, for JSON and tables."""
        values: dict[str, float] = {
            "k_eff_spgr": self.k_eff_spgr,
            "k_eff_inversion": self.k_eff_inversion,
            "k_eff_own": self.k_eff_own,
            "k_eff_simulated": self.k_eff_simulated,
            "noise": self.noise,
        }
        parts: Mapping[str, object] = {
            "roi": self.roi,
            "white": self.white,
            "glow": self.glow,
            "edge": self.edge,
            "fidelity": self.fidelity,
            "fidelity_scaled": self.fidelity_scaled,
            "fidelity_focal": self.fidelity_focal,
        }
        for name, part in parts.items():
            if part is not None:
                values |= {f"{name}.{key}": float(value) for key, value in asdict(part).items()}  # type: ignore[call-overload]
        return values


def measure(
    case: Case,
    image: Volume,
    *,
    dose_factor: float = 4.0,
    reader: ReaderSettings | None = None,
    read: bool = True,
    with_ssim: bool = True,
) -> ImageResult:
    """Measure an image of a case.

    Parameters
    ----------
    case : Case
    image : (z, y, x), intensities of the case's T1c
        The T1c itself, T1c-pro or a baseline.
    dose_factor : float
        Which simulated dose is the reference of fidelity.
    reader : ReaderSettings, optional
    read, with_ssim : bool
        Whether to have the lesions read, and SSIM; both take seconds.
    """
    regions = case.regions
    gain = common_gain(case.t1, case.t1c, regions.tissue)
    before = case.t1 * np.float32(gain)
    roi = white = None
    if regions.lesion.any():
        roi = contrast(image, regions.lesion, regions.roi, before=before)
        white = contrast(image, regions.lesion, regions.white, before=before)
    reference = case.reference(dose_factor)
    spgr, inversion, own = _equivalent_doses(case, image, before)
    return ImageResult(
        roi=roi,
        white=white,
        k_eff_spgr=spgr,
        k_eff_inversion=inversion,
        k_eff_own=own,
        k_eff_simulated=_simulated_dose(case, image),
        noise=white_matter_noise(image, regions.white),
        glow=glow(image, case.t1c, regions.tissue, case.spacing_zyx_mm),
        edge=_edge(case, image),
        fidelity=_fidelity(case, image, reference, with_ssim),
        fidelity_scaled=_fidelity(case, _at_the_level_of(reference, case, image), reference, with_ssim),
        fidelity_focal=_fidelity(case, image, case.focal, with_ssim),
        reading=_reading(case, image, reader or ReaderSettings()) if read else None,
    )


def _reading(case: Case, image: Volume, reader: ReaderSettings) -> Reading:
    low, spacing = replace(reader, threshold=reader.threshold * FROC_REACH), case.spacing_zyx_mm
    marks = candidate_lesions(image, case.t1, case.brain, place=case.place, spacing_zyx_mm=spacing, settings=low)
    return read_case(marks, case.lesions, tissue=case.regions.lesion, spacing_zyx_mm=spacing)


def _edge(case: Case, image: Volume) -> Edge | None:
    try:
        return edge(image, case.t1, case.regions.tissue, case.spacing_zyx_mm)
    except ValueError:
        return None


def _equivalent_doses(case: Case, image: Volume, before: Volume) -> tuple[float, float, float]:
    """By an SPGR, by an inversion-prepared train, and by the simulated case's own sequence (NaN in a real one)."""
    lesion = case.regions.lesion
    if not lesion.any():
        return float("nan"), float("nan"), float("nan")
    clean = case.targets.get(0.0)
    start = float((before if clean is None else clean)[lesion].mean())
    values = (start, float(case.t1c[lesion].mean()), float(image[lesion].mean()))
    protocol = case.facts.get("protocol")
    own = simulated_sequence(protocol["t1c"]) if protocol else None
    return (
        equivalent_dose(*values, delta_r1=Spgr().delta_r1, t1_before_s=LESION_T1_S),
        equivalent_dose(*values, delta_r1=InversionPrepared().delta_r1, t1_before_s=LESION_T1_S),
        float("nan") if own is None else equivalent_dose(*values, delta_r1=own.delta_r1, t1_before_s=LESION_T1_S),
    )


def _simulated_dose(case: Case, image: Volume) -> float:
    """The least dose at which the simulated lesions have the image's mean intensity, by interpolation."""
    lesion = case.regions.lesion
    if not case.targets or not lesion.any():
        return float("nan")
    doses = sorted(case.targets)
    means = np.maximum.accumulate([float(case.targets[k][lesion].mean()) for k in doses])
    rises = np.diff(means, prepend=-np.inf) > 0  # a signal may fall again where the dose shortens T2 as well
    return float(np.interp(float(image[lesion].mean()), means[rises], np.array(doses)[rises]))


def _at_the_level_of(reference: Volume | None, case: Case, image: Volume) -> Volume:
    if reference is None:
        return image
    return image * np.float32(common_gain(image, reference, case.regions.tissue))


def _fidelity(case: Case, image: Volume, reference: Volume | None, with_ssim: bool) -> Fidelity | None:
    if reference is None:
        return None
    scale = brain_statistics(case.t1c, case.brain)

    def unit(volume: Volume) -> Volume:
        z = (volume - scale.mean) / scale.sd
        return ((z - UNIT_Z[0]) / (UNIT_Z[1] - UNIT_Z[0])).astype(np.float32)

    return fidelity(unit(image), unit(reference), case.brain, case.regions.lesion, with_ssim=with_ssim)
