"""Checkpoints that survive a kill at any moment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from enhancement.network.manifest import MANIFEST
from enhancement.network.weights import load_model
from training.recipe import Recipe

FILE = "checkpoint.pt"


@dataclass
class Checkpoint:
    """All that a run needs to go on as if nothing had happened.

    Samples are a function of the step, so no random state is kept beside the weights. `source` says who the patients
    were (`Source.who`), without which the step's sample would be another; None where it was not kept yet.
    """

    recipe: Recipe
    step: int
    network: dict[str, Tensor]
    optimiser: dict[str, Any]
    average: dict[str, Tensor] | None
    limits: dict[str, tuple[float, float]]
    seconds: float = 0.0
    patients: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    source: tuple[str, ...] | None = None

    def weights(self) -> dict[str, Tensor]:
        """The weights to use: the moving average where there is one."""
        return self.average if self.average is not None else self.network


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write, flush to the disk, then rename: whoever reads finds the old one or the new one, never half."""
    content = dict(vars(checkpoint))
    content["recipe"] = checkpoint.recipe.model_dump_json()
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / (FILE + ".part")
    with partial.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(folder / FILE)


def load(folder: Path) -> Checkpoint | None:
    """Read the checkpoint of a run, or None where there is none yet."""
    path = folder / FILE
    if not path.exists():
        return None
    content = torch.load(path, map_location="cpu", weights_only=True)
    content["recipe"] = Recipe.model_validate_json(content["recipe"])
    content["limits"] = {name: tuple(value) for name, value in content["limits"].items()}
    return Checkpoint(**content)


def weights_to_start_from(folder: Path, fold: int) -> tuple[dict[str, Tensor], dict[str, tuple[float, float]]]:
    """Weights and channel limits to begin a run with: of another run's fold, or of a published model.

    Of a model the same fold is taken, so that the patients left out stay left out; beyond its last, the first.

    Raises
    ------
    ValueError
        Neither a checkpoint nor a model is there.
    """
    found = load(folder)
    if found is not None:
        return found.weights(), found.limits
    if not (folder / MANIFEST).exists():
        raise ValueError(f"no checkpoint and no model in {folder}")
    model = load_model(folder)
    network = model.build(fold if fold < len(model.folds) else 0)
    scale = model.manifest.output
    limits = {"T1C": (scale.z_min, scale.z_max), "target": (scale.z_min, scale.z_max)}
    limits.update({channel.role: (channel.z_min, channel.z_max) for channel in model.manifest.inputs})
    return network.state_dict(), limits
