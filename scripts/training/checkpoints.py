"""Checkpoints that survive a kill at any moment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.recipe import Recipe

FILE = "checkpoint.pt"


@dataclass
class Checkpoint:
    """All that a run needs to go on as if nothing had happened.

    Samples are a function of the step, so no random state is kept beside the weights.
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
