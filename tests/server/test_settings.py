"""Wrong settings on a real Orthanc: it serves, the light says what is wrong, and no secret comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from server.server import Orthanc

pytestmark = pytest.mark.orthanc

Start = Callable[..., Orthanc]
SECRET = "S3CRETPW"
URL = f"postgresql://orthanc:{SECRET}@127.0.0.1:1/orthanc"


def start_with(start_orthanc: Start, settings: dict[str, Any]) -> Orthanc:
    """An Orthanc whose section is exactly what is given."""
    orthanc = start_orthanc(begin=False)
    for key in [key for key in orthanc.settings if key.startswith("ContrastEnhancement")]:
        del orthanc.settings[key]
    orthanc.settings |= settings
    orthanc.start()
    return orthanc


@pytest.mark.parametrize(
    ("section", "code"),
    [
        (None, "SETTINGS"),
        ([URL], "SETTINGS"),
        (URL, "SETTINGS"),
        ({"Ledger": URL}, "SETTINGS"),
        ({"Ledger": {"Url": [URL]}}, "SETTINGS"),
        ({"Ledger": {"Url": f"postgresql://orthanc:a@{SECRET}@127.0.0.1/orthanc"}}, "SETTINGS"),
        ({"Ledger": {"Url": URL}}, "LEDGER_UNREACHABLE"),
        ({"Ledger": {"Url": f"postgresql://orthanc@127.0.0.1:1/orthanc?{SECRET}=x"}}, "LEDGER_UNREACHABLE"),
    ],
)
def test_no_secret_comes_out(start_orthanc: Start, section: Any, code: str) -> None:
    orthanc = start_with(start_orthanc, {"ContrastEnhancement": section})
    status = orthanc.get("/enhancement/status")
    assert [problem["code"] for problem in status["problems"]] == [code]
    assert status["light"] == "red"
    assert SECRET not in json.dumps(status)
    assert SECRET not in orthanc.http.get("/enhancement/jobs").text
    assert SECRET not in orthanc.log_text()
    assert orthanc.get("/system")["Version"]


def test_a_section_of_nearly_our_name_is_yellow(start_orthanc: Start) -> None:
    orthanc = start_with(start_orthanc, {"ContrastEnhancment": {"Enabled": False}})
    status = orthanc.get("/enhancement/status")
    (problem,) = [problem for problem in status["problems"] if problem["code"] == "SETTINGS_NAME"]
    assert problem["light"] == "yellow"
    assert "'ContrastEnhancment'" in problem["reason"]
    assert "name it 'ContrastEnhancement'" in problem["advice"]


def test_values_as_an_environment_gives_them(start_orthanc: Start) -> None:
    given = {"Automatic": "false", "Model": {"Folds": "1", "Mirrorings": "1"}, "Ledger": {"BusySeconds": "1.5"}}
    orthanc = start_with(start_orthanc, {"ContrastEnhancement": given})
    settings = orthanc.get("/enhancement/settings")
    assert (settings["Automatic"], settings["Model"]["Mirrorings"]) == (False, 1)
