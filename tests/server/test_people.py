"""What people ask of the service: who goes first, what waits, what is missing, what stays when a better one came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydicom import dcmread

from server.server import Orthanc
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]


def _send(server: Orthanc, study: PhantomStudy) -> str:
    server.send(study.paths)
    return server.study_id(study.study_instance_uid)


def _make_urgent(study: PhantomStudy) -> None:
    for path in study.paths:
        ds = dcmread(path)
        ds.RequestedProcedurePriority = "STAT"
        ds.save_as(path)


class TestPriorities:
    def test_manual_before_stat_before_routine(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Three studies wait in a paused queue, in the wrong order; resumed, they go by their priority."""
        server = start_orthanc()
        server.post("/enhancement/pause").raise_for_status()
        routine, stat, manual = make_study(), make_study(), make_study()
        _make_urgent(stat)
        ids = [_send(server, study) for study in (routine, stat, manual)]
        for study_id in ids:
            server.wait_for_job(study_id, {"QUEUED"})
        assert server.post(f"/enhancement/studies/{ids[2]}").status_code == 202
        server.wait(lambda: server.jobs(ids[2])[0]["priority"] == "manual", 60, "the click to count")
        assert [server.jobs(study_id)[0]["priority"] for study_id in ids] == ["routine", "stat", "manual"]
        server.post("/enhancement/resume").raise_for_status()
        started = {}
        for study_id in ids:
            job = server.wait_for_job(study_id, {"STORED"})
            started[study_id] = server.get(f"/enhancement/jobs/{job['id']}")["attempt_list"][0]["started_at"]
        assert sorted(ids, key=started.__getitem__) == ids[::-1]

    def test_a_full_queue_refuses_and_takes_the_study_later(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """The second study stays noticed, not lost; a person can make room."""
        server = start_orthanc({"ContrastEnhancement.Queue.MaxQueued": 1})
        server.post("/enhancement/pause").raise_for_status()
        first_id = _send(server, make_study())
        job = server.wait_for_job(first_id, {"QUEUED"})
        second_id = _send(server, make_study())
        server.wait(lambda: '"event": "queue full"' in server.log_text(), 60, "the full queue")
        assert server.get("/enhancement/status")["arrivals"] == 1
        assert server.post(f"/enhancement/jobs/{job['id']}/cancel").status_code == 200
        assert server.post(f"/enhancement/studies/{second_id}").status_code == 202
        server.post("/enhancement/resume").raise_for_status()
        assert server.wait_for_job(second_id, {"STORED"})["result_uids"]
        assert [item["state"] for item in server.jobs(first_id)] == ["CANCELLED"]

    def test_cancelled_while_it_runs_then_tried_again(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        server = start_orthanc(variables={"LIGHT_SECONDS": "6"})
        study_id = _send(server, make_study())
        job = server.wait_for_job(study_id, {"RUNNING"})
        assert server.post(f"/enhancement/studies/{study_id}/cancel").status_code == 200
        assert server.wait_for_job(study_id, {"CANCELLED"})["code"] == "CANCELLED"
        assert server.results(study_id) == []
        assert server.post(f"/enhancement/jobs/{job['id']}/cancel").status_code == 409
        assert server.post(f"/enhancement/jobs/{job['id']}/retry").status_code == 202
        assert server.wait_for_job(study_id, {"STORED"})["origin"] == "retry"


class TestIncomplete:
    def test_a_study_that_never_completes_is_reported_until_it_does(
        self, orthanc: Orthanc, make_study: MakeStudy
    ) -> None:
        """With what is missing and since when; in the list, on the study, and as a metric."""
        study = make_study()
        t1c = study.paths_of("T1C")
        orthanc.send(study.paths_without(t1c))
        study_id = orthanc.study_id(study.study_instance_uid)
        orthanc.wait_for_job(study_id, {"REJECTED"})
        shown = orthanc.get(f"/enhancement/studies/{study_id}")
        assert (shown["state"], shown["missing"][0]) == ("INCOMPLETE", "T1C")
        assert "taken up by itself" in shown["advice"]
        assert study_id in [item["study_id"] for item in orthanc.get("/enhancement/incomplete")["studies"]]

        def gauge() -> float:
            text = orthanc.http.get("/tools/metrics-prometheus").text
            lines = [line.split() for line in text.splitlines() if line.startswith("enhancement_studies_incomplete")]
            return float(lines[0][1]) if lines else 0.0

        orthanc.wait(lambda: gauge() >= 1, 60, "the metric")
        orthanc.send(t1c)
        orthanc.wait_for_job(study_id, {"STORED"})
        assert orthanc.get(f"/enhancement/studies/{study_id}")["state"] == "STORED"
        assert study_id not in [item["study_id"] for item in orthanc.get("/enhancement/incomplete")["studies"]]


class TestSuperseded:
    @pytest.mark.parametrize("keep", [True, False])
    def test_the_former_result_stays_or_goes(self, start_orthanc: Start, make_study: MakeStudy, keep: bool) -> None:
        """A longer T1c comes after the first was enhanced; the new result names the old one either way."""
        server = start_orthanc({"ContrastEnhancement.Output.KeepSuperseded": keep})
        study = make_study()
        t1c = study.paths_of("T1C")
        server.send(study.paths_without(t1c[5:]))
        study_id = server.study_id(study.study_instance_uid)
        old = server.wait_for_job(study_id, {"STORED"})
        server.send(t1c[5:])
        server.wait(lambda: len(server.jobs(study_id)) == 2, 60, "the second job")
        new = server.wait_for_job(study_id, {"STORED"})
        wanted = {*new["result_uids"], *(old["result_uids"] if keep else [])}
        server.wait(lambda: _results(server, study_id) == wanted, 60, "what is to stay")
        [result] = [item for item in server.results(study_id) if _uid(item) in new["result_uids"]]
        assert old["result_uids"][0] in server.datasets(result["ID"])[0].to_json()


class TestAfterStoring:
    def test_a_result_deleted_after_a_restart_stays_away(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Orthanc names a deleted series by its own identifier, which this process has never seen."""
        server = start_orthanc()
        study = make_study()
        study_id = _send(server, study)
        server.wait_for_job(study_id, {"STORED"})
        server.stop()
        server.start()
        [result] = server.results(study_id)
        server.http.delete(f"/series/{result['ID']}").raise_for_status()
        job = server.wait_for_job(study_id, {"CANCELLED"})
        assert job["code"] == "RESULT_DELETED"

    def test_a_study_deleted_after_it_was_stored_and_sent_again(
        self, start_orthanc: Start, make_study: MakeStudy
    ) -> None:
        """Its series are reported deleted before the study is; that is no wish to be without the result."""
        server = start_orthanc()
        study = make_study()
        study_id = _send(server, study)
        server.wait_for_job(study_id, {"STORED"})
        server.http.delete(f"/studies/{study_id}").raise_for_status()
        assert server.wait_for_job(study_id, {"CANCELLED"})["state"] == "CANCELLED"
        server.wait(lambda: server.jobs(study_id)[0]["code"] == "STUDY_DELETED", 60, "the deletion")
        _send(server, study)
        assert server.wait_for_job(study_id, {"STORED"})["result_uids"]
        assert len(server.results(study_id)) == 1

    def test_the_study_is_labelled_where_orthanc_knows_labels(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        if not orthanc.get("/system").get("HasLabels"):
            pytest.skip("this Orthanc is older than 1.12 and knows no labels")
        study_id = _send(orthanc, make_study())
        orthanc.wait_for_job(study_id, {"STORED"})
        orthanc.wait(lambda: "contrast-enhanced" in orthanc.get(f"/studies/{study_id}/labels"), 60, "the label")


def _uid(series: dict[str, Any]) -> str:
    return str(series["MainDicomTags"]["SeriesInstanceUID"])


def _results(server: Orthanc, study_id: str) -> set[str]:
    return {_uid(item) for item in server.results(study_id)}
