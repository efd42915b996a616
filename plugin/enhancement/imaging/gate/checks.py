"""The gate: refuse rather than mislead.

Each check has a value, a soft and a hard limit, a code and a sentence. Beyond a soft limit the result carries the
sentence as a warning; beyond a hard one the study is refused and nothing is stored. The limits are settings; what they
catch and miss on simulated failures is measured by scripts/gate_study.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.errors import GateRefused
from enhancement.imaging.atlas import crop_to_network_grid, load_atlas
from enhancement.imaging.brain.extraction import volume_ml
from enhancement.imaging.gate.artefacts import clipped_share, ghosting, noise_level
from enhancement.imaging.preparation import NetworkInput
from enhancement.settings import GateSettings, Limit

_FIELD_VOXELS = 6.0  # of 2 mm
_SURE = 0.8  # of a tissue, by the atlas
Verdict = Literal["passed", "warned", "refused"]


@dataclass(frozen=True)
class Check:
    """One measurement of the gate.

    Attributes
    ----------
    code : str
        Stable, upper case; with the role where it is of one series.
    value : float
    limit : Limit
    at_most : bool
        Whether the limits are upper ones.
    sentence : str
        What it means when the value is beyond a limit.
    """

    code: str
    value: float
    limit: Limit
    at_most: bool
    sentence: str

    @property
    def verdict(self) -> Verdict:
        """Where the value stands; one that is not a number is beyond every limit."""
        if self._beyond(self.limit.hard):
            return "refused"
        return "warned" if self._beyond(self.limit.soft) else "passed"

    def _beyond(self, limit: float | None) -> bool:
        if limit is None:
            return False
        return not (self.value <= limit if self.at_most else self.value >= limit)

    @property
    def message(self) -> str:
        """The sentence with the value and the limit that it is held against."""
        limit = self.limit.hard if self.verdict == "refused" else self.limit.soft
        bound = "at most" if self.at_most else "at least"
        return f"{self.sentence}: {self.value:.3g}, {bound} {limit:.3g} was needed"


def enforce(checks: Sequence[Check]) -> tuple[str, ...]:
    """Refuse, or return the warnings.

    Raises
    ------
    GateRefused
        With the code and message of the first check beyond its hard limit, and those of further ones appended.
    """
    refused = [check for check in checks if check.verdict == "refused"]
    if refused:
        raise GateRefused(
            "; ".join(check.message for check in refused),
            code=f"GATE_{refused[0].code}",
            advice="Look at the series named; if they are right, the limit is in ContrastEnhancement.Gate.",
        )
    return tuple(check.message for check in checks if check.verdict == "warned")


def check_input(prepared: NetworkInput, limits: GateSettings) -> list[Check]:
    """Every check that needs no prediction.

    Parameters
    ----------
    prepared : NetworkInput
        The study on the network's grid.
    limits : GateSettings
    """
    checks = _anatomy(prepared, limits)
    for role in prepared.volumes:
        checks += _series(prepared, role, limits)
    checks += _scale(prepared, limits)
    if "T1" in prepared.volumes:
        checks += _contrast(prepared, limits)
    return checks


def check_spread(spread_zyx: NDArray[np.float32], brain: NDArray[np.bool_], limits: GateSettings) -> Check:
    """How far the predictions of the ensemble lie apart, on average over the brain, in brain SDs of the T1c."""
    value = float(spread_zyx[brain].mean())
    return Check("SPREAD", value, limits.spread, True, "the networks of the ensemble disagree (brain SDs)")


def _anatomy(prepared: NetworkInput, limits: GateSettings) -> list[Check]:
    volume = volume_ml(prepared.brain)
    template = sitk.GetArrayFromImage(crop_to_network_grid(load_atlas().brain)) > 0
    brain = prepared.brain_zyx
    dice = 2.0 * float((template & brain).sum()) / max(float(template.sum() + brain.sum()), 1.0)
    outside = float((brain & ~template).sum()) / max(float(brain.sum()), 1.0)
    return [
        Check("BRAIN_SMALL", volume, limits.brain_volume_low_ml, False, "the brain found is small (ml)"),
        Check("BRAIN_LARGE", volume, limits.brain_volume_high_ml, True, "the brain found is large (ml)"),
        Check("ATLAS", dice, limits.atlas_overlap, False, "the brain does not fit the atlas (Dice)"),
        Check(
            "OVERHANG", outside, limits.overhang, True, "what was found reaches beyond a brain, as scalp does (share)"
        ),
    ]


def _series(prepared: NetworkInput, role: str, limits: GateSettings) -> list[Check]:
    brain = prepared.brain_zyx
    needed = role in ("T1", "T1C")
    covered = float((prepared.covered[role] & brain).sum()) / max(float(brain.sum()), 1.0)
    limit = limits.coverage if needed else limits.coverage_optional
    checks = [Check(f"COVERAGE_{role}", covered, limit, False, f"{role} does not cover the brain (share)")]
    if role in prepared.registrations:  # every series but the T1c itself
        found = prepared.registrations[role]
        ratio = found.information / max(found.chance, 1e-6)
        sentence = f"{role} and T1C agree hardly better than by chance (ratio)"
        checks.append(Check(f"AGREEMENT_{role}", ratio, limits.agreement, False, sentence))
        beside = found.neighbour / max(found.information, 1e-6)
        sentence = f"{role} agrees with T1C better 4 mm or 4 degrees beside its place (ratio)"
        checks.append(Check(f"PLACE_{role}", beside, limits.place, True, sentence))
    return checks if role == "ADC" else checks + _artefacts(prepared, role, limits)


def _artefacts(prepared: NetworkInput, role: str, limits: GateSettings) -> list[Check]:
    brain, array = prepared.brain_zyx, sitk.GetArrayFromImage(prepared.volumes[role])
    scanned = array  # a plateau is one only before the bias field was divided out
    if role in prepared.fields:
        scanned = array * sitk.GetArrayViewFromImage(prepared.fields[role])
    noise, ghost, clipped = noise_level(array, brain), ghosting(array, brain), clipped_share(scanned, brain)
    return [
        Check(f"NOISE_{role}", noise, limits.noise, True, f"{role} is noisy or moved (brain means)"),
        Check(f"GHOSTS_{role}", ghost, limits.ghosting, True, f"{role} repeats itself, as after motion (share)"),
        Check(f"CLIPPED_{role}", clipped, limits.clipped, True, f"the bright tissue of {role} is cut off (share)"),
    ]


def _scale(prepared: NetworkInput, limits: GateSettings) -> list[Check]:
    """Of every input the share of the brain that the network's scale cuts off; the worst counts."""
    shares = [float(np.mean(channel[prepared.brain_zyx] >= 1.0)) for channel in prepared.inputs_czyx]
    sentence = "an input is brighter than the network's scale (share)"
    return [Check("SCALE", max(shares), limits.clipped, True, sentence)] if shares else []


