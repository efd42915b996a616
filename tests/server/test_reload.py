"""A reload: Orthanc ends and starts again within one process, by `/tools/reset` or SIGHUP."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from server.server import Orthanc
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]


def reset(orthanc: Orthanc) -> None:
    orthanc.http.post("/tools/reset", content=b"")


def hang_up(orthanc: Orthanc) -> None:
    """As systemctl reload does. Orthanc reloads only if its configuration has changed."""
    path = orthanc.storage / "orthanc.run.json"
    path.write_text(path.read_text().replace('"StableAge": 1', '"StableAge": 2'))
    os.kill(orthanc.pid, signal.SIGHUP)


def wait_for_reload(orthanc: Orthanc, times: int = 1) -> None:
    orthanc.wait(lambda: orthanc.log_text().count("Orthanc has started") > times, 60, "the next start")
    orthanc.wait(lambda: orthanc.is_up(), 60, "the plugin to come up again")


class TestReload:
    @pytest.mark.parametrize("how", [reset, hang_up])
    def test_the_same_process_goes_on_enhancing(
        self, start_orthanc: Start, make_study: MakeStudy, how: Callable[[Orthanc], None]
    ) -> None:
        """Its libraries, which cannot be loaded twice, are at work before and after."""
        orthanc = start_orthanc()
        for times in (1, 2):
            study = make_study()
            orthanc.send(study.paths)
            assert orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))["state"] == "STORED"
            if times == 1:
                how(orthanc)
                wait_for_reload(orthanc)
        assert orthanc.get("/enhancement/status")["light"] == "green"
        assert "its process begins anew" in orthanc.log_text()
        assert orthanc.stop() < 10
        assert orthanc.process is not None
        assert orthanc.process.returncode == 0

    def test_again_and_again(self, start_orthanc: Start) -> None:
        orthanc = start_orthanc()
        for times in (1, 2, 3):
            reset(orthanc)
            wait_for_reload(orthanc, times)
        assert orthanc.get("/enhancement/status")["light"] == "green"

    def test_under_a_step_of_native_code(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """The step is left, and its job is taken up again."""
        orthanc = start_orthanc(variables={"LIGHT_FAULT": "long step"})
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        orthanc.wait_for_job(study_id, {"RUNNING"})
        time.sleep(1)  # no progress tells that it has begun
        reset(orthanc)
        wait_for_reload(orthanc)
        assert "left a step of the job under way" in orthanc.log_text()
        assert orthanc.get("/system")["PluginsEnabled"]
        assert orthanc.wait_for_job(study_id, {"RUNNING"})["attempts"] == 2

    def test_where_the_process_cannot_begin_anew_the_light_is_red(
        self, start_orthanc: Start, make_study: MakeStudy, tmp_path: Path, orthanc_binary: str
    ) -> None:
        """The program was removed or replaced while it ran, as by an upgrade. Orthanc serves, and stops, as before."""
        program = tmp_path / "bin" / "Orthanc"
        program.parent.mkdir()
        shutil.copy2(orthanc_binary, program)
        orthanc = start_orthanc(variables={"PATH": f"{program.parent}:{os.environ['PATH']}"})
        program.unlink()
        reset(orthanc)
        orthanc.wait(lambda: _codes(orthanc) == ["RELOADED"], 60, "the red light")
        status = orthanc.get("/enhancement/status")
        assert status["light"] == "red"
        assert status["problems"][0]["advice"].startswith("Restart the service")
        assert orthanc.http.get("/enhancement/health").status_code == 503
        orthanc.send(make_study().paths)
        assert len(orthanc.studies()) == 1
        reset(orthanc)
        orthanc.wait(lambda: orthanc.log_text().count("Orthanc has started") > 2, 60, "the third start")
        assert _codes(orthanc) == ["RELOADED"]
        assert orthanc.stop() < 10
        assert orthanc.process is not None
        assert orthanc.process.returncode == 0


def _codes(orthanc: Orthanc) -> list[str]:
    answer: httpx.Response = orthanc.http.get("/enhancement/status")
    return [problem["code"] for problem in answer.json()["problems"]]
