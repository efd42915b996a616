"""A model folder to networks that are ready to predict: the one place that loads them."""

from __future__ import annotations

from pathlib import Path

from enhancement.network.engines.torch import Precision
from enhancement.network.ensemble import Ensemble
from enhancement.network.weights import load_model


def load_ensemble(
    folder: Path,
    *,
    device: str = "auto",
    folds: int = 5,
    mirrorings: int = 8,
    precision: Precision = "bfloat16",
    threads: int = 0,
) -> Ensemble:
    """Verify and load a model folder.

    Parameters
    ----------
    folder : Path
    device, folds, mirrorings, precision, threads
        As in `Ensemble`.

    Raises
    ------
    WeightsMissing, WeightsMismatch
        If the folder is not what its manifest says.
    """
    return Ensemble(
        load_model(folder), device=device, folds=folds, mirrorings=mirrorings, precision=precision, threads=threads
    )
