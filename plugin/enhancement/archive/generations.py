"""Every difference between the Orthanc generations that we run on, and nothing else.

Debian 12 brings Orthanc 1.10.1 with Python plugin 4.0, Debian 13 Orthanc 1.12.7 with plugin 5.0. Both are tried.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from typing import Any


def send_json(output: Any, status: int, body: bytes) -> None:
    """Answer with a status and a JSON body.

    From plugin 4.2 on `SendHttpStatus` takes (status, body); before, (status, text, length), and two arguments
    are a TypeError.
    """
    if status == 200:
        output.AnswerBuffer(body, "application/json")
        return
    output.SetHttpHeader("Content-Type", "application/json")
    try:
        output.SendHttpStatus(status, body)
    except TypeError:
        output.SendHttpStatus(status, body.decode("ascii"), len(body))


def has_labels(system: Mapping[str, Any]) -> bool:
    """Whether studies can carry labels (Orthanc 1.12.0), from the answer to GET /system."""
    return bool(system.get("HasLabels", False))


Release = Callable[[Mapping[str, Any]], None]


def request_releaser(sdk: Any) -> Release:
    """What gives back the references that plugin 4.0 forgets with every REST request.

    Before 4.1 the plugin never lets go of a request's method, headers, arguments and body: measured, 1 KB with every
    request and all of every body, for as long as Orthanc runs. The function returned must be the first to see the
    request. Later plugins, and a Python other than the one that this was measured on, get one that does nothing.
    """
    measured = sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 11)
    if hasattr(sdk, "RegisterStorageCommitmentScpCallback") or not measured:
        return lambda _request: None
    try:
        let_go = ctypes.pythonapi.Py_DecRef
    except (AttributeError, OSError):
        return lambda _request: None
    let_go.argtypes, let_go.restype = [ctypes.py_object], None

    def release(request: Mapping[str, Any]) -> None:
        for name in ("headers", "get"):
            _release(request.get(name, {}), 1, let_go)  # held by this dictionary and, in vain, by the plugin
        _release(request, 3, let_go)  # by our keywords, twice by the call itself and, in vain, by the plugin

    return release


def _release(holder: Mapping[str, Any], excess: int, let_go: Callable[[Any], None]) -> None:
    """Let go of each value that has exactly so many references more than a value held by one dictionary alone.

    That leaves out what Python shares (empty and one-letter texts), and everything if the plugin is a mended one.
    """
    expected = _references({"": object()}, "") + excess
    for key in holder:
        if _references(holder, key) == expected:
            let_go(holder[key])


def _references(holder: Mapping[str, Any], key: str) -> int:
    return sys.getrefcount(holder[key])
