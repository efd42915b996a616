"""From trained weights to a model folder that the plugin runs: manifest, half-precision weights, card."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import torch

from choosing.checkpoints import Checkpoint, Row
from choosing.curve import COLUMNS, DOSE
from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale
from enhancement.network.weights import write_model

_PLACEHOLDER = Fold(file="fold-0.safetensors", sha256="0" * 64)


def publish(folder: Path, members: Sequence[Checkpoint], *, version: str, notes: str = "") -> Manifest:
    """Write the model folder of one or more networks of one recipe.

    Parameters
    ----------
    folder : Path
    members : sequence of Checkpoint
        Their moving averages are what is published.
    version : str
    notes : str
        Markdown for the card.

    Raises
    ------
    ValueError
        If the members are unlike networks.
    """
    manifests = [describe(member, version) for member in members]
    if any((m.network, m.inputs) != (manifests[0].network, manifests[0].inputs) for m in manifests):
        raise ValueError("members of one model must be the same network with the same inputs; publish them apart")
    provenance = {
        "data": "simulated patients on the anatomies of real heads",
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "recipe": members[0].recipe.model_dump(mode="json"),
        "folds": [
            {"seed": m.recipe.seed, "steps": m.step, "hours": round(m.seconds / 3600, 1), "patients": m.patients}
            for m in members
        ],
    }
    metrics = {f"fold-{i}": m.curve[-1] for i, m in enumerate(members) if m.curve}
    manifest = manifests[0].model_copy(update={"provenance": provenance, "metrics": metrics})
    return write_model(folder, manifest, [m.average for m in members], card=model_card(manifest, members, notes))


def describe(member: Checkpoint, version: str) -> Manifest:
    """The manifest of a network before there are files."""
    recipe = member.recipe
    inputs = []
    for channel in recipe.inputs:
        assert channel.limits is not None
        low, high = channel.limits
        inputs.append(InputChannel(role=channel.role, z_min=low, z_max=high, required=channel.required))
    network = NetworkShape(
        kind="half-resolution",
        in_channels=len(inputs),
        channels=recipe.channels,
        levels=recipe.levels,
        head="answers",
        options={"fine": recipe.fine, "coordinates": recipe.coordinates},
    )
    output = OutputScale(z_min=inputs[-1].z_min, z_max=inputs[-1].z_max, reference="T1C", dose_factor=DOSE)
    return Manifest(
        name=recipe.name,
        version=version,
        recipe=recipe.name,
        network=network,
        inputs=tuple(inputs),
        output=output,
        folds=(_PLACEHOLDER,),
    )


def model_card(manifest: Manifest, members: Sequence[Checkpoint], notes: str) -> str:
    """MODEL_CARD.md: what it is, how it was trained, how it came to be as good as it is."""
    recipe = members[0].recipe
    trained = "\n".join(
        f"- seed {m.recipe.seed}: {m.step:,} steps, {m.patients:,} simulated patients." for m in members
    )
    cubes = " and ".join(f"{count} cubes of {edge}" for edge, count in recipe.cubes)
    return f"""# {manifest.name} {manifest.version}

Shows enhancing disease in a post-contrast T1 as if about {manifest.output.dose_factor:g} times the dose had been given,
and everything else as acquired, with less noise. The network says where disease is, what is noise and how much the
agent added; the two acquired series decide how much may be added at most (`imaging/amplify.py`).

Research software. Not a medical device; no reader has judged its images, no patient was part of its training.

## How it was trained

- Network: half resolution, {recipe.channels} channels, {recipe.levels} levels, {recipe.fine} channels at full
  resolution; it knows where each voxel lies on the atlas: {"yes" if recipe.coordinates else "no"}.
- Adam at {recipe.learning_rate:g}; a step sees {cubes}.
{trained}

## Learning curve

{curve_table(members[0].curve)}
{notes}
"""


def curve_table(curve: Sequence[Row]) -> str:
    """The learning curve as Markdown."""
    columns = [name for name in COLUMNS if curve and name in curve[-1]]
    if not columns:
        return "Not measured yet.\n"
    head = f"| step | {' | '.join(columns)} |\n|{'-|' * (len(columns) + 1)}\n"
    missing = float("nan")
    lines = (
        f"| {int(row['step']):,} | {' | '.join(f'{float(row.get(name, missing)):.3g}' for name in columns)} |"
        for row in curve
    )
    return head + "\n".join(lines) + "\n"
