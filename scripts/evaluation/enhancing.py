"""From a case to T1c-pro on the case's own grid, through the plugin's normalisation and network.

Simulated cases lie on the network's grid already, so registration and brain extraction, which the plugin's
pipeline tests in its own place, are left out: bias field, z-score, limits, ensemble and the way back to the T1c's
numbers are the plugin's own code. Real cases go through the plugin's whole pipeline (`real.py`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.arrays import Mask, Volume
from enhancement.imaging.bias_field import estimate_bias_field
from enhancement.imaging.intensity import BrainStatistics, normalise
from enhancement.network.loading import load_ensemble
from enhancement.recipes.amplification import T1C_PRO
from enhancement.recipes.base import Predicted
from evaluation.cases import Case


@dataclass(frozen=True)
class Enhanced:
    """What the network made of a case, in the numbers of its T1c.

    Parameters
    ----------
    image, spread : (z, y, x), intensities
        Mean over the predictions (the T1c outside the brain), and their standard deviation.
    predictions : int
    seconds : float
        That the predictions took, without preprocessing.
    """

    image: Volume
    spread: Volume
    predictions: int
    seconds: float = float("nan")


class Enhancer:
    """A model folder, ready for cases.

    Parameters
    ----------
    folder : Path
    folds, mirrorings : int
        How much of the ensemble to run.
    missing : sequence of roles
        Inputs to leave out (zeros), as if the study lacked them.
    """

    def __init__(
        self, folder: Path, *, folds: int = 5, mirrorings: int = 8, missing: Sequence[str] = (), device: str = "auto"
    ) -> None:
        self.ensemble = load_ensemble(folder, folds=folds, mirrorings=mirrorings, device=device)
        self.model = self.ensemble.model
        self.missing = frozenset(missing)

    @property
    def dose_factor(self) -> float:
        return self.model.manifest.output.dose_factor

    def __call__(self, case: Case) -> Enhanced:
        """Enhance a case."""
        inputs, statistics, field = self.inputs(case)
        start = time.perf_counter()
        prediction = self.ensemble.predict(inputs)
        seconds = time.perf_counter() - start
        output = self.model.manifest.output
        predicted = Predicted(
            self.model.manifest, inputs, prediction.mean_zyx, statistics, case.brain, prediction.answers_czyx
        )
        shown, seen = T1C_PRO.finish(predicted, T1C_PRO.own)
        per_unit = (output.z_max - output.z_min) * statistics[output.reference].sd
        return Enhanced(
            # As the plugin does: what the T1c has beyond the limits of the network's input is kept.
            image=(case.t1c + (shown - seen) * field * case.brain).astype(np.float32),
            spread=np.where(case.brain, prediction.spread_zyx * per_unit * field, 0).astype(np.float32),
            predictions=prediction.predictions,
            seconds=seconds,
        )

    def inputs(self, case: Case) -> tuple[NDArray[np.float32], dict[str, BrainStatistics], Volume]:
        """Input channels in the manifest's order, what each was normalised by, and the reference's bias field.

        Returns
        -------
        inputs : (c, z, y, x), in [0, 1]
        statistics : dict of role to BrainStatistics
            Of the corrected volumes; that of the reference is the unit of the prediction.
        field : (z, y, x)
            Multiplying by it undoes the T1c's bias correction.
        """
        manifest = self.model.manifest
        channels: list[NDArray[np.float32]] = []
        known: dict[str, BrainStatistics] = {}
        field = np.ones(case.brain.shape, dtype=np.float32)
        for channel in manifest.inputs:
            volume = None if channel.role in self.missing else case.volumes.get(channel.role)
            if volume is None:
                channels.append(np.zeros(case.brain.shape, dtype=np.float32))
                continue
            if manifest.preprocessing.bias_field and channel.role != "ADC":
                own = _bias_field(volume, case.brain)
                if channel.role == manifest.output.reference:
                    field = own
                volume = volume / own
            # A simulated series covers the whole grid.
            unit, known[channel.role] = normalise(channel.role, volume, case.brain, channel.z_min, channel.z_max)
            channels.append(unit)
        return np.stack(channels), known, field


def _bias_field(volume: Volume, brain: Mask) -> Volume:
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume, dtype=np.float32))
    mask = sitk.GetImageFromArray(brain.astype(np.uint8))
    return np.asarray(sitk.GetArrayFromImage(estimate_bias_field(image, mask)), dtype=np.float32)
