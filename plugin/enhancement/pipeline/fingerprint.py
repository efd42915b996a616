"""What makes two runs the same run: source instances, their roles, model, and the settings that change the pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from enhancement.recipes.base import Recipe
from enhancement.settings import Role, Settings

# Raise it when the same inputs, model and settings would give other pixels.
METHOD_VERSION = 2

_WITHOUT_EFFECT = frozenset({"KeepSuperseded", "WhenSourceGone", "Label", "HdBetFolder"})


def fingerprint(source_sop_instance_uids: Iterable[str], model_digest: str, what_matters: Mapping[str, object]) -> str:
    """Hash the inputs of one run.

    Parameters
    ----------
    source_sop_instance_uids : iterable of str
        Every instance of the series that the matching chose; order and repetition do not matter.
    model_digest : str
        The digest of the model's manifest.
    what_matters : mapping
        From `settings_that_matter`.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    content = {
        "sources": sorted(set(source_sop_instance_uids)),
        "model": model_digest,
        "settings": dict(what_matters),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def settings_that_matter(
    settings: Settings, recipe: Recipe, roles: Mapping[Role, str | tuple[str, ...]]
) -> dict[str, object]:
    """What changes the stored pixels or their headers besides sources and model, as JSON values.

    A longer queue, another device or another port must not bring every study of the archive back. A corrected rule that
    gives the same two series the opposite roles must.

    Parameters
    ----------
    recipe : Recipe
        As the site has set it.
    roles : mapping
        `StudyMatch.roles`: the SeriesInstanceUIDs that play each role.
    """
    stages = settings.model_dump(mode="json", by_alias=True)
    chosen: dict[str, Any] = {
        "Method": METHOD_VERSION,
        "Model": {key: stages["Model"][key] for key in ("Folds", "Mirrorings", "Precision")},
        "Roles": {str(role): _uids(roles[role]) for role in recipe.inputs if role in roles},
    }
    for stage in ("Preprocessing", "Output", "Gate"):
        chosen[stage] = {key: value for key, value in stages[stage].items() if key not in _WITHOUT_EFFECT}
    chosen["Output"] |= {"SeriesDescription": recipe.words.series_description}
    if own := recipe.own.model_dump(mode="json"):
        chosen["Recipe"] = own
    return chosen


def _uids(found: str | tuple[str, ...]) -> list[str]:
    return [found] if isinstance(found, str) else sorted(found)
