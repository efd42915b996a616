"""The built-in brain extractor's network, as the plain callable that `imaging.brain` takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from enhancement.arrays import Volume
from enhancement.network.loading import load_ensemble


def load_brain_network(folder: Path, *, device: str = "auto", mirrorings: int = 2) -> Callable[[Volume], Volume]:
    """Load model_weights/brain.

    Parameters
    ----------
    folder : Path
        A model folder with one input channel.
    device : str
        As in `Ensemble`.
    mirrorings : {1, 2, 4, 8}
        Two: left and right are alike in a head, top and bottom are not.

    Returns
    -------
    callable
        A head (z, y, x) in [0, 1] at the manifest's spacing to the probability of brain, in [0, 1].

    Raises
    ------
    WeightsMissing, WeightsMismatch
        If the folder is not what its manifest says.
    """
    ensemble = load_ensemble(folder, device=device, folds=1, mirrorings=mirrorings)

    def segment(head_zyx: Volume) -> Volume:
        return ensemble.predict(head_zyx[None]).mean_zyx

    return segment
