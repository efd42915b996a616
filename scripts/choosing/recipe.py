"""What a run of the choosing network is: one frozen model, changed from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.recipe import WIDE, Channel


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Corruption(_Part):
    """What is changed at random each time a cube is seen; zero switches a term off."""

    mirror_axes: tuple[int, ...] = Field(default=(2,), description="left and right only: the network knows its place")
    bias_field: float = Field(default=0.08, description="SD of the logarithm of each series' own field")
    noise: tuple[float, float] = Field(default=(0.0, 0.03), description="range of the SD, fraction of the brain mean")
    shift_mm: float = Field(default=0.6, description="largest shift of T1, FLAIR and ADC against the T1c, per axis")
    gamma: float = Field(default=0.08, description="SD of the logarithm of an exponent applied to T1 and FLAIR")
    mean_jitter: float = Field(default=0.06, description="SD of the error of the brain mean, in brain SDs")
    sd_jitter: float = Field(default=0.10, description="SD of the logarithm of the error of the brain SD")
    imperfect_mask: float = Field(default=0.6, description="probability of the imperfect brain mask")


class Terms(_Part):
    """Weights of the loss' terms; see `choosing.losses`."""

    cross_entropy: float = 2.0
    dice: float = 0.5
    positive: float = Field(default=5.0, description="weight of a diseased voxel of a 10 mm lesion")
    focus: float = Field(default=0.0, description="exponent of the focal loss; 0: cross-entropy")
    noise: float = 1.0
    enhancement: float = 1.0
    gradient: float = 0.5
    dimming: float = 0.5
    lesion: float = Field(default=5.0, description="weight of a diseased voxel in noise and enhancement, beside 1")


class ChoosingRecipe(_Part):
    """Everything that decides the numbers of a run, besides the patients."""

    name: str = "t1c-pro"
    channels: Annotated[int, Field(ge=4, le=96)] = 32
    levels: Annotated[int, Field(ge=1, le=5)] = 4
    fine: Annotated[int, Field(ge=6, le=64)] = 16
    coordinates: bool = True
    inputs: tuple[Channel, ...] = (
        Channel(role="T1", limits=WIDE),
        Channel(role="FLAIR", limits=(-3.0, 6.0), required=False, dropout=0.25),
        Channel(role="ADC", limits=(-3.0, 6.0), required=False, dropout=0.25),
        Channel(role="T1C", limits=WIDE),
    )
    corruption: Corruption = Corruption()
    terms: Terms = Terms()
    cubes: tuple[tuple[int, int], ...] = Field(
        default=((64, 3), (96, 1)), description="edge in voxels and how many a step; steps take turns"
    )
    lesion_cubes: Annotated[float, Field(ge=0, le=1)] = 0.5
    learning_rate: float = 5e-4
    warm_up: Annotated[int, Field(ge=0)] = 500
    decay_from: int | None = Field(default=None, description="step; None: constant, the length is not decided yet")
    decay_steps: Annotated[int, Field(ge=1)] = 10_000
    gradient_clip: float = 1.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.999
    random_contrast: Annotated[float, Field(ge=0, le=1)] = 0.15
    seed: int = 0


#: What a resumed run may change without being another run.
MAY_CHANGE = frozenset({"decay_from", "decay_steps", "learning_rate", "terms", "corruption", "cubes", "lesion_cubes"})


def changed(recipe: ChoosingRecipe, switches: Sequence[str]) -> ChoosingRecipe:
    """Apply ``name=value`` switches: ``terms.dice=1``, ``cubes=[[64,3]]``.

    Raises
    ------
    ValueError
        If a name is not known or a value not valid; says which.
    """
    content: dict[str, Any] = recipe.model_dump()
    for switch in switches:
        name, sign, text = switch.partition("=")
        *path, last = name.split(".")
        part = content
        for step in path:
            part = part.get(step, {})
        if not sign or last not in part:
            raise ValueError(f"a switch is written name=value, known here are {', '.join(part)}; found {switch!r}")
        try:
            part[last] = json.loads(text)
        except json.JSONDecodeError:
            part[last] = text
    try:
        return ChoosingRecipe.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"not a valid recipe: {faults}") from None
