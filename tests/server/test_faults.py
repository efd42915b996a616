"""What is broken on purpose, what the user sees, and that Orthanc serves on."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.experiments import let_all_before_pass
from server.server import REPOSITORY, Orthanc, light_model
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]


def reasons(orthanc: Orthanc) -> dict[str, str]:
    return {problem["code"]: problem["reason"] for problem in orthanc.get("/enhancement/status")["problems"]}


class TestSettings:
    def test_an_unknown_key_turns_us_red_and_names_its_path(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        orthanc = start_orthanc({"ContrastEnhancement.Model.Fold": 5})
        study = make_study()
        orthanc.send(study.paths)
        status = orthanc.get("/enhancement/status")
        assert status["light"] == "red"
        message = reasons(orthanc)["SETTINGS"]
        assert message.startswith("ContrastEnhancement.Model.Fold: unknown key; allowed here are Devices, Folds")
        assert message in orthanc.log_text()
        assert orthanc.http.get("/enhancement/health").status_code == 503
        assert orthanc.post(f"/enhancement/studies/{orthanc.studies()[0]}").status_code == 503
        assert len(orthanc.studies()) == 1

    def test_switched_off_is_no_fault(self, start_orthanc: Start) -> None:
        orthanc = start_orthanc({"ContrastEnhancement.Enabled": False})
        assert orthanc.get("/enhancement/status")["light"] == "yellow"
        assert list(reasons(orthanc)) == ["DISABLED"]
        orthanc.stop()
        assert "NOT_LOADED" not in orthanc.log_text()


class TestInstallation:
    """What an administrator meets who left out a step of the installation."""

    def test_without_the_environment_we_say_how_to_make_it(self, start_orthanc: Start, tmp_path: Path) -> None:
        orthanc = start_orthanc(light=False, variables={"CONTRAST_ENHANCEMENT_VENV": str(tmp_path / "none")})
        status = orthanc.get("/enhancement/status")
        (problem,) = status["problems"]
        assert (status["light"], problem["code"]) == ("red", "NOT_LOADED")
        assert problem["reason"].startswith("ModuleNotFoundError: No module named ")
        assert problem["advice"].startswith(
            "Run scripts/setup, which makes .venv for the Python that Orthanc embeds (3."
        )
        assert "Run scripts/setup" in orthanc.log_text()
        assert orthanc.http.get("/enhancement/health").status_code == 503

    def test_half_a_copy_of_the_plugin_is_red_to_a_monitor_too(self, start_orthanc: Start, tmp_path: Path) -> None:
        """Not even the shell can be loaded: main.py answers by itself, and as the service would."""
        half = tmp_path / "plugin"
        shutil.copytree(REPOSITORY / "plugin", half, ignore=shutil.ignore_patterns("shell.py", "__pycache__"))
        orthanc = start_orthanc({"PythonScript": half / "main.py"}, light=False)
        status = orthanc.get("/enhancement/status")
        assert status["light"] == "red"
        assert reasons(orthanc)["NOT_LOADED"].endswith("No module named 'enhancement.shell'")
        for method, path in (("GET", "health"), ("GET", "jobs"), ("POST", "studies/some-study")):
            answer = orthanc.http.request(method, f"/enhancement/{path}", json={} if method == "POST" else None)
            assert answer.status_code == 503
            assert answer.json() | {"part": "plugin", "light": "red"} == status["problems"][0]
        assert orthanc.get("/system")["PluginsEnabled"]


class TestModel:
    def test_without_weights_the_job_says_so_and_a_retry_mends_it(
        self, start_orthanc: Start, make_study: MakeStudy, tmp_path: Path
    ) -> None:
        folder = tmp_path / "weights"
        folder.mkdir()
        orthanc = start_orthanc({"ContrastEnhancement.ModelWeights": folder})
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        job = orthanc.wait_for_job(study_id)
        assert (job["state"], job["code"]) == ("FAILED", "WEIGHTS_MISSING")
        assert "no readable manifest.json in model folder 't1c-pro'" in job["reason"]
        assert job["reason"] in orthanc.log_text()
        assert "WEIGHTS_MISSING" in reasons(orthanc)
        assert orthanc.results(study_id) == []
        light_model(folder / "t1c-pro")
        answer = orthanc.post("/enhancement/jobs/retry", {"code": "WEIGHTS_MISSING"})
        assert (answer.status_code, answer.json()["retried"]) == (202, 1)
        orthanc.wait(lambda: orthanc.results(study_id), 60, "the result")
        assert len(orthanc.results(study_id)) == 1
        assert orthanc.get("/enhancement/status")["light"] == "green"


class TestInput:
    def test_a_t1c_with_a_missing_slice_is_refused_in_one_sentence(
        self, orthanc: Orthanc, make_study: MakeStudy
    ) -> None:
        study = make_study()
        orthanc.send(study.paths_without(study.paths_of("T1C")[4:5]))
        study_id = orthanc.study_id(study.study_instance_uid)
        job = orthanc.wait_for_job(study_id)
        assert job["state"] == "REJECTED"
        assert study.series_instance_uids["T1C"] in job["reason"]
        assert job["reason"] in orthanc.log_text()
        assert orthanc.results(study_id) == []

    def test_a_study_that_is_none_of_ours_becomes_no_job(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        study = make_study(roles=("T2",))
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        orthanc.wait(lambda: orthanc.times_stable(study_id, 0), 60, "the stable event")
        let_all_before_pass(orthanc, make_study)
        assert orthanc.jobs(study_id) == []
        assert orthanc.get(f"/enhancement/studies/{study_id}")["state"] == "NONE"

    def test_a_study_beyond_the_limit_is_refused(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        orthanc = start_orthanc({"ContrastEnhancement.Limits.MaxStudyInstances": 5})
        study = make_study()
        orthanc.send(study.paths)
        job = orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))
        assert (job["state"], job["code"]) == ("REJECTED", "STUDY_TOO_LARGE")


class TestWork:
    def test_memory_that_runs_out_fails_the_job_and_is_tried_again(
        self, start_orthanc: Start, make_study: MakeStudy
    ) -> None:
        settings = {
            "ContrastEnhancement.Queue.MaxAttempts": 2,
            "ContrastEnhancement.Queue.RetryInitialSeconds": 0.2,
        }
        orthanc = start_orthanc(settings, variables={"LIGHT_FAULT": "memory"})
        study = make_study()
        orthanc.send(study.paths)
        job = orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))
        assert (job["state"], job["code"], job["attempts"]) == ("FAILED", "OUT_OF_MEMORY", 2)

    def test_an_unknown_fault_tells_its_kind_and_nothing_of_its_text(
        self, start_orthanc: Start, make_study: MakeStudy
    ) -> None:
        """A library's message may quote a header."""
        orthanc = start_orthanc({"ContrastEnhancement.Queue.MaxAttempts": 1}, variables={"LIGHT_FAULT": "unknown"})
        study = make_study()
        orthanc.send(study.paths)
        job = orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))
        assert job["state"] == "FAILED"
        assert "unexpected KeyError" in job["reason"]
        assert "PatientName" not in orthanc.log_text()
        assert '"raised": "KeyError"' in orthanc.log_text()

    def test_a_worker_thread_that_dies_is_replaced(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        orthanc = start_orthanc({"ContrastEnhancement.Queue.LeaseSeconds": 2}, variables={"LIGHT_FAULT": "thread"})
        study = make_study()
        orthanc.send(study.paths)
        job = orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))
        assert job["state"] == "STORED"
        assert "worker thread died and is replaced" in orthanc.log_text()

    def test_the_watchdog_ends_a_job_that_runs_too_long(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        settings = {"ContrastEnhancement.Limits.JobSeconds": 2, "ContrastEnhancement.Queue.MaxAttempts": 1}
        orthanc = start_orthanc(settings, variables={"LIGHT_SECONDS": "20"})
        study = make_study()
        orthanc.send(study.paths)
        job = orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))
        assert (job["state"], job["code"]) == ("FAILED", "TIMEOUT")

    def test_a_worker_that_does_not_come_back_is_reported(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Foreign code that never returns cannot be stopped from outside; the health says so, and what to do."""
        settings = {"ContrastEnhancement.Limits.JobSeconds": 2, "ContrastEnhancement.Queue.MaxAttempts": 1}
        orthanc = start_orthanc(settings, variables={"LIGHT_FAULT": "stuck"})
        study = make_study()
        orthanc.send(study.paths)
        orthanc.wait(lambda: "WORKER_STUCK" in reasons(orthanc), 60, "the red status")
        assert orthanc.http.get("/enhancement/health").status_code == 503
        job = orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))
        assert (job["state"], job["code"]) == ("FAILED", "TIMEOUT")
        orthanc.wait(lambda: "WORKER_STUCK" not in reasons(orthanc), 60, "the status to recover")

    def test_every_device_has_a_worker(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Two devices, two studies: both run at once. (The light method asks no device.)"""
        orthanc = start_orthanc(
            {"ContrastEnhancement.Model.Devices": ["cpu", "cuda:0"]}, variables={"LIGHT_SECONDS": "8"}
        )
        for _ in range(2):
            orthanc.send(make_study().paths)

        def devices() -> set[str]:
            return {running["device"] for running in orthanc.get("/enhancement/status")["running"]}

        orthanc.wait(lambda: devices() == {"cpu", "cuda:0"}, 60, "two running jobs")
        for study_id in orthanc.studies():
            assert orthanc.wait_for_job(study_id, {"STORED"})["attempts"] == 1

    def test_a_stop_is_quick_and_the_job_goes_on_after_the_next_start(
        self, start_orthanc: Start, make_study: MakeStudy
    ) -> None:
        orthanc = start_orthanc(variables={"LIGHT_SECONDS": "8"})
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        orthanc.wait(lambda: orthanc.get(f"/enhancement/studies/{study_id}").get("fraction", 0) > 0.1, 60, "progress")
        assert orthanc.stop() < 10
        assert orthanc.process is not None
        assert orthanc.process.returncode == 0
        orthanc.start()
        assert orthanc.wait_for_job(study_id)["state"] == "STORED"
        assert len(orthanc.results(study_id)) == 1
        assert len(orthanc.jobs(study_id)) == 1

    @pytest.mark.parametrize(
        ("steps", "last_words"), [("long step", "left a step of the job under way"), ("short steps", "has stopped")]
    )
    def test_a_stop_within_native_steps_is_quick_and_clean(
        self, start_orthanc: Start, make_study: MakeStudy, steps: str, last_words: str
    ) -> None:
        """Stopping neither waits for work that asks nobody whether to go on, nor ends Orthanc by a signal."""
        orthanc = start_orthanc(variables={"LIGHT_FAULT": steps})
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        orthanc.wait_for_job(study_id, {"RUNNING"})
        time.sleep(1)  # no progress tells that they have begun
        assert orthanc.stop() < 10
        assert orthanc.process is not None
        assert orthanc.process.returncode == 0
        assert last_words in "".join(orthanc.log_text().splitlines()[-3:])
        orthanc.variables.clear()
        orthanc.start()
        job = orthanc.wait_for_job(study_id)
        assert job["state"] == "STORED"
        assert len(orthanc.results(study_id)) == 1
        assert len(orthanc.jobs(study_id)) == 1

    def test_a_full_disk_stores_nothing_and_says_so(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """As far as our own limit sees it: more room is asked for than any disk has."""
        settings = {
            "ContrastEnhancement.Limits.MinFreeDiskMegabytes": 2**40,
            "ContrastEnhancement.Queue.MaxAttempts": 1,
        }
        orthanc = start_orthanc(settings)
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        job = orthanc.wait_for_job(study_id)
        assert (job["state"], job["code"]) == ("FAILED", "DISK_FULL")
        assert orthanc.results(study_id) == []


class TestDelivery:
    def test_a_destination_that_is_down_gets_its_series_when_it_is_back(
        self, start_orthanc: Start, make_study: MakeStudy, tmp_path: Path
    ) -> None:
        receiver = start_orthanc({"ContrastEnhancement.Enabled": False}, begin=False)
        orthanc = start_orthanc(
            {
                "DicomModalities": {"pacs": ["ORTHANC", "127.0.0.1", receiver.dicom_port]},
                "ContrastEnhancement.Delivery.Destinations": ["pacs"],
                "ContrastEnhancement.Delivery.RetryInitialSeconds": 0.5,
            }
        )
        study = make_study()
        orthanc.send(study.paths)
        job = orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))
        assert job["state"] == "STORED"

        def delivery() -> dict[str, object]:
            deliveries = orthanc.get(f"/enhancement/jobs/{job['id']}")["deliveries"]
            return dict(deliveries[0]) if deliveries else {}

        orthanc.wait(lambda: delivery().get("attempts"), 120, "a failed delivery")
        receiver.start()
        orthanc.wait(lambda: delivery().get("state") == "DELIVERED", 120, "the delivery")
        (result,) = receiver.results(receiver.studies()[0])
        assert result["MainDicomTags"]["SeriesInstanceUID"] == job["result_uids"][0]


