"""Changing a preset from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from training.recipe import PRESETS, Recipe


def change(preset: str, switches: Sequence[str]) -> Recipe:
    """Apply ``name=value`` switches to a preset.

    Parameters
    ----------
    preset : str
    switches : sequence of str
        ``steps=100``, ``loss.ssim=0.1``, ``doses.target_volume=t1c_2``, ``patch=none``; ``inputs=T1,T1C`` keeps a
        subset, ``dropout.FLAIR=0.3`` changes one input's.

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
            _channel(content, name.removeprefix("dropout."))["dropout"] = float(text)
        else:
            _assign(content, name, _value(text))
    try:
        changed = Recipe.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ValueError(f"not a valid recipe: {faults}") from None
    return changed if roles is None else changed.only_inputs(roles)


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
