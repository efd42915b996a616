"""What a model folder says about itself: manifest.json, as frozen models."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT = 1
MANIFEST = "manifest.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkShape(_Part):
    """Which network the weights are of.

    `kind` is one of `network.architectures`. The size of the input, the width at full resolution and the head are
    common to all kinds; `levels` and `convolutions` (in a block) are of those that have them, and what only one kind
    has is in `options`.
    """

    kind: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")] = "residual-unet"
    in_channels: Annotated[int, Field(ge=1, le=16)] = 4
    channels: Annotated[int, Field(ge=1, le=64)] = 16
    levels: Annotated[int, Field(ge=1, le=6)] = 5
    convolutions: Annotated[int, Field(ge=1, le=4)] = 2
    head: Literal["sigmoid", "residual", "gain", "logit", "answers"] = "sigmoid"
    options: dict[str, bool | int | float | str] = {}


class InputChannel(_Part):
    """One input volume and the z-scores that become 0 and 1."""

    role: str
    z_min: float
    z_max: float
    percentiles: tuple[float, float] | None = None
    required: bool = True


class Bound(_Part):
    """What of a prediction is shown; the arguments of `imaging.measured_enhancement.limit_to_measured`."""

    gain: Annotated[float, Field(gt=0)]
    noise_sds: Annotated[float, Field(ge=0)]
    voxel_noise_sds: Annotated[float, Field(ge=0)]
    faint: Annotated[float, Field(ge=0)]
    plain: Annotated[float, Field(gt=0)]
    bright: Annotated[float, Field(gt=0)]
    plain_part: Annotated[float, Field(ge=0, le=1)]

    @model_validator(mode="after")
    def _has_ramps(self) -> Bound:
        if not self.faint < self.plain < self.bright:
            raise ValueError(
                f"faint, plain and bright must rise, found {self.faint:g}, {self.plain:g} and {self.bright:g}"
            )
        return self


class OutputScale(_Part):
    """How a prediction becomes an intensity again.

    `reference` names the input whose brain mean and SD give the unit back; `dose_factor` is the multiple of
    the input's dose that the network was trained to show (in the published recipe: the ratio of its training doses).
    `bound` limits what is shown of it; without one all is.
    """

    z_min: float = 0.0
    z_max: float = 1.0
    reference: str = "T1C"
    dose_factor: float = 1.0
    bound: Bound | None = None


class Grid(_Part):
    """The grid that the network was trained on; sizes and origin are (x, y, z)."""

    template: str = "ICBM 2009a nonlinear symmetric"
    size: tuple[int, int, int] = (160, 192, 160)
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    crop_origin: tuple[int, int, int] | None = (18, 20, 0)


class Preprocessing(_Part):
    """Which definition of the preprocessing the weights belong to.

    The version is raised when the same images give the network other numbers by design: weights that were trained on
    the former ones are then refused. A brain mask that reaches a little farther is no other definition.
    """

    version: Literal[1] = 1
    bias_field: bool = True


class Fold(_Part):
    """One weight file."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(_Part):
    """The whole of manifest.json.

    `digest` identifies the model: two folders with the same digest give the same images. It covers everything
    but itself, `metrics` and `provenance`, so that a new measurement does not make a new model.
    """

    format: Literal[1] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    version: str
    recipe: str
    network: NetworkShape
    inputs: Annotated[tuple[InputChannel, ...], Field(min_length=1)]
    output: OutputScale
    grid: Grid = Grid()
    preprocessing: Preprocessing = Preprocessing()
    folds: Annotated[tuple[Fold, ...], Field(min_length=1)]
    digest: str = ""
    provenance: dict[str, Any] = {}
    metrics: dict[str, Any] = {}

    @model_validator(mode="after")
    def _can_be_bound(self) -> Manifest:
        if self.output.bound is not None and "T1" not in [channel.role for channel in self.inputs]:
            raise ValueError("a bound is found from T1 and T1C, and the inputs hold no T1")
        return self

    def expected_digest(self) -> str:
        """SHA-256 over the canonical JSON of what defines the predictions."""
        content = self.model_dump(mode="json", exclude={"digest", "metrics", "provenance"})
        if self.output.bound is None:  # models of before there were bounds keep their digest
            del content["output"]["bound"]
        if not self.network.options:  # as those of before there were options
            del content["network"]["options"]
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()
