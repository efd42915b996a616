"""Changing a preset from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence, Set
from typing import Any

from pydantic import ValidationError

from training.recipe import DOSES, PRESETS, SIMULATED, Recipe


def change(preset: str, switches: Sequence[str]) -> Recipe:
    """Apply ``name=value`` switches to a preset.

    Parameters
    ----------
    preset : str
    switches : sequence of str
        ``steps=100``, ``loss.ssim=0.1``, ``doses.target_volume=t1c_2``, ``patch=none``; ``inputs=T1,T1C`` keeps a
        subset, ``dropout.FLAIR=0.3`` changes one input's, which then may be missing in use, too. With another input
        or target volume `dose_factor` becomes the ratio of their doses, where it is not given.

    Raises
    ------
    ValueError
        If the preset or a name is not known, or a value is not valid; says which.

    Examples
    --------
    >>> change("t1c-pro", ["channels=16", "loss.l1=0.5", "inputs=T1,T1C"]).channels
    16
    >>> change("t1c-pro", ["decay=none", "patch=none"]).decay
    'none'
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, found {preset!r}")
    recipe = PRESETS[preset]
    content: dict[str, Any] = recipe.model_dump()
    roles: tuple[str, ...] | None = None
    for switch in switches:
        name, sign, text = switch.partition("=")
        if not sign:
            raise ValueError(f"a switch is written name=value, found {switch!r}")
        if name == "inputs":
            roles = tuple(part.strip().upper() for part in text.split(","))
        elif name.startswith("dropout."):
            _drop(content, name.removeprefix("dropout."), float(text))
        else:
            _assign(content, name, _value(text))
    try:
        changed = Recipe.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"not a valid recipe: {faults}") from None
    changed = changed if roles is None else changed.only_inputs(roles)
    if changed.head == "gain" and "T1" not in [channel.role for channel in changed.inputs]:
        raise ValueError("head=gain needs the inputs T1 and T1C; without T1 choose head=residual")
    if changed.loss.difference and "T1" not in [channel.role for channel in changed.inputs]:
        raise ValueError("loss.difference compares the target with T1, and the inputs hold no T1")
    return _with_dose_factor(changed, {switch.partition("=")[0] for switch in switches})


def _with_dose_factor(recipe: Recipe, switched: Set[str]) -> Recipe:
    """The factor that the manifest will state, from the doses of the two volumes; a preset's own stays."""
    doses = recipe.doses
    for volume in (doses.input_volume, doses.target_volume):
        if volume.startswith("t1c") and volume not in DOSES:
            raise ValueError(f"a T1c must be one of {', '.join(DOSES)}, found {volume!r}")
    if not {doses.input_volume, doses.target_volume} <= DOSES.keys():
        return recipe
    factor = DOSES[doses.target_volume] / DOSES[doses.input_volume]
    if "doses.dose_factor" in switched:  # a site's low dose is its own affair; the simulator's doses are known
        if doses.target_volume in SIMULATED and doses.dose_factor != factor:
            raise ValueError(
                f"doses.dose_factor must be {factor:g} from {doses.input_volume} to {doses.target_volume}, "
                f"found {doses.dose_factor:g}; leave it out"
            )
        return recipe
    if not {"doses.input_volume", "doses.target_volume"} & switched:
        return recipe
    return recipe.model_copy(update={"doses": doses.model_copy(update={"dose_factor": factor})})


def _drop(content: dict[str, Any], role: str, probability: float) -> None:
    channel = _channel(content, role)
    if probability > 0 and role in ("T1", "T1C"):
        raise ValueError(f"{role} cannot be dropped: the plugin enhances no study without it")
    channel["dropout"] = probability
    channel["required"] = channel["required"] and probability == 0


def _assign(content: dict[str, Any], name: str, value: Any) -> None:
    *path, last = name.split(".")
    for part in path:
        content = content.get(part, {})
    if last not in content:
        raise ValueError(f"unknown switch {name!r}; known here: {', '.join(content) or 'nothing'}")
    # "none" is a word of its own where the present value is one: decay=none.
    content[last] = "none" if value is None and isinstance(content[last], str) else value


def _channel(content: dict[str, Any], role: str) -> dict[str, Any]:
    for channel in content["inputs"]:
        if channel["role"] == role:
            found: dict[str, Any] = channel
            return found
    raise ValueError(f"no input {role!r} to drop")


def _value(text: str) -> Any:
    if text.lower() in ("none", "null"):
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
