"""The gate: refuse rather than mislead.

Each check has a value, a soft and a hard limit, a code and a sentence. Beyond a soft limit the result carries the
sentence as a warning; beyond a hard one the study is refused and nothing is stored. The limits are settings; what they
catch and miss on simulated failures is measured by scripts/gate_study.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from enhancement.arrays import Mask, Volume
from enhancement.errors import GateRefused
from enhancement.imaging.atlas import crop_to_network_grid, load_atlas
from enhancement.imaging.brain.extraction import volume_ml
from enhancement.imaging.gate.artefacts import clipped_share, ghosting, noise_level
from enhancement.imaging.preparation import NetworkInput
from enhancement.settings import GateSettings, Limit

_FIELD_VOXELS = 6.0  # of 2 mm
_SURE = 0.8  # of a tissue, by the atlas
_TISSUES = (("white", "grey"), ("grey", "white"))
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


#: One measurement or several of a study on the network's grid, before there is a prediction.
InputCheck = Callable[[NetworkInput, GateSettings], list[Check]]


def check_input(prepared: NetworkInput, limits: GateSettings, checks: Sequence[InputCheck]) -> list[Check]:
    """Every check of a recipe that needs no prediction.

    Parameters
    ----------
    prepared : NetworkInput
        The study on the network's grid.
    limits : GateSettings
    checks : sequence of InputCheck
        Those of the recipe, in the order in which a refusal names them.
    """
    return [check for find in checks for check in find(prepared, limits)]


def check_spread(spread_zyx: Volume, brain: Mask, limits: GateSettings) -> Check:
    """How far the predictions of the ensemble lie apart, on average over the brain, in brain SDs of the reference."""
    value = float(spread_zyx[brain].mean())
    return Check("SPREAD", value, limits.spread, True, "the networks of the ensemble disagree (brain SDs)")


def anatomy(prepared: NetworkInput, limits: GateSettings) -> list[Check]:
    """Whether what was found is a brain, and lies where the atlas has one."""
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


def every_series(prepared: NetworkInput, limits: GateSettings, *, needed: Collection[str]) -> list[Check]:
    """Whether each series covers the brain, lies on the reference, and is free of artefacts.

    Parameters
    ----------
    needed : collection of role
        Those that the stricter limit of coverage holds for.
    """
    return [check for role in prepared.volumes for check in _series(prepared, role, limits, needed)]


def _series(prepared: NetworkInput, role: str, limits: GateSettings, needed: Collection[str]) -> list[Check]:
    brain, reference = prepared.brain_zyx, prepared.reference
    covered = float((prepared.covered[role] & brain).sum()) / max(float(brain.sum()), 1.0)
    limit = limits.coverage if role in needed else limits.coverage_optional
    checks = [Check(f"COVERAGE_{role}", covered, limit, False, f"{role} does not cover the brain (share)")]
    if role in prepared.registrations:  # every series but the reference itself
        found = prepared.registrations[role]
        ratio = found.information / max(found.chance, 1e-6)
        sentence = f"{role} and {reference} agree hardly better than by chance (ratio)"
        checks.append(Check(f"AGREEMENT_{role}", ratio, limits.agreement, False, sentence))
        beside = found.neighbour / max(found.information, 1e-6)
        sentence = f"{role} agrees with {reference} better 4 mm or 4 degrees beside its place (ratio)"
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


def scale(prepared: NetworkInput, limits: GateSettings) -> list[Check]:
    """Of every input the share of the brain that the network's scale cuts off; the worst counts."""
    shares = [float(np.mean(channel[prepared.brain_zyx] >= 1.0)) for channel in prepared.inputs_czyx]
    sentence = "an input is brighter than the network's scale (share)"
    return [Check("SCALE", max(shares), limits.clipped, True, sentence)] if shares else []


def contrast_given(prepared: NetworkInput, limits: GateSettings, *, before: str, after: str) -> list[Check]:
    """Whether two T1-weighted series are of one sequence, without and with contrast agent.

    Parameters
    ----------
    before, after : role
        Of the series without agent and of that with it; where one is missing, nothing is checked.
    """
    if before not in prepared.volumes or after not in prepared.volumes:
        return []
    brain = prepared.brain_zyx
    first, second = (_standardised(prepared, role) for role in (before, after))
    correlation = float(np.corrcoef(first[brain], second[brain])[0, 1])
    gain = brightening(first, second, brain)
    same, nowhere = f"{before} and {after} are the same image", f"{after} is nowhere brighter than {before}"
    return [
        Check("IDENTICAL", correlation, limits.identical, True, f"{same} (correlation)"),
        Check("NO_CONTRAST", gain, limits.enhancement, False, f"{nowhere} (brain SDs)"),
        *_sequences(prepared, limits, before, after),
    ]


def _sequences(prepared: NetworkInput, limits: GateSettings, before: str, after: str) -> list[Check]:
    """A spin echo beside an MPRAGE: white or grey matter looks as if it enhanced, and the network takes it so."""
    first, second = (sitk.GetArrayFromImage(prepared.volumes[role]) for role in (before, after))
    white, grey = (
        (sitk.GetArrayFromImage(crop_to_network_grid(tissue)) > _SURE) & prepared.brain_zyx
        for tissue in (load_atlas().wm, load_atlas().gm)
    )
    change = contrast_change(first, second, white, grey)
    unlike = f"{before} and {after} are of unlike sequences"
    sentences = [f"{unlike}: {a} over {b} matter brightened, as by another weighting (factor)" for a, b in _TISSUES]
    return [
        Check("WHITE_MATTER", change, limits.white_matter, True, sentences[0]),
        Check("GREY_MATTER", 1 / change, limits.grey_matter, True, sentences[1]),
    ]


def _standardised(prepared: NetworkInput, role: str) -> Volume:
    statistics = prepared.statistics[role]
    array = sitk.GetArrayFromImage(prepared.volumes[role])
    return np.asarray((array - statistics.mean) / statistics.sd, dtype=np.float32)


def contrast_change(before: Volume, after: Volume, white: Mask, grey: Mask) -> float:
    """Ratio of white to grey matter (medians) after contrast over that before, above 0; NaN where one is missing."""
    if not white.any() or not grey.any():
        return float("nan")
    ratios = [float(np.median(v[white])) / max(float(np.median(v[grey])), 1e-6) for v in (before, after)]
    return ratios[1] / ratios[0] if min(ratios) > 0 else float("nan")


def brightening(before: Volume, after: Volume, brain: Mask) -> float:
    """How much farther the brightest 0.3 % of what contrast changed stand out than the darkest 0.3 %, in brain SDs.

    Vessels, dura and choroid plexus take up contrast in everyone; misalignment and noise make as many dark
    differences as bright ones, and swapped series more. What varies over centimetres is a receive field, not contrast.
    """
    near = ndimage.binary_dilation(brain[::2, ::2, ::2], iterations=2)
    difference = ndimage.gaussian_filter(after - before, 1.0)[::2, ::2, ::2] * near
    share = np.maximum(ndimage.gaussian_filter(near.astype(np.float32), _FIELD_VOXELS), 1e-3)
    local = (difference - ndimage.gaussian_filter(difference, _FIELD_VOXELS) / share)[near]
    low, high = np.percentile(local, (0.3, 99.7))
    return float(high + low - 2 * np.median(local))
