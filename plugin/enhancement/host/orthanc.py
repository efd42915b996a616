"""The Orthanc process that we run in. Besides main.py, no other module knows the `orthanc` API.

Differences between plugin versions are in `generations`. No call here may be slow: plugin 4.0 holds the GIL until an
SDK call has returned. Only the standard library is imported, so that Orthanc starts as fast as without us.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orthanc

from enhancement.errors import ArchiveError, Problem
from enhancement.host.generations import request_releaser, send_json
from enhancement.host.messages import Answer, Request, problem_answer

Changed = Callable[[str, str], None]
Handler = Callable[[Request], Answer]

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "X-Frame-Options": "SAMEORIGIN",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
}

_TOO_SLOW = Problem("BUSY", "The answer took too long.", "Ask again shortly.")
_FAULT = Problem("INTERNAL", "The request could not be answered.", "See Orthanc's log; report it as a fault.")

HTTP_THREADS = 8
HTTP_PATIENCE_S = 120.0

# Orthanc's names of the HTTP status that an OrthancException stands for are not given to plugins.
_UNKNOWN_RESOURCE = (17, 2007)


class OrthancHost:
    """The callbacks, configuration, log and metrics of this Orthanc."""

    def __init__(self) -> None:
        self._change_names = _names(orthanc.ChangeType)
        self._token: str | None = None

    def configuration(self) -> dict[str, Any]:
        """Orthanc's whole configuration, without the defaults."""
        found: dict[str, Any] = json.loads(orthanc.GetConfiguration())
        return found

    def on_change(self, callback: Changed) -> None:
        """Call back with the change's name and the resource. One deletion is ``DELETED_STUDY``."""
        levels = _names(orthanc.ResourceType)

        def changed(change: int, level: int, resource: str) -> None:
            name = self._change_names.get(int(change), str(change))
            if name == "DELETED":
                name = f"DELETED_{levels.get(int(level), level)}"
            callback(name, resource or "")

        orthanc.RegisterOnChangeCallback(changed)

    def serve(self, pattern: str, handler: Handler) -> None:
        """Let `handler` answer every URI that matches; an exception in it becomes a JSON answer."""

        # Not on Orthanc's HTTP threads: their stacks are small, and measured: a body of 16,000 brackets overflowed one
        # in Python's JSON parser and ended Orthanc. On a thread of ours it is a RecursionError.
        threads = ThreadPoolExecutor(HTTP_THREADS, thread_name_prefix="enhancement-http")
        release = request_releaser(orthanc)

        def requested(output: Any, uri: str, **request: Any) -> None:
            try:
                release(request)
                asked = Request(
                    method=str(request.get("method", "GET")),
                    path=uri,
                    headers={key.lower(): value for key, value in request.get("headers", {}).items()},
                    query=dict(request.get("get", {})),
                    body=request.get("body", b"") or b"",
                )
                answer = threads.submit(handler, asked).result(HTTP_PATIENCE_S)
            except TimeoutError:
                answer = problem_answer(503, _TOO_SLOW)
            except Exception as error:  # the last line before Orthanc, which would answer a bare 500
                orthanc.LogError(f"enhancement: {type(error).__name__} while answering {uri}")
                answer = problem_answer(503, _FAULT)
            self._send(output, answer)

        orthanc.RegisterRestCallback(pattern, requested)

    def extend_explorer(self, script: str) -> None:
        """Add JavaScript to Orthanc Explorer 1."""
        orthanc.ExtendOrthancExplorer(script)

    def authorization(self) -> str:
        """The Authorization header for the plugin's own HTTP requests to this Orthanc."""
        if self._token is None:
            self._token = str(orthanc.GenerateRestApiAuthorizationToken())
        return self._token

    def metric(self, name: str, value: float) -> None:
        """Set a gauge of /tools/metrics-prometheus."""
        orthanc.SetMetricsValue(name, float(value), orthanc.MetricsType.DEFAULT)

    def log(self, level: str, text: str) -> None:
        """One line in Orthanc's log."""
        write = {"error": orthanc.LogError, "critical": orthanc.LogError, "warning": orthanc.LogWarning}
        write.get(level, orthanc.LogInfo)(text)

    def sdk_transport(self) -> SdkTransport:
        """For servers without a plain HTTP door."""
        return SdkTransport()

    def _send(self, output: Any, answer: Answer) -> None:
        for name, value in {**SECURITY_HEADERS, **answer.headers}.items():
            output.SetHttpHeader(name.replace("_", "-"), value)
        send_json(output, answer.status, answer.encoded())


def _names(enumeration: Any) -> dict[int, str]:
    return {
        int(value): name
        for name in dir(enumeration)
        if name.isupper() and isinstance(value := getattr(enumeration, name), int)
    }


class SdkTransport:
    """Orthanc's REST API through the plugin SDK, for servers without a plain HTTP door.

    Every call holds the GIL until Orthanc has answered, so instances pass one at a time.
    """

    takes_archives = False

    def get(self, uri: str) -> bytes:
        return self._call(uri, lambda: orthanc.RestApiGet(uri))

    def post(self, uri: str, body: bytes) -> bytes:
        return self._call(uri, lambda: orthanc.RestApiPost(uri, body))

    def put(self, uri: str, body: bytes) -> bytes:
        return self._call(uri, lambda: orthanc.RestApiPut(uri, body))

    def delete(self, uri: str) -> None:
        self._call(uri, lambda: orthanc.RestApiDelete(uri))

    @staticmethod
    def _call(uri: str, call: Callable[[], Any]) -> bytes:
        try:
            answer = call()
        except orthanc.OrthancException as error:
            number = error.args[0] if error.args else 0
            status = 404 if number in _UNKNOWN_RESOURCE else 500
            raise ArchiveError(f"Orthanc refused {uri} (error {number})", status=status, uri=uri) from error
        if answer is None:
            return b""
        return answer.encode() if isinstance(answer, str) else bytes(answer)
