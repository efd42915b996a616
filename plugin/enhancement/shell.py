"""The shell that Orthanc loads: it registers callbacks at once, and brings everything else up in a thread.

It imports only the standard library, and modules of ours that do the same. Orthanc therefore starts as fast as without
us. A wrong setting, a missing package or a damaged ledger turns the light red, and Orthanc serves on.
"""

from __future__ import annotations

import atexit
import logging
import queue
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from enhancement.errors import EnhancementError, LedgerError, Problem
from enhancement.host.base import THREAD_NAME, Host
from enhancement.host.messages import Answer, Request, problem_answer
from enhancement.host.process import leave_threads_behind
from enhancement.service.health import Health, Light

if TYPE_CHECKING:
    from enhancement.app import App

_log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 4.0
# From ORTHANC_STOPPED on. An administrator's tool may kill what takes longer than ten seconds, and Python's own end
# takes up to four on a busy machine.
LEAVE_S = 5.0
RETRY_S = 10.0
RELEVANT_CHANGES = frozenset({"STABLE_STUDY", "DELETED_STUDY", "DELETED_SERIES"})
AUDIT = "/studies/[^/]+/attachments/enhancement-audit/data"
_STARTING = Problem("STARTING", "The plugin is starting.", "Ask again in a few seconds.")
_INSTALL = (
    f"Run scripts/setup, which makes .venv for the Python that Orthanc embeds ({sys.version_info.major}."
    f"{sys.version_info.minor}), and restart Orthanc."
)


class Shell:
    """The callbacks of one Orthanc process.

    Parameters
    ----------
    host : Host
        The process.
    root : Path
        Folder that relative paths of the settings start from: the one that holds ``plugin/``.
    known : mapping, optional
        Problems that were found before, by their part.
    """

    def __init__(self, host: Host, root: Path, known: Mapping[str, Problem] | None = None) -> None:
        self._host = host
        self._root = root
        self._known = known or {}
        self._events: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._app: App | None = None
        self._problem = _STARTING
        self._health = Health()  # until the app is up, which has its own
        self._health.report("plugin", Light.YELLOW, _STARTING)
        self._thread: threading.Thread | None = None
        self._stopped_at = 0.0

    def register(self) -> None:
        """Register every callback; called while Orthanc loads."""
        atexit.register(self._leave)
        self._host.on_change(self._changed)
        self._host.serve("/enhancement(/.*)?", self._answer)
        self._host.serve(AUDIT, self._answer_audit)
        script = Path(__file__).parent / "web" / "static" / "explorer.js"
        self._host.extend_explorer(script.read_text(encoding="utf-8"))

    def _changed(self, kind: str, resource: str) -> None:
        """One C++ thread delivers every change, so nothing but noting it is done here."""
        if kind == "ORTHANC_STARTED":
            self._thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            self._thread.start()
        elif kind == "ORTHANC_STOPPED":
            self._stopped_at = time.monotonic()
            self._stop.set()
            self._events.put(("STOP", ""))
            if self._thread is not None:
                self._thread.join(STOP_TIMEOUT_S)
        elif kind in RELEVANT_CHANGES:
            self._events.put((kind, resource))

    def _leave(self) -> None:
        """Leave a step of native code that outlives all patience. Python runs this before it finalises.

        Orthanc has closed its database by now. Whether it ends or reloads cannot be told here, so the process is
        left to Orthanc.
        """
        if not self._stop.is_set():  # Orthanc ends of a fault of its own
            return
        deadline = self._stopped_at + LEAVE_S
        ours = [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]
        for thread in ours:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in ours):
            self._host.log("warning", "enhancement: left a step of the job under way; it is taken up at the next start")
            leave_threads_behind()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                # All heavy imports hang on this one line, and on the workers that it starts.
                from enhancement.app import App

                self._app = App(self._host, self._root, stop=self._stop, known=self._known)
                self._health.clear("plugin")
                self._app.run(self._events)
                return
            except LedgerError as error:
                self._fail(error)
                self._stop.wait(RETRY_S)
            except EnhancementError as error:
                self._fail(error)
                return
            except Exception as error:  # outermost frame of the thread: say it, leave Orthanc serving
                self._fail(_not_loaded(error))
                return

    def _fail(self, error: EnhancementError) -> None:
        self._app = None
        problem = self._problem = error.problem
        if self._health.report("plugin", Light.RED, problem):
            advice = f" ({problem.advice.rstrip('.')})" if problem.advice else ""
            self._host.log("error", f"enhancement: {problem.code}: {problem.reason}{advice}")

    def _answer_audit(self, request: Request) -> Answer:
        """The record at the address of an attachment, also where Orthanc's settings do not know its name."""
        return self._answer(replace(request, path=f"/enhancement/studies/{request.path.split('/')[2]}/audit"))

    def _answer(self, request: Request) -> Answer:
        app = self._app
        if app is not None:
            return app.answer(request)
        if request.path.rstrip("/") == "/enhancement/status":
            return Answer(200, self._health.to_json())
        problem = self._problem
        return problem_answer(503, problem, **({"Retry_After": "2"} if problem is _STARTING else {}))


def _not_loaded(error: Exception) -> EnhancementError:
    """What kept us from coming up. Only the text of a failed import is known to hold no setting, hence no password."""
    name = type(error).__name__
    if isinstance(error, ImportError):
        return EnhancementError(f"{name}: {error}", code="NOT_LOADED", advice=_INSTALL)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return EnhancementError(f"{name}{place}", code="NOT_LOADED", advice="Report it as a fault, with this line.")
