"""What a recipe is: everything that differs between the systems that live in this plugin, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from enhancement.arrays import Mask, Volume
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.writing.words import Words
from enhancement.imaging.gate.checks import InputCheck
from enhancement.imaging.intensity import BrainStatistics
from enhancement.network.manifest import Manifest
from enhancement.settings import PreprocessingSettings, Role


class OwnSettings(BaseModel):
    """What only one recipe has to be set: by default nothing. A recipe with settings has a subclass with defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True)
class Predicted:
    """What the networks made of a study, on their own grid.

    Attributes
    ----------
    manifest : Manifest
        Of the model; it says in which unit the prediction is.
    inputs_czyx : (c, z, y, x), in [0, 1]
        The networks' input, in the manifest's order.
    mean_zyx : (z, y, x)
        The mean of their predictions.
    statistics : mapping of role to BrainStatistics
        What each input was normalised by.
    inside : (z, y, x)
        Where there is a prediction: in the brain, and where every series that must cover it has data.
    answers_czyx : (3, z, y, x), optional
        Of networks with several answers; see `network.ensemble.Prediction`.
    """

    manifest: Manifest
    inputs_czyx: NDArray[np.float32]
    mean_zyx: Volume
    statistics: Mapping[str, BrainStatistics]
    inside: Mask
    answers_czyx: Volume | None = None


#: Both in the reference's own numbers, bias field removed: the prediction as it is shown, which outside of `inside` is
#: the reference, and the reference as the networks saw it.
Finished = tuple[Volume, Volume]
Finish = Callable[[Predicted, OwnSettings], Finished]


@dataclass(frozen=True)
class Recipe:
    """One system, from its inputs to its words.

    Attributes
    ----------
    name : str
        In the settings, in the ledger, in requests and for people.
    title : str
        What it makes, in a few words for pages.
    model : Path
        Model folder, relative to ModelWeights.
    needed, wanted : tuple of Role
        Roles without which nothing is made, and those that are used when there. Where DWI is among them, a scanner's
        ADC map may stand in for it.
    reference : Role
        The series that the others are registered to and that the result lies on, slice for slice.
    covering : tuple of Role
        Series that must cover the brain: where one of them has no data, the reference is shown as it is.
    checks : tuple of InputCheck
        Of the gate, before there is a prediction.
    finish : callable
        From the networks' prediction to what is shown.
    words : Words
        For DICOM.
    own : OwnSettings
        What only this recipe has to be set, with the values in force; it is part of the fingerprint.
    """

    name: str
    title: str
    model: Path
    needed: tuple[Role, ...]
    wanted: tuple[Role, ...]
    reference: Role
    covering: tuple[Role, ...]
    checks: tuple[InputCheck, ...]
    finish: Finish
    words: Words
    own: OwnSettings = field(default_factory=OwnSettings)

    @property
    def inputs(self) -> tuple[Role, ...]:
        """Every role whose series are read."""
        asked = (*self.needed, *self.wanted)
        return (*asked, Role.ADC) if Role.DWI in asked and Role.ADC not in asked else asked

    def required(self, settings: PreprocessingSettings) -> tuple[Role, ...]:
        """The roles without which this site makes nothing."""
        insisted = ((Role.FLAIR, settings.require_flair), (Role.DWI, settings.require_adc))
        return (*self.needed, *(role for role, wanted in insisted if wanted and role in self.wanted))

    def judged(self, found: StudyMatch, settings: PreprocessingSettings) -> StudyMatch:
        """A study's match, as this recipe sees it."""
        return found.judged(self.required(settings), self.wanted)

    def require(self, found: StudyMatch, settings: PreprocessingSettings) -> None:
        """Make sure that the study has what is needed.

        Raises
        ------
        AmbiguousMatch, MissingRole
            Naming the first role that is not played.
        """
        stands_in = bool(found.uids(Role.ADC))
        found.require(*(role for role in self.required(settings) if not (role is Role.DWI and stands_in)))
