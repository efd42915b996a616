"""Checkpoints that survive a kill at any moment, and half-precision weights to go on from on another machine."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from safetensors.torch import save as save_safetensors
from torch import Tensor

from choosing.recipe import ChoosingRecipe

FILE = "checkpoint.pt"
WEIGHTS, RECORD = "weights.safetensors", "training.json"
Row = dict[str, float | str]


@dataclass
class Checkpoint:
    """All that a run needs to go on.

    Attributes
    ----------
    recipe : ChoosingRecipe
    step : int
    seconds : float
        Of training so far.
    patients : int
        Made so far.
    network, average : state dicts
        As trained, and its moving average, which is what is used.
    optimiser : dict
    curve : list of rows
        The learning curve: what `choosing.curve` measured now and then.
    """

    recipe: ChoosingRecipe
    step: int
    seconds: float
    patients: int
    network: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Any]
    curve: list[Row] = field(default_factory=list)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write, flush to the disk, then rename: whoever reads finds the old one or the new one, never half."""
    content = dict(vars(checkpoint))
    content["recipe"] = checkpoint.recipe.model_dump_json()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)


def load(path: Path) -> Checkpoint:
    """Read what `save` wrote.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    content = torch.load(path, map_location="cpu", weights_only=True)
    content["recipe"] = ChoosingRecipe.model_validate_json(content["recipe"])
    return Checkpoint(**content)


def export(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the moving average in half precision, and beside it what a person and another machine must know.

    Parameters
    ----------
    checkpoint : Checkpoint
    folder : Path
        Gets weights.safetensors and training.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: value.to(torch.float16).contiguous() for name, value in checkpoint.average.items()}
    partial = folder / (WEIGHTS + ".part")
    partial.write_bytes(save_safetensors(half))
    partial.replace(folder / WEIGHTS)
    record = {
        "steps": checkpoint.step,
        "hours": round(checkpoint.seconds / 3600, 2),
        "patients": checkpoint.patients,
        "curve": checkpoint.curve,
        "recipe": checkpoint.recipe.model_dump(mode="json"),
    }
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def import_weights(folder: Path) -> Checkpoint:
    """What `export` wrote, as a checkpoint without optimiser: the moving average is where training goes on from.

    Raises
    ------
    FileNotFoundError
        If the files are not there.
    """
    record = json.loads((folder / RECORD).read_text())
    weights = {name: value.float() for name, value in load_file(folder / WEIGHTS).items()}
    copy = {name: value.clone() for name, value in weights.items()}
    recipe = ChoosingRecipe.model_validate(record["recipe"])
    seconds = 3600 * float(record["hours"])
    return Checkpoint(recipe, record["steps"], seconds, record["patients"], weights, copy, {}, record["curve"])
