"""The picture docs/architecture.svg, drawn from the code: the layers, their packages, and who imports whom.

A box is a package or a module of the plugin. It holds its docstring's first line, its modules by room, and what it
imports directly. Boxes of one row never import each other; a row imports only rows below it.
"""

from __future__ import annotations

import ast
import math
import textwrap
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "docs" / "architecture.svg"
_PLUGIN = "enhancement"

_WIDTH, _MARGIN, _GAP, _LINE = 1180, 14, 10, 15
_CHARACTER = 5.75  # mean width of one at 11 px
_COLOURS = ("#eef3fb", "#fdf3e7", "#eef7ee", "#f6eefb", "#fbeeee", "#eef7f7")


@dataclass(frozen=True)
class Box:
    """One package or module of a layer."""

    name: str
    summary: str
    rooms: tuple[tuple[str, tuple[str, ...]], ...]
    uses: tuple[str, ...]

    def lines(self, width: float) -> list[tuple[str, str]]:
        """(style, text) of each line that a box of this width, in pixels, has below its name."""
        columns = int((width - 2 * _GAP) / _CHARACTER)
        found = [("summary", line) for line in textwrap.wrap(self.summary, columns)]
        for room, modules in self.rooms:
            words = f"{room}/ " if room else ""
            found += [("module", line) for line in textwrap.wrap(words + ", ".join(modules), columns)]
        uses = f"imports {', '.join(self.uses)}" if self.uses else "imports nothing of ours"
        return found + [("uses", line) for line in textwrap.wrap(uses, columns)]


def rows() -> list[list[Box]]:
    """The layers from top to bottom, the command lines first."""
    graph = grimp.build_graph(_PLUGIN, cache_dir=None)
    layers = [[part.strip() for part in layer.split("|")] for layer in _layers()]
    tops = [name for layer in layers for name in layer]
    return [[_scripts()], *([_box(graph, name, tops) for name in layer] for layer in layers)]


def _layers() -> list[str]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return next(list(contract["layers"]) for contract in contracts if contract["name"] == "one way only")


def _box(graph: grimp.ImportGraph, name: str, tops: Iterable[str]) -> Box:
    modules = {name} | graph.find_descendants(name)
    imported = {found for module in modules for found in graph.find_modules_directly_imported_by(module)}
    uses = [top for top in tops if top != name and any(f"{found}.".startswith(f"{top}.") for found in imported)]
    path = ROOT / "plugin" / name.replace(".", "/")
    return Box(_short(name), _summary(path), _rooms(path), tuple(map(_short, uses)))


def _scripts() -> Box:
    path = ROOT / "scripts"
    lines = tuple(sorted(found.stem for found in path.glob("*.py")))
    rooms = (("", lines), *((room.name, _modules(room)) for room in sorted(path.iterdir()) if _is_package(room)))
    return Box("scripts/", "The command lines, and what only they need.", rooms, ("the plugin",))


def _rooms(path: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    if not path.is_dir():
        return ()
    inner = [(room.name, _modules(room)) for room in sorted(path.iterdir()) if _is_package(room)]
    own = _modules(path)
    return tuple(([("", own)] if own else []) + inner)


def _modules(path: Path) -> tuple[str, ...]:
    return tuple(sorted(found.stem for found in path.glob("*.py") if found.stem != "__init__"))


def _is_package(path: Path) -> bool:
    return (path / "__init__.py").exists()


def _summary(path: Path) -> str:
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return (ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or "").partition("\n")[0].replace("`", "")


def _short(name: str) -> str:
    return name.removeprefix(f"{_PLUGIN}.")


def draw(layers: list[list[Box]]) -> str:
    """The picture as SVG."""
    parts, top = [], float(_MARGIN)
    for number, layer in enumerate(layers):
        drawn, height = _draw_row(layer, top, _COLOURS[number % len(_COLOURS)])
        parts += drawn
        top += height + _GAP
    style = (
        "text{font-family:Helvetica,Arial,sans-serif;font-size:11px;fill:#222}"
        ".name{font-size:14px;font-weight:bold}.room{font-weight:bold}.summary{font-style:italic;fill:#444}.uses{fill:#777}"
        "rect{stroke:#99a;stroke-width:1}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top:.0f}" role="img">'
    title = "<title>The layers of the code: each imports only what is below it</title>"
    back = f'<rect x="0" y="0" width="{_WIDTH}" height="{top:.0f}" style="fill:#fff;stroke:none"/>'
    return "\n".join([head, title, f"<style>{style}</style>", back, *parts, "</svg>"]) + "\n"


def _draw_row(layer: list[Box], top: float, colour: str) -> tuple[list[str], float]:
    """The boxes of one row beside each other, the wider the more they have to say, and the row's height."""
    widths = _widths(layer)
    texts = [box.lines(width) for box, width in zip(layer, widths, strict=True)]
    height = max(len(lines) for lines in texts) * _LINE + 32.0
    parts, left = [], float(_MARGIN)
    for box, width, lines in zip(layer, widths, texts, strict=True):
        parts.append(
            f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{height:.0f}" rx="5" fill="{colour}"/>'
        )
        parts.append(_text(left, top + 19, "name", box.name))
        parts += [_text(left, top + 37 + i * _LINE, style, line) for i, (style, line) in enumerate(lines)]
        left += width + _GAP
    return parts, height


def _widths(layer: list[Box]) -> list[float]:
    room = _WIDTH - 2 * _MARGIN - _GAP * (len(layer) - 1)
    letters = [len(box.summary) + sum(len(name) for _, modules in box.rooms for name in modules) for box in layer]
    weights = [math.sqrt(count) for count in letters]
    return [room * weight / sum(weights) for weight in weights]


def _text(left: float, top: float, style: str, words: str) -> str:
    room, slash, rest = words.partition("/") if style == "module" else ("", "", "")
    marked = f'<tspan class="room">{escape(room)}/</tspan>{escape(rest)}' if slash else escape(words)
    return f'<text x="{left + _GAP:.0f}" y="{top:.0f}" class="{style}">{marked}</text>'
