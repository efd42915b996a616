"""What makes two runs the same run: source instances, model, and the settings that change the pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from enhancement.settings import Settings

# Raise it when the same inputs, model and settings would give other pixels.
METHOD_VERSION = 1


def fingerprint(source_sop_instance_uids: Iterable[str], model_digest: str, settings: Settings) -> str:
    """Hash the inputs of one run.

    Parameters
    ----------
    source_sop_instance_uids : iterable of str
        Every instance of the series that the matching chose; order and repetition do not matter.
    model_digest : str
        The digest of the model's manifest.
    settings : Settings
        Only what changes the stored result takes part (`settings_that_matter`): a longer queue, another device or
        another port must not bring every study of the archive back.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    content = {
        "method": METHOD_VERSION,
        "sources": sorted(set(source_sop_instance_uids)),
        "model": model_digest,
        "settings": settings_that_matter(settings),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def settings_that_matter(settings: Settings) -> dict[str, object]:
    """The settings that change the stored pixels or their headers, as JSON values."""
    stages = settings.model_dump(mode="json", by_alias=True)
    model = stages.get("Model", {})
    chosen: dict[str, object] = {
        "Model": {key: model[key] for key in ("Folds", "Mirrorings", "Precision") if key in model}
    }
    for stage in ("Preprocessing", "Output", "Imaging", "Gate", "Quality"):
        if stage in stages:
            chosen[stage] = {key: value for key, value in stages[stage].items() if key not in _WITHOUT_EFFECT}
    return chosen


_WITHOUT_EFFECT = frozenset({"KeepSuperseded", "HdBetFolder"})
