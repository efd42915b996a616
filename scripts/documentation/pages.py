"""The tables of docs/rest.md and docs/settings.md, made from the routes and the settings that the code has."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from enhancement.settings import Limit, Rules, Settings
from enhancement.web.routes import ROUTES, Body, Query

DOCS = Path(__file__).resolve().parents[2] / "docs"
START, END = "<!-- written by scripts/document.py -->", "<!-- end of what is written by scripts/document.py -->"

_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}


def routes_page() -> str:
    """Two tables: what each route does and who may use it, and what it takes."""
    routes = [[f"`{r.method} /enhancement{r.path}`", str(r.right), r.summary] for r in ROUTES]
    taken = [
        [f"`{route.method} {route.path}`", f"`{name}`", where, _default(field), field.description or ""]
        for route in ROUTES
        for where, model in (("query", route.query), ("body", route.body))
        for name, field in _fields(model)
    ]
    return "\n\n".join(
        [
            _table(["Route", "Right", "What it does"], routes),
            "## What routes take",
            _table(["Route", "Name", "Where", "Default", "Meaning"], taken),
        ]
    )


def settings_page() -> str:
    """A table for each section of the settings."""
    parts = [_settings_table(Settings)]
    for name, field in Settings.model_fields.items():
        model = _model_of(field)
        if model is not None:
            parts += [f"## {field.alias or name}", *_introduction(field, model), _settings_table(model)]
    return "\n\n".join(parts)


def _introduction(field: FieldInfo, model: type[BaseModel]) -> list[str]:
    """What a section is for; of a list of sections also that it is one, and what it holds by default."""
    if not isinstance(field.default, tuple):
        return [_words(model)]
    return [f"{field.description} By default {_default(field)}. Each entry of this list:"]


def _settings_table(model: type[BaseModel]) -> str:
    schema = model.model_json_schema(by_alias=True)
    rows = [
        [
            f"`{field.alias or name}`",
            _default(field),
            _allowed(schema["properties"][field.alias or name], schema.get("$defs", {})),
            field.description or "",
        ]
        for name, field in model.model_fields.items()
        if _model_of(field) is None
    ]
    return _table(["Key", "Default", "Allowed", "Meaning"], rows)


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a key opens, also one of a list of them; None for a plain value."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if inspect.isclass(kind) and issubclass(kind, BaseModel) and kind not in (Limit, Rules):
            return kind
    return None


def _allowed(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a JSON schema allows, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {"Limit": "`Soft` and `Hard`: number or null", "Rules": "[rules](#how-rules-are-written)"}.get(
            name
        ) or _allowed(definitions[name], definitions)
    if "anyOf" in schema:
        return " or ".join(_allowed(option, definitions) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_allowed(schema['items'], definitions)}"
    word = _WORDS.get(schema.get("type", ""), schema.get("type", "anything"))
    return ", ".join([word if schema.get("format") != "path" else "path", *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    names = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "maxLength": "at most"}
    for key, words in names.items():
        if key in schema:
            yield f"{words} {schema[key]:g}{' characters' if key == 'maxLength' else ''}"
    if "pattern" in schema:
        yield f"`{schema['pattern']}`"


def _fields(model: type[Body] | type[Query]) -> list[tuple[str, FieldInfo]]:
    return list(model.model_fields.items())


def _default(field: FieldInfo) -> str:
    nothing = field.is_required() or field.default == ()
    return "" if nothing else f"`{json.dumps(_plain(field.default))}`"


def _plain(value: Any) -> Any:
    """A default as it is written in JSON."""
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True, mode="json")
    if isinstance(value, Enum) and not isinstance(value, str):
        return value.name.lower()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _words(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").replace("``", "`")


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["-"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def pages() -> dict[Path, str]:
    """Each page with its marked part written anew."""
    return {path: _renewed(path, content()) for path, content in _PAGES.items()}


_PAGES = {DOCS / "rest.md": routes_page, DOCS / "settings.md": settings_page}


def _renewed(path: Path, content: str) -> str:
    before, _, rest = path.read_text(encoding="utf-8").partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n\n{content}\n\n{END}{after}"
