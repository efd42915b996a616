"""Faults that an administrator knows, injected into a real Orthanc: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.experiments import let_all_before_pass, wrong_with
from server.server import Orthanc
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]

SOON = {
    "ContrastEnhancement.Queue.RetryInitialSeconds": 0.5,
    "ContrastEnhancement.Queue.RetryMaxSeconds": 2,
    "ContrastEnhancement.Queue.LeaseSeconds": 3,
    "ContrastEnhancement.Limits.MinFreeDiskMegabytes": 0,
    "ContrastEnhancement.Limits.MinFreeMemoryMegabytes": 0,
}


def _ledger(server: Orthanc) -> Path:
    return server.storage / "enhancement-ledger.db"


def _send(server: Orthanc, study: PhantomStudy) -> str:
    server.send(study.paths)
    return server.study_id(study.study_instance_uid)


def _running(server: Orthanc, study_id: str) -> dict[str, Any]:
    """The study's job once it computes."""

    def found() -> dict[str, Any] | None:
        jobs = [job for job in server.jobs(study_id) if job["state"] == "RUNNING" and job["fraction"] > 0.05]
        return jobs[0] if jobs else None

    found_job: dict[str, Any] = server.wait(found, 60, "a job that computes")
    return found_job


def _one_result(server: Orthanc, study: PhantomStudy, study_id: str) -> dict[str, Any]:
    job = server.wait_for_job(study_id, {"STORED"}, timeout_s=90)
    assert wrong_with(server, study, study_id, job) == []
    return job


def _reasons(server: Orthanc) -> set[str]:
    return {problem["code"] for problem in server.get("/enhancement/status")["problems"]}


def _ended(server: Orthanc, job_id: int) -> dict[str, Any] | None:
    job: dict[str, Any] = server.get(f"/enhancement/jobs/{job_id}")
    return None if job["state"] in ("QUEUED", "RUNNING") else job


