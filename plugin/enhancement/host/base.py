"""What we need of the process that we run in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from enhancement.host.messages import Answer, Request

# Names of all our threads begin with it. A stop waits for the end of each of them.
THREAD_NAME = "enhancement"


class Host(Protocol):
    """The process, as the rest of the plugin sees it; `host.orthanc.OrthancHost` is the real one."""

    def configuration(self) -> dict[str, Any]: ...

    def on_change(self, callback: Callable[[str, str], None]) -> None: ...

    def serve(self, pattern: str, handler: Callable[[Request], Answer]) -> None: ...

    def extend_explorer(self, script: str) -> None: ...

    def authorization(self) -> str: ...

    def metric(self, name: str, value: float) -> None: ...

    def log(self, level: str, text: str) -> None: ...

    def sdk_transport(self) -> Any: ...
