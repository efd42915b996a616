"""Lets a site's own script and ours live in one Orthanc, which gives each callback to one script only.

From `install` on, every script may call ``orthanc.RegisterOnChangeCallback`` and ``orthanc.ExtendOrthancExplorer``, in
any order. Each change goes to all of them, and an exception of one stops no other. Routes need nothing: Orthanc keeps
all of them. Only the standard library is imported.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Changed = Callable[..., object]


class CallbackTaken(RuntimeError):
    """Another script has registered for changes before ours was loaded, without the chain."""


def install(sdk: Any) -> None:
    """Put the chain in the place of the two functions of `sdk`, the module ``orthanc``."""
    register, extend = sdk.RegisterOnChangeCallback, sdk.ExtendOrthancExplorer
    callbacks: list[Changed] = []
    scripts: list[str] = []

    def changed(*change: Any) -> None:
        for callback in callbacks:
            try:
                callback(*change)
            except Exception as error:  # of one script, which must not keep the change from the others
                sdk.LogError(f"A callback of {callback.__module__} failed: {type(error).__name__}: {error}")

    def register_on_change(callback: Changed) -> None:
        if not callbacks:
            try:
                register(changed)
            except RuntimeError as error:
                raise CallbackTaken(str(error)) from None
        callbacks.append(callback)

    def extend_explorer(script: str) -> None:
        scripts.append(script)
        extend("\n;\n".join(scripts))

    sdk.RegisterOnChangeCallback = register_on_change
    sdk.ExtendOrthancExplorer = extend_explorer


def load_script(path: Path) -> None:
    """Run a site's own script as Orthanc would: under its own name, with its folder on the path.

    Its folder comes last: a ``queue.py`` in it would else take the place of Python's.

    Raises
    ------
    Exception
        Whatever the script raises.
    """
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    name = path.stem if path.stem not in sys.modules else f"site_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is no Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
