"""A stable study becomes an enhanced series, once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from server.experiments import let_all_before_pass
from server.server import Orthanc
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]


class TestTheWholeWay:
    def test_a_stable_study_gets_one_result_in_its_own_study(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        """C-STORE, stable, job, published series on the T1c's grid."""
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        job = orthanc.wait_for_job(study_id)
        assert job["state"] == "STORED", job
        assert job["origin"] == "stable"
        (result,) = orthanc.results(study_id)
        assert result["MainDicomTags"]["SeriesInstanceUID"] == job["result_uids"][0]
        assert len(result["Instances"]) == study.grids["T1C"].size[2]
        ds = orthanc.datasets(result["ID"])[0]
        assert ds.StudyInstanceUID == study.study_instance_uid
        assert ds.ImageType[0] == "DERIVED"

    def test_its_own_result_starts_nothing(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        """The study becomes stable once more after our series is in it."""
        study, since = make_study(), orthanc.last_change()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        orthanc.wait_for_job(study_id)
        orthanc.wait(lambda: orthanc.times_stable(study_id, since) >= 2, 60, "the second stable event")
        let_all_before_pass(orthanc, make_study)
        jobs = orthanc.jobs(study_id)
        assert [job["state"] for job in jobs] == ["STORED"]
        assert jobs[0]["attempts"] == 1
        assert len(orthanc.results(study_id)) == 1

    def test_a_double_click_gives_one_result(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        """Eight requests at once, and eight more while the job runs."""
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        with ThreadPoolExecutor(8) as pool:
            for _ in range(2):
                answers = list(pool.map(lambda _: orthanc.post(f"/enhancement/studies/{study_id}"), range(8)))
                assert {answer.status_code for answer in answers} == {202}
                time.sleep(0.3)
        assert orthanc.wait_for_job(study_id)["state"] == "STORED"
        orthanc.wait_for_looks()
        assert [job["state"] for job in orthanc.jobs(study_id)] == ["STORED"]
        assert len(orthanc.results(study_id)) == 1

    def test_a_resent_study_gives_no_second_result(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        first = orthanc.wait_for_job(study_id)
        orthanc.send(study.paths)
        let_all_before_pass(orthanc, make_study)
        assert [job["id"] for job in orthanc.jobs(study_id)] == [first["id"]]
        assert len(orthanc.results(study_id)) == 1

    def test_a_forced_repetition_stores_the_same_objects(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        first = orthanc.wait_for_job(study_id)
        assert orthanc.post(f"/enhancement/studies/{study_id}", {"force": True}).status_code == 202
        orthanc.wait(lambda: orthanc.jobs(study_id)[-1]["attempts"] == 2, 60, "the second attempt")
        second = orthanc.wait_for_job(study_id, {"STORED"})
        assert second["result_uids"] == first["result_uids"]
        assert len(orthanc.results(study_id)) == 1

    def test_the_audit_record_hangs_on_the_study(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        """Who, from what, by what; and no name of the patient."""
        study = make_study()
        orthanc.send(study.paths)
        study_id = orthanc.study_id(study.study_instance_uid)
        job = orthanc.wait_for_job(study_id)
        text = orthanc.wait(lambda: _attachment(orthanc, study_id), 60, "the attachment")
        record = httpx.Response(200, content=text).json()["records"][-1]
        assert record["job"] == job["id"]
        assert record["model"]["digest"] == job["model_digest"]
        assert record["inputs"]["T1C"] == [study.series_instance_uids["T1C"]]
        assert record["results"][0]["series_instance_uid"] == job["result_uids"][0]
        assert study.spec.patient_name not in text
        assert study.spec.patient_id not in text
        assert orthanc.get(f"/enhancement/jobs/{job['id']}")["audit"]["model"] == record["model"]

    def test_the_log_names_jobs_and_no_patients(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        study = make_study()
        orthanc.send(study.paths)
        orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))
        log = orthanc.log_text()
        assert '"event": "stored"' in log
        assert study.spec.patient_id not in log
        assert study.spec.patient_name not in log

    def test_metrics_count_jobs(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        study = make_study()
        orthanc.send(study.paths)
        orthanc.wait_for_job(orthanc.study_id(study.study_instance_uid))

        def stored() -> bool:
            text = orthanc.http.get("/tools/metrics-prometheus").text
            values = dict(line.split()[:2] for line in text.splitlines() if line.startswith("enhancement_"))
            return (
                float(values.get("enhancement_jobs_stored", 0)) >= 1
                and "enhancement_stage_seconds_predicting" in values
            )

        orthanc.wait(stored, 60, "the metrics")


class TestLateSeries:
    def test_a_longer_t1c_supersedes_the_first_result(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        """The second half of the T1c comes after the first was enhanced; the new result names the old one."""
        study = make_study()
        t1c = study.paths_of("T1C")
        first_half = study.paths_without(t1c[5:])
        orthanc.send(first_half)
        study_id = orthanc.study_id(study.study_instance_uid)
        first = orthanc.wait_for_job(study_id)
        assert first["state"] == "STORED"
        orthanc.send(t1c[5:])
        orthanc.wait(lambda: len(orthanc.jobs(study_id)) == 2, 60, "the second job")
        second = orthanc.wait_for_job(study_id, {"STORED"})
        states = {job["id"]: job for job in orthanc.jobs(study_id)}
        assert states[first["id"]]["state"] == "SUPERSEDED"
        assert states[first["id"]]["superseded_by"] == second["id"]
        assert len(orthanc.results(study_id)) == 2

    def test_an_incomplete_study_says_what_is_missing_and_goes_on_when_it_comes(
        self, orthanc: Orthanc, make_study: MakeStudy
    ) -> None:
        study = make_study()
        t1c = study.paths_of("T1C")
        orthanc.send(study.paths_without(t1c))
        study_id = orthanc.study_id(study.study_instance_uid)
        refused = orthanc.wait_for_job(study_id)
        assert (refused["state"], refused["code"]) == ("REJECTED", "MISSING_T1C")
        assert "T1C series is needed" in refused["reason"]
        assert orthanc.results(study_id) == []
        orthanc.send(t1c)
        assert orthanc.wait_for_job(study_id, {"STORED"})["result_uids"]


def _attachment(orthanc: Orthanc, study_id: str) -> str:
    answer = orthanc.http.get(f"/studies/{study_id}/attachments/enhancement-audit/data")
    return answer.text if answer.status_code == 200 else ""
