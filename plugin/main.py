"""What Orthanc's "PythonScript" points at: find the environment, register the callbacks, nothing else.

Whatever goes wrong here must leave Orthanc serving: an exception while this script loads would stop it.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orthanc

_HERE = Path(__file__).resolve().parent
# Read before any setting can be: the settings' own parser lies in the environment that this names.
_VENV_VARIABLE = "CONTRAST_ENHANCEMENT_VENV"
_LOAD_THEIRS = (
    "Let PythonScript name this plugin's main.py, and ContrastEnhancement.SiteScript the other script; or load this "
    "plugin in it before it registers anything. Restart Orthanc."
)
_MEND_SCRIPT = "Mend ContrastEnhancement.SiteScript or the script, and restart Orthanc."
_COPY_ANEW = "Copy plugin/ anew, run scripts/setup, restart Orthanc."


def _site_packages() -> Path | None:
    """The virtual environment's packages, if one for this very interpreter is found."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    named = os.environ.get(_VENV_VARIABLE)
    for venv in [Path(named)] if named else [_HERE.parent / ".venv", _HERE / ".venv"]:
        folder = venv / "lib" / version / "site-packages"
        if folder.is_dir():
            return folder
    return None


def _extend_path() -> None:
    folder = _site_packages()
    if folder is not None and str(folder) not in sys.path:
        # Right after our own folder: Debian's packages are older than those we are locked to.
        sys.path.insert(1, str(folder))
    if str(_HERE) not in sys.path:
        sys.path.insert(0, str(_HERE))


def _serve_red(fault: str, code: str = "NOT_LOADED", advice: str = _COPY_ANEW) -> None:
    """Answer our routes with the fault, by nothing but what Orthanc and Python bring.

    As the service does: /status says red, everything else is 503, so that a monitor of /health sees it.
    """
    problem = {
        "code": code,
        "reason": fault,
        "advice": advice,
    }

    problems = [{"part": "plugin", "light": "red", **problem}]
    status = {"light": "red", "problems": problems, "state": "red", "reasons": problems}

    def answer(output: Any, uri: str, **_request: Any) -> None:
        if uri.rstrip("/") == "/enhancement/status":
            output.AnswerBuffer(json.dumps(status), "application/json")
            return
        body = json.dumps(problem)
        output.SetHttpHeader("Content-Type", "application/json")
        try:
            output.SendHttpStatus(503, body.encode("ascii"))
        except TypeError:  # Plugin 4.0 (enhancement/host/generations.py, which may be what cannot be loaded)
            output.SendHttpStatus(503, body, len(body))

    orthanc.LogError(f"enhancement: {fault}")
    orthanc.RegisterRestCallback("/enhancement(/.*)?", answer)


def _reload(begin_anew: Callable[[], None]) -> None:
    """Orthanc reloads within its process, where numpy and torch cannot be loaded twice."""
    orthanc.LogWarning("enhancement: Orthanc reloads; its process begins anew")
    try:
        begin_anew()
    except OSError as error:
        fault = f"Orthanc was reloaded within its process, and could not begin anew: {error.strerror}"
        _serve_red(fault, "RELOADED", "Restart the service (systemctl restart orthanc).")


def _load_site_script(load_script: Callable[[Path], None]) -> str:
    """Load the site's own script, which ours replaces as "PythonScript"; return what went wrong, if anything."""
    section = json.loads(orthanc.GetConfiguration()).get("ContrastEnhancement")
    named = section.get("SiteScript") if isinstance(section, dict) else None
    if not isinstance(named, str) or not named:
        return ""
    try:
        load_script(_HERE.parent / named)
    except Exception as error:  # theirs must not keep ours from loading, nor Orthanc from starting
        orthanc.LogError(f"enhancement: SiteScript failed: {type(error).__name__}: {error}")
        return f"The script that SiteScript names could not be loaded: {type(error).__name__} (see Orthanc's log)."
    return ""


def _load() -> None:
    try:
        _extend_path()
        from enhancement.host.process import begin_anew, is_loaded_again

        if is_loaded_again():
            _reload(begin_anew)
            return
        from enhancement.errors import Problem
        from enhancement.host.chain import CallbackTaken, install, load_script
        from enhancement.host.orthanc import OrthancHost
        from enhancement.shell import Shell

        install(orthanc)
        fault = _load_site_script(load_script)
        known = {"site-script": Problem("SITE_SCRIPT", fault, _MEND_SCRIPT)} if fault else {}
        try:
            Shell(OrthancHost(), root=_HERE.parent, known=known).register()
        except CallbackTaken as error:
            _serve_red(f"Another script was loaded before: {error}.", "CALLBACK_TAKEN", _LOAD_THEIRS)
    except Exception as error:  # fail open: Orthanc must come up whatever is broken here
        _serve_red(f"the plugin could not be loaded: {type(error).__name__}: {error}")


_load()
