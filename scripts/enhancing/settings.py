"""Settings of a run without Orthanc: those of orthanc.json, with changes from the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from enhancement.errors import SettingsError
from enhancement.settings import SECTION, Settings, parse_settings

REPOSITORY = Path(__file__).resolve().parents[2]


def settings_for(
    config: Path | None, changes: Sequence[str], *, brain_extracted: bool, recipe: str = ""
) -> tuple[Settings, Path]:
    """Read the section, apply KEY=VALUE changes, and say where its relative paths start.

    Parameters
    ----------
    config : Path, optional
        An orthanc.json; the built-in settings by default.
    changes : sequence of str
        Such as ``Model.Folds=1``; values are JSON where they can be read so, else text.
    brain_extracted : bool
        Sets BrainExtractor to "none".
    recipe : str
        Offered besides those of the configuration.

    Raises
    ------
    SettingsError
        If the file or a key is wrong.
    """
    section: dict[str, Any] = {}
    if config is not None:
        try:
            section = json.loads(_without_comments(config.read_text(encoding="utf-8"))).get(SECTION, {})
        except (OSError, ValueError, AttributeError) as error:
            raise SettingsError(f"{config.name} is not a readable orthanc.json: {error}") from None
    for change in changes:
        key, separator, value = change.partition("=")
        if not separator:
            raise SettingsError(f"--set needs KEY=VALUE, found {change!r}")
        _put(section, key.removeprefix(f"{SECTION}.").split("."), value)
    if brain_extracted:
        _put(section, ["Preprocessing", "BrainExtractor"], "none")
    offered = section.get("Recipes", [])
    if recipe and isinstance(offered, list) and {"Name": recipe} not in [_name(entry) for entry in offered]:
        section["Recipes"] = [*offered, {"Name": recipe}]
    return parse_settings(section), REPOSITORY if config is None else config.resolve().parent


def _name(entry: Any) -> dict[str, Any]:
    return {"Name": entry.get("Name")} if isinstance(entry, dict) else {}


def _put(section: dict[str, Any], path: Sequence[str], value: str) -> None:
    for name in path[:-1]:
        section = section.setdefault(name, {})
    try:
        section[path[-1]] = json.loads(value)
    except ValueError:
        section[path[-1]] = value


def _without_comments(text: str) -> str:
    """Orthanc takes // and /* */ comments in its configuration; JSON does not."""
    kept, inside_text, i = [], False, 0
    while i < len(text):
        pair = text[i : i + 2]
        if not inside_text and pair in ("//", "/*"):
            end = text.find("\n" if pair == "//" else "*/", i)
            i = len(text) if end < 0 else end + (0 if pair == "//" else 2)
            continue
        if inside_text and text[i] == "\\":
            kept.append(pair)
            i += 2
            continue
        inside_text ^= text[i] == '"'
        kept.append(text[i])
        i += 1
    return "".join(kept)
