"""Requests and answers: the plain values that pass between an HTTP door and the service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from enhancement.errors import Problem


@dataclass(frozen=True)
class Request:
    """One HTTP request. Names of headers are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """The status and the JSON body of an answer; `headers` come besides the security headers that every answer has."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The body as UTF-8 JSON, with nothing that a browser could take for markup."""
        text = json.dumps(self.body, indent=1, default=str, ensure_ascii=True)
        return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").encode("ascii")


def problem_answer(status: int, problem: Problem, **headers: str) -> Answer:
    """The answer to a request that was not done."""
    return Answer(status, problem.to_json(), headers)