class TestLedger:
    def test_locked(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Another program holds it: the status is red, no answer takes long; then all is done."""
        server = start_orthanc({**SOON, "ContrastEnhancement.Ledger.BusySeconds": 0.5})
        study = make_study()
        with sqlite3.connect(_ledger(server), isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            study_id = _send(server, study)
            server.wait(lambda: "LEDGER_BUSY" in _reasons(server), 30, "the red status")
            began = time.monotonic()
            answer = server.post("/enhancement/pause")
            assert (answer.status_code, answer.json()["code"]) == (503, "LEDGER_BUSY")
            assert time.monotonic() - began < 3
            other.execute("ROLLBACK")
        _one_result(server, study, study_id)
        server.wait(lambda: "LEDGER_BUSY" not in _reasons(server), 30, "the status to recover")

    def test_deleted_while_a_job_runs(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """The job's result is in the archive already, or is made again: one result, and a ledger that knows it."""
        server = start_orthanc(SOON, variables={"LIGHT_SECONDS": "4"})
        study = make_study()
        study_id = _send(server, study)
        _running(server, study_id)
        for path in server.storage.glob("enhancement-ledger.db*"):
            path.unlink()
        _one_result(server, study, study_id)

    def test_damaged_while_orthanc_was_down(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Set aside and rebuilt: the stored result is adopted, not computed again; the study that waited is done."""
        server = start_orthanc(SOON)
        done, waiting = make_study(), make_study()
        done_id = _send(server, done)
        _one_result(server, done, done_id)
        assert server.post("/enhancement/pause").status_code == 200
        waiting_id = _send(server, waiting)
        server.wait(lambda: server.jobs(waiting_id), 30, "the waiting job")
        server.stop()
        _ledger(server).write_bytes(os.urandom(8192))
        server.start()
        _one_result(server, waiting, waiting_id)
        assert _one_result(server, done, done_id)["attempts"] == 0
        assert list(server.storage.glob("enhancement-ledger.db.damaged-*"))

    def test_of_a_newer_version(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Red with a code and an advice; Orthanc stores and serves; the ledger is untouched."""
        server = start_orthanc(SOON)
        server.stop()
        with sqlite3.connect(_ledger(server)) as connection:
            connection.execute("UPDATE enhancement_schema SET version_num = '9999'")
        server.start()
        assert _reasons(server) == {"LEDGER_NEWER"}
        assert server.http.get("/enhancement/health").status_code == 503
        assert len(server.get(f"/studies/{_send(server, make_study())}/series")) == 2


class TestProcess:
    def test_job_that_kills_orthanc(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Orthanc is started again each time, as a service manager does; then the job is set aside for good."""
        settings = {**SOON, "ContrastEnhancement.Queue.MaxCrashes": 2}
        server = start_orthanc(settings, variables={"LIGHT_FAULT": "crash"})
        study = make_study()
        study_id = _send(server, study)
        for last in (False, True):
            assert server.process is not None
            server.process.wait(60)
            server.start(wait=last)
        job = server.wait_for_job(study_id, {"FAILED"})
        assert (job["code"], job["crashes"]) == ("WORKER_DIED", 2)
        assert job["advice"]

    def test_everything_fails_for_one_reason(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """The circuit opens: the status says why, and the rest of the queue waits unharmed."""
        settings = {**SOON, "ContrastEnhancement.Queue.BreakerFailures": 2}
        # Longer between attempts than the test takes: the failures are those of different studies.
        settings |= {"ContrastEnhancement.Queue.RetryInitialSeconds": 300}
        settings |= {"ContrastEnhancement.Queue.RetryMaxSeconds": 600}
        server = start_orthanc(settings, variables={"LIGHT_FAULT": "memory"})
        for _ in range(3):
            _send(server, make_study())
        server.wait(lambda: "CIRCUIT_OPEN" in _reasons(server), 60, "the open circuit")
        server.wait(lambda: len(server.jobs()) == 3, 60, "the third job")
        time.sleep(3)  # three times as long as a worker waits before it looks for work
        assert sum(job["attempts"] for job in server.jobs()) == 2

    def test_weights_altered_then_installed_again(
        self, start_orthanc: Start, make_study: MakeStudy, models: Path, tmp_path: Path
    ) -> None:
        """No job runs on weights that are not the manifest's; nothing is lost until they are right again."""
        folder = tmp_path / "models"
        shutil.copytree(models, folder)
        server = start_orthanc({**SOON, "ContrastEnhancement.ModelWeights": folder})
        manifest = folder / "t1c-pro" / "manifest.json"
        right = manifest.read_text()
        manifest.write_text(right.replace('"light"', '"altered"'))
        study = make_study()
        study_id = _send(server, study)
        job = server.wait_for_job(study_id, {"FAILED"})
        assert job["code"] == "WEIGHTS_MISMATCH"
        assert server.results(study_id) == []
        manifest.write_text(right)
        assert server.post(f"/enhancement/studies/{study_id}").status_code == 202
        _one_result(server, study, study_id)


class TestStudy:
    def test_deleted_while_its_job_runs_and_sent_again(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """The job stops; the study does not come back as a ghost holding only our series. Sent again, it is done."""
        server = start_orthanc(SOON, variables={"LIGHT_SECONDS": "3"})
        study = make_study()
        study_id = _send(server, study)
        job = _running(server, study_id)
        server.http.delete(f"/studies/{study_id}").raise_for_status()
        ended = server.wait(lambda: _ended(server, job["id"]), 60, "the job to end")
        assert (ended["state"], ended["code"]) == ("CANCELLED", "STUDY_DELETED")
        let_all_before_pass(server, make_study)
        assert study_id not in server.studies()
        _send(server, study)
        _one_result(server, study, study_id)

    def test_series_deleted_and_sent_again(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """The same inputs: the same result, once."""
        server = start_orthanc(SOON)
        study = make_study()
        study_id = _send(server, study)
        first = _one_result(server, study, study_id)
        uid = study.series_instance_uids["T1C"]
        [series] = server.post("/tools/find", {"Level": "Series", "Query": {"SeriesInstanceUID": uid}}).json()
        server.http.delete(f"/series/{series}").raise_for_status()
        _send(server, study)
        let_all_before_pass(server, make_study)
        assert _one_result(server, study, study_id)["result_uids"] == first["result_uids"]

    def test_result_deleted_by_a_person(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """It does not come back by itself, also not after a restart; it does when asked for."""
        server = start_orthanc(SOON)
        study = make_study()
        study_id = _send(server, study)
        _one_result(server, study, study_id)
        [result] = server.results(study_id)
        server.http.delete(f"/series/{result['ID']}").raise_for_status()
        server.wait(lambda: server.jobs(study_id)[0]["state"] == "CANCELLED", 60, "the ledger to know")
        server.stop()
        server.start()
        server.wait_until_reconciled()
        assert server.results(study_id) == []
        assert server.post(f"/enhancement/studies/{study_id}").status_code == 202
        _one_result(server, study, study_id)

    def test_killed_inside_stable_age(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Orthanc forgets the stable event for good; the study is enhanced all the same."""
        server = start_orthanc({**SOON, "StableAge": 3})
        study = make_study()
        study_id = _send(server, study)
        server.kill()
        server.start()
        assert _one_result(server, study, study_id)["origin"] == "reconcile"

    def test_killed_just_after_the_rest_of_a_t1c_came(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """A part of it was enhanced before; the whole is enhanced although the news of it went with the kill."""
        server = start_orthanc({**SOON, "StableAge": 3})
        study = make_study()
        t1c = study.paths_of("T1C")
        server.send(study.paths_without(t1c[10:]))
        study_id = server.study_id(study.study_instance_uid)
        first = server.wait_for_job(study_id, {"STORED"})
        server.send(t1c[10:])
        server.kill()
        server.start()
        server.wait_until_reconciled()
        assert _one_result(server, study, study_id)["id"] != first["id"]

    def test_still_arriving_when_a_new_ledger_lists_the_studies(
        self, start_orthanc: Start, make_study: MakeStudy
    ) -> None:
        """A slow sender is in the middle of it: the study is not taken for one that lacks its T1c."""
        study = make_study()
        before = start_orthanc({"Plugins": []}, begin=False)
        before.start(wait=False)
        before.wait(lambda: before.get("/system"), 60, "Orthanc without the plugin")
        before.send(study.paths[:1])
        before.stop()
        server = start_orthanc({**SOON, "StableAge": 4}, storage=before.storage)
        # Listed studies are looked at nine seconds after the list, when nothing but a part of the T1 is there.
        for path in study.paths[1:10]:
            server.send([path])
            time.sleep(1.6)
        server.send(study.paths[10:])
        study_id = server.study_id(study.study_instance_uid)
        _one_result(server, study, study_id)
        assert [job["state"] for job in server.jobs(study_id)] == ["STORED"]
        assert server.get("/enhancement/incomplete")["studies"] == []


class TestClock:
    def test_stepped_back_while_a_job_runs(self, start_orthanc: Start, make_study: MakeStudy, tmp_path: Path) -> None:
        """By a day, while one job runs and another study comes: both are done in seconds, not in a day."""
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("there is no C compiler for the clock that steps")
        source, library = Path(__file__).parent / "light" / "stepped_clock.c", tmp_path / "stepped_clock.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        stepped = tmp_path / "stepped"
        variables = {"LD_PRELOAD": str(library), "CLOCK_STEPPED": str(stepped), "LIGHT_SECONDS": "3"}
        server = start_orthanc(SOON, variables=variables)
        first, second = make_study(), make_study()
        first_id = _send(server, first)
        _running(server, first_id)
        stepped.touch()
        second_id = _send(server, second)
        _one_result(server, first, first_id)
        job = _one_result(server, second, second_id)
        assert job["created_at"] < time.time() - 80000, "the clock was stepped back indeed"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here (no right to)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def test_disk_full_when_the_result_is_stored(start_orthanc: Start, make_study: MakeStudy, small_disk: Path) -> None:
    """Storage, index and ledger on one full disk: no half series; when there is room again, all is done by itself."""
    settings = {**SOON, "ContrastEnhancement.Queue.MaxAttempts": 100}
    server = start_orthanc(settings, storage=small_disk / "storage", variables={"LIGHT_SECONDS": "3"})
    study = make_study()
    study_id = _send(server, study)
    _running(server, study_id)
    ballast = small_disk / "ballast"
    _fill(ballast)
    server.wait(lambda: '"failed"' in server.log_text() or "LEDGER" in server.log_text(), 60, "the failure")
    assert server.http.get("/enhancement/health").status_code in (200, 503), "a full disk leaves the health answering"
    ballast.unlink()
    _one_result(server, study, study_id)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"\0" * 65536)
        except OSError:
            return
