"""Installed beside what a site has: its own script, its own attachments, its proxy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server.server import LIGHT, Orthanc
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]

SITE = """
import orthanc
def OnChange(changeType, level, resource):
    if changeType == orthanc.ChangeType.STABLE_STUDY:
        orthanc.LogWarning("SITE: stable study")
        raise ValueError("of the site")
def hello(output, uri, **request):
    output.AnswerBuffer("hello", "text/plain")
orthanc.RegisterOnChangeCallback(OnChange)
orthanc.RegisterRestCallback("/site/hello", hello)
orthanc.ExtendOrthancExplorer("/* SITE BUTTON */")
"""
OURS = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("contrast_main", {str(LIGHT)!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


def enhanced(orthanc: Orthanc, make_study: MakeStudy) -> str:
    study = make_study()
    orthanc.send(study.paths)
    study_id = orthanc.study_id(study.study_instance_uid)
    assert orthanc.wait_for_job(study_id)["state"] == "STORED"
    return study_id


class TestScript:
    @pytest.mark.parametrize("way", ["ours loads theirs", "theirs loads ours"])
    def test_both_go_on(self, start_orthanc: Start, make_study: MakeStudy, tmp_path: Path, way: str) -> None:
        """Also where a callback of theirs fails each time."""
        script = tmp_path / "site_script.py"
        script.write_text(SITE if way == "ours loads theirs" else OURS + SITE)
        key = "ContrastEnhancement.SiteScript" if way == "ours loads theirs" else "PythonScript"
        orthanc = start_orthanc({key: script})
        enhanced(orthanc, make_study)
        assert orthanc.get("/enhancement/status")["light"] == "green"
        assert orthanc.http.get("/site/hello").text == "hello"
        assert "SITE: stable study" in orthanc.log_text()
        assert "failed: ValueError: of the site" in orthanc.log_text()
        explorer = orthanc.http.get("/plugins/explorer.js").text
        assert "Enhance contrast" in explorer
        assert "SITE BUTTON" in explorer

    def test_theirs_that_cannot_be_loaded_is_yellow(
        self, start_orthanc: Start, make_study: MakeStudy, tmp_path: Path
    ) -> None:
        script = tmp_path / "site_script.py"
        script.write_text("import a_package_of_the_site")
        orthanc = start_orthanc({"ContrastEnhancement.SiteScript": script})
        (problem,) = orthanc.get("/enhancement/status")["problems"]
        assert (problem["code"], problem["light"]) == ("SITE_SCRIPT", "yellow")
        assert "No module named 'a_package_of_the_site'" in orthanc.log_text()
        enhanced(orthanc, make_study)

    def test_theirs_that_was_there_before_ours_is_told(self, start_orthanc: Start, tmp_path: Path) -> None:
        """It has the one callback that Orthanc gives; it keeps it, and we say how to chain."""
        script = tmp_path / "site_script.py"
        script.write_text(SITE + OURS)
        orthanc = start_orthanc({"PythonScript": script})
        (problem,) = orthanc.get("/enhancement/status")["problems"]
        assert (problem["code"], problem["light"]) == ("CALLBACK_TAKEN", "red")
        assert "ContrastEnhancement.SiteScript" in problem["advice"]
        assert orthanc.http.get("/site/hello").text == "hello"
        assert "SITE BUTTON" in orthanc.http.get("/plugins/explorer.js").text


class TestAudit:
    @pytest.mark.parametrize("names", [{}, {"site-report": 4711}, {"enhancement-audit": 4720}])
    def test_its_address_is_the_same_everywhere(
        self, start_orthanc: Start, make_study: MakeStudy, names: dict[str, int]
    ) -> None:
        orthanc = start_orthanc({"UserContentType": names})
        study_id = enhanced(orthanc, make_study)
        address = f"/studies/{study_id}/attachments/enhancement-audit/data"
        orthanc.wait(lambda: orthanc.http.get(address).is_success, 30, "the audit record")
        assert orthanc.get(address) == orthanc.get(f"/enhancement/studies/{study_id}/audit")
        assert len(orthanc.get(address)["records"]) == 1

    def test_what_a_site_attached_stays(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Without a name in the settings: what is not ours is told by its content."""
        orthanc = start_orthanc({"UserContentType": {}, "ContrastEnhancement.Automatic": False})
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        theirs = f"/studies/{study_id}/attachments/4711"
        orthanc.http.put(theirs, content=b"%PDF of the site").raise_for_status()
        orthanc.post(f"/enhancement/studies/{study_id}")
        orthanc.wait_for_job(study_id)
        orthanc.wait(lambda: orthanc.http.get(f"/enhancement/studies/{study_id}/audit").is_success, 30, "the record")
        assert orthanc.http.get(f"{theirs}/data").content == b"%PDF of the site"


class TestProxy:
    @pytest.mark.parametrize(("header", "codes"), [("X-Forwarded-User", []), ("", ["NO_AUTHENTICATION"])])
    def test_who_authenticates_is_named(self, start_orthanc: Start, header: str, codes: list[str]) -> None:
        settings = {"RemoteAccessAllowed": True, "AuthenticationEnabled": False}
        orthanc = start_orthanc(settings | {"ContrastEnhancement.Access.TrustedUserHeader": header})
        assert [problem["code"] for problem in orthanc.get("/enhancement/status")["problems"]] == codes
