"""The graph of imports: no circle anywhere, not even one that only type checkers see."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]


def _packages() -> list[str]:
    """The plugin's package, and each of the scripts'."""
    scripts = sorted(path.parent.name for path in (ROOT / "scripts").glob("*/__init__.py"))
    return ["enhancement", *scripts]


def test_no_circle_of_imports() -> None:
    """Modules that need each other are one module, or lack a third; grimp counts imports for type checkers as well."""
    packages = _packages()
    graph = grimp.build_graph(*packages, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise AssertionError(f"a circle of imports: {circle}") from None
