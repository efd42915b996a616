"""What is wrong with settings, in words that never hold a value.

Any text, list or object in a wrong place may hold a password. Only its type is told, and a key only if it looks like
one. The number that is out of a range is told, since a number in its place is no secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

_RANGES = frozenset({"greater_than", "greater_than_equal", "less_than", "less_than_equal"})
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_CLOSE = 0.85


def type_of(value: object) -> str:
    """The type of a JSON value, as a person calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else "text"


Allowed = Callable[[tuple[int | str, ...]], Iterable[str]]


def describe(path: str, error: ValidationError, allowed: Allowed) -> str:
    """Each fault that pydantic found: JSON path, what is allowed, and the type that was found.

    Parameters
    ----------
    path : str
        JSON path of what was validated.
    allowed : callable
        The keys that are allowed at a place.
    """
    return "; ".join(_describe(path, dict(item), allowed) for item in error.errors())


def _describe(path: str, item: Mapping[str, Any], allowed: Allowed) -> str:
    location = item["loc"]
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part if _KEY.fullmatch(part) else '(a key)'}"
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown key; allowed here are {', '.join(sorted(allowed(location[:-1])))}"
    if item["type"] in ("model_type", "dict_type"):
        return f"{path}: expected an object, found {type_of(item['input'])}"
    found = item["input"]
    is_number = item["type"] in _RANGES and isinstance(found, int | float)
    return f"{path}: {item['msg']}, found {f'{found:g}' if is_number else type_of(found)}"


def like(name: str, configuration: Mapping[str, Any]) -> list[str]:
    """Other keys of Orthanc's configuration that are probably meant to be this one, such as one in another case."""

    def close(key: str) -> bool:
        plain, wanted = (re.sub(r"[^a-z]", "", text.lower()) for text in (key, name))
        return difflib.SequenceMatcher(None, plain, wanted).ratio() >= _CLOSE

    return sorted(key for key in configuration if key != name and _KEY.fullmatch(key) and close(key))