def _contrast(prepared: NetworkInput, limits: GateSettings) -> list[Check]:
    brain = prepared.brain_zyx
    t1, t1c = (_standardised(prepared, role) for role in ("T1", "T1C"))
    correlation = float(np.corrcoef(t1[brain], t1c[brain])[0, 1])
    gain = brightening(t1, t1c, brain)
    return [
        Check("IDENTICAL", correlation, limits.identical, True, "T1 and T1C are the same image (correlation)"),
        Check("NO_CONTRAST", gain, limits.enhancement, False, "T1C is nowhere brighter than T1 (brain SDs)"),
        *_sequences(prepared, limits),
    ]


def _sequences(prepared: NetworkInput, limits: GateSettings) -> list[Check]:
    """A spin echo beside an MPRAGE: white or grey matter looks as if it enhanced, and the network takes it so."""
    t1, t1c = (sitk.GetArrayFromImage(prepared.volumes[role]) for role in ("T1", "T1C"))
    white, grey = (
        (sitk.GetArrayFromImage(crop_to_network_grid(tissue)) > _SURE) & prepared.brain_zyx
        for tissue in (load_atlas().wm, load_atlas().gm)
    )
    change = contrast_change(t1, t1c, white, grey)
    sentence = "T1 and T1C are of unlike sequences: {} brightened, as by another weighting (factor)"
    return [
        Check("WHITE_MATTER", change, limits.white_matter, True, sentence.format("white over grey matter")),
        Check("GREY_MATTER", 1 / change, limits.grey_matter, True, sentence.format("grey over white matter")),
    ]


def _standardised(prepared: NetworkInput, role: str) -> NDArray[np.float32]:
    statistics = prepared.statistics[role]
    array = sitk.GetArrayFromImage(prepared.volumes[role])
    return np.asarray((array - statistics.mean) / statistics.sd, dtype=np.float32)


def contrast_change(
    t1: NDArray[np.float32], t1c: NDArray[np.float32], white: NDArray[np.bool_], grey: NDArray[np.bool_]
) -> float:
    """Ratio of white to grey matter (medians) in T1c over that in T1, more than 0; NaN where one is missing."""
    if not white.any() or not grey.any():
        return float("nan")
    ratios = [float(np.median(v[white])) / max(float(np.median(v[grey])), 1e-6) for v in (t1, t1c)]
    return ratios[1] / ratios[0] if min(ratios) > 0 else float("nan")


def brightening(t1: NDArray[np.float32], t1c: NDArray[np.float32], brain: NDArray[np.bool_]) -> float:
    """How much farther the brightest 0.3 % of T1c - T1 stand out than the darkest 0.3 %, in brain SDs.

    Vessels, dura and choroid plexus take up contrast in everyone; misalignment and noise make as many dark
    differences as bright ones, and swapped series more. What varies over centimetres is a receive field, not contrast.
    """
    near = ndimage.binary_dilation(brain[::2, ::2, ::2], iterations=2)
    difference = ndimage.gaussian_filter(t1c - t1, 1.0)[::2, ::2, ::2] * near
    share = np.maximum(ndimage.gaussian_filter(near.astype(np.float32), _FIELD_VOXELS), 1e-3)
    local = (difference - ndimage.gaussian_filter(difference, _FIELD_VOXELS) / share)[near]
    low, high = np.percentile(local, (0.3, 99.7))
    return float(high + low - 2 * np.median(local))