class TestRecall:
    def test_what_a_model_made_is_found_withdrawn_and_stays_away(
        self, start_orthanc: Start, make_study: MakeStudy
    ) -> None:
        import subprocess
        import sys

        from server.server import PASSWORD, REPOSITORY, USER

        orthanc = start_orthanc()
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        job = orthanc.wait_for_job(study_id)
        command = [sys.executable, str(REPOSITORY / "scripts" / "recall.py"), "--url", orthanc.url]
        command += ["--model", job["model_digest"]]
        environment = os.environ | {
            "CONTRAST_ENHANCEMENT_USER": USER,
            "CONTRAST_ENHANCEMENT_PASSWORD": PASSWORD,
            "COLUMNS": "200",
        }
        listed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert job["result_uids"][0] in listed
        assert len(orthanc.results(study_id)) == 1
        command += ["--withdraw", "--yes", "--reason", "trained on wrong data"]
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert orthanc.results(study_id) == []
        withdrawn = orthanc.get(f"/enhancement/jobs/{job['id']}")
        assert (withdrawn["state"], withdrawn["code"]) == ("CANCELLED", "WITHDRAWN")
        orthanc.send(study.paths)
        let_all_before_pass(orthanc, make_study)
        assert orthanc.results(study_id) == []

    def test_results_that_no_ledger_knows_are_found_by_their_headers(
        self, start_orthanc: Start, make_study: MakeStudy
    ) -> None:
        """The ledger is lost and the studies are older than what a new one looks through."""
        orthanc = start_orthanc({"ContrastEnhancement.Reconciliation.ListDays": 0})
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        job = orthanc.wait_for_job(study_id, {"STORED"})
        orthanc.stop()
        for path in orthanc.storage.glob("enhancement-ledger.db*"):
            path.unlink()
        orthanc.start()
        found = orthanc.get("/enhancement/results", model=job["model_digest"])
        assert found["results"] == []
        assert [item["series_instance_uid"] for item in found["unlisted"]] == job["result_uids"]
        path = f"/enhancement/series/{found['unlisted'][0]['series_id']}/withdraw"
        assert orthanc.post(path, {"model": "0" * 64}).json()["code"] == "NOT_OF_THIS_MODEL"
        assert orthanc.post(path, {"model": job["model_digest"], "reason": "test"}).status_code == 200
        assert orthanc.results(study_id) == []


def test_serve_says_what_is_missing_without_orthanc(tmp_path: Path) -> None:
    """Where Orthanc is not installed, one line says so."""
    import subprocess
    import sys

    from server.server import REPOSITORY

    script = (REPOSITORY / "scripts" / "serve").read_text().replace("/usr/sbin", str(tmp_path))
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "serve").write_text(script)
    answer = subprocess.run(
        [sys.executable, str(folder / "serve")], env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert answer.returncode == 1
    assert "Orthanc is not installed" in answer.stderr
    shutil.rmtree(folder)
