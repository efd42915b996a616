"""The differences between the Orthanc generations that we run on, all of them and nothing else.

Debian 12 brings Orthanc 1.10.1 with Python plugin 4.0. Debian 13 brings Orthanc 1.12.7 with plugin 5.0. Both are
tested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from enhancement.host import forgotten_references


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


def request_releaser(sdk: Any) -> Callable[[Mapping[str, Any]], None]:
    """What gives back the references that plugin 4.0 forgets with every REST request; with others, nothing.

    The function returned must be the first to see the request.
    """
    if not forgotten_references.is_measured(sdk):
        return lambda _request: None
    try:
        return forgotten_references.Returning(forgotten_references.decref())
    except (AttributeError, OSError):
        return lambda _request: None
