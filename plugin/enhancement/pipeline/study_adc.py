"""The ADC of a study: computed from its diffusion images, or the scanner's where that is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from enhancement.dicom.reading.diffusion import DiffusionSeries
from enhancement.dicom.reading.headers import items, seconds_of_day, text
from enhancement.dicom.reading.series import SeriesVolume, SourceSlice
from enhancement.errors import DiffusionInputError, RegistrationFailed
from enhancement.imaging.adc.choice import ComputedMap, choose_adc, head_of
from enhancement.imaging.adc.fit import air_noise, fit_adc
from enhancement.imaging.adc.plausibility import implausible
from enhancement.imaging.registration.register import align_diffusion

# A map is stored within minutes of its images; a second acquisition of diffusion takes longer than that.
_SAME_ACQUISITION_S = 600.0


@dataclass(frozen=True, eq=False)
class StudyAdc:
    """What was taken.

    Attributes
    ----------
    adc : sitk.Image or None
        In mm^2/s.
    b0 : sitk.Image or None
        What drives the registration of `adc`, in the same frame of reference.
    computed : bool
        Whether `adc` was fitted here.
    sources : dict of role name to series
        What went into it: "DWI", "ADC" or both.
    notes : tuple of str
        Which map was taken and why, where there was a choice.
    """

    adc: sitk.Image | None
    b0: sitk.Image | None
    computed: bool
    sources: dict[str, SeriesVolume | DiffusionSeries]
    notes: tuple[str, ...] = ()


def study_adc(diffusion: DiffusionSeries | None, scanners: SeriesVolume | None) -> StudyAdc:
    """Fit the ADC where there are diffusion images, and choose where there is a scanner's map too."""
    computed, notes = None, []
    if diffusion is not None:
        try:
            computed = _computed(diffusion)
        except (DiffusionInputError, RegistrationFailed) as error:  # the study goes on without it, and says so
            notes.append(f"no ADC was computed: {error.reason}")
    if diffusion is None or computed is None:
        sources: dict[str, SeriesVolume | DiffusionSeries] = {} if scanners is None else {"ADC": scanners}
        return StudyAdc(None if scanners is None else scanners.image, None, False, sources, tuple(notes))
    if scanners is None:
        if why := implausible(computed.adc, head_of(computed.b0)):
            return StudyAdc(None, None, False, {}, (f"no ADC is used (ADC_IMPLAUSIBLE): of the computed one, {why}",))
        return StudyAdc(computed.adc, computed.b0, True, {"DWI": diffusion})
    same = same_acquisition(diffusion, scanners)
    choice = choose_adc(computed, scanners.image, same_acquisition=same)
    taken = "the scanner's ADC map is taken" if choice.takes_scanners else "the computed ADC map is taken"
    told = (f"{taken}: {choice.why}",)
    if not choice.takes_scanners:
        return StudyAdc(computed.adc, computed.b0, True, {"DWI": diffusion}, told)
    if not same:  # its own place is not known from these images
        return StudyAdc(scanners.image, None, False, {"ADC": scanners}, told)
    return StudyAdc(scanners.image, computed.b0, False, {"ADC": scanners, "DWI": diffusion}, told)


def _computed(diffusion: DiffusionSeries) -> ComputedMap:
    aligned = align_diffusion(diffusion.images)
    return ComputedMap(
        adc=fit_adc(aligned, diffusion.b_values),
        b0=aligned[0],
        weighted=aligned[-1],
        unevenness=max(diffusion.unevenness, default=0.0),
        apart=len(diffusion.series_instance_uids) > 1,
        moved=any(after is not before for after, before in zip(aligned, diffusion.images, strict=True)),
        noise_sigma=air_noise(sitk.GetArrayViewFromImage(aligned[0])),
    )


def same_acquisition(diffusion: DiffusionSeries, scanners: SeriesVolume) -> bool:
    """Whether the scanner made its map from these images.

    Its own references say so where it has any; else the frame of reference, the grid and the time do.
    """
    sources = [part for shell in diffusion.slices for part in shell]
    named = _referenced(scanners.slices)
    if named:
        return not named.isdisjoint(part.sop_instance_uid for part in sources)
    first, other = sources[0].header, scanners.slices[0].header
    if text(first, "FrameOfReferenceUID") != text(other, "FrameOfReferenceUID"):
        return False
    return _same_grid(diffusion.images[0], scanners.image) and _near_in_time(sources, other)


def _referenced(slices: Sequence[SourceSlice]) -> set[str]:
    found = (item for part in slices[:1] for item in items(part.header, "SourceImageSequence"))
    return {uid for item in found if (uid := text(item, "ReferencedSOPInstanceUID"))}


def _same_grid(first: sitk.Image, second: sitk.Image) -> bool:
    """In plane the same; the slices may be more or fewer."""
    return bool(
        first.GetSize()[:2] == second.GetSize()[:2]
        and np.allclose(first.GetSpacing(), second.GetSpacing(), rtol=0.01)
        and np.allclose(first.GetDirection(), second.GetDirection(), atol=0.01)
    )


def _near_in_time(sources: Sequence[SourceSlice], scanners: Dataset) -> bool:
    moments = [moment for part in sources if (moment := _acquired_s(part.header)) is not None]
    made = _acquired_s(scanners)
    if not moments or made is None:
        return True
    return min(moments) - _SAME_ACQUISITION_S <= made <= max(moments) + _SAME_ACQUISITION_S


def _acquired_s(header: Dataset) -> float | None:
    return seconds_of_day(text(header, "AcquisitionTime") or text(header, "AcquisitionDateTime"))
