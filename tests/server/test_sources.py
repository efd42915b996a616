"""A result does not outlive what it was made from: deleted, split off, replaced, also while nobody listened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from server.server import Orthanc
from unit.phantom import PhantomStudy

Start = Callable[..., Orthanc]
MakeStudy = Callable[..., PhantomStudy]


def _enhanced(server: Orthanc, study: PhantomStudy) -> str:
    server.send(study.paths)
    study_id = server.study_id(study.study_instance_uid)
    server.wait_for_job(study_id, {"STORED"})
    server.wait_for_looks()
    return study_id


def _series(server: Orthanc, study: PhantomStudy, role: str) -> str:
    query = {"Level": "Series", "Query": {"SeriesInstanceUID": study.series_instance_uids[role]}}
    [found] = server.post("/tools/find", query).json()
    return str(found)


def _withdrawn(server: Orthanc, study_id: str) -> dict[str, Any]:
    """The job whose result went with a source."""

    def gone() -> list[dict[str, Any]]:
        return [job for job in server.jobs(study_id) if job["code"] == "SOURCE_GONE"]

    [job] = server.wait(gone, 60, "the result to go with its source")
    return dict(job)


def _records(server: Orthanc, study_id: str) -> list[dict[str, Any]]:
    return list(server.get(f"/studies/{study_id}/attachments/enhancement-audit/data")["records"])


class TestSourceGone:
    def test_the_result_of_a_deleted_t1c_goes_too(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        """With a record of why on the study; the study waits for its T1c, and has its result again with it."""
        study = make_study()
        study_id = _enhanced(orthanc, study)
        t1c = _series(orthanc, study, "T1C")
        orthanc.http.delete(f"/series/{t1c}").raise_for_status()
        job = _withdrawn(orthanc, study_id)
        assert job["state"] == "CANCELLED"
        assert study.series_instance_uids["T1C"] in job["reason"]
        orthanc.wait(lambda: orthanc.results(study_id) == [], 60, "the series to go")

        def by() -> list[str]:
            return [one["by"] for one in _records(orthanc, study_id) if one.get("code") == "SOURCE_GONE"]

        orthanc.wait(lambda: by() == ["enhancement"], 60, "the record of it")
        incomplete = f"/enhancement/studies/{study_id}"
        orthanc.wait(lambda: orthanc.get(incomplete)["state"] == "INCOMPLETE", 60, "the study to be incomplete")
        orthanc.send(study.paths_of("T1C"))
        assert orthanc.wait_for_job(study_id, {"STORED"})["result_uids"] == job["result_uids"]
        assert len(orthanc.results(study_id)) == 1

    def test_an_unenhanced_source_counts_as_well(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        """The T1 may have been the other patient's."""
        study = make_study()
        study_id = _enhanced(orthanc, study)
        orthanc.http.delete(f"/series/{_series(orthanc, study, 'T1')}").raise_for_status()
        assert _withdrawn(orthanc, study_id)["state"] == "CANCELLED"

    def test_the_result_of_a_t1c_that_was_split_off(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        study = make_study()
        study_id = _enhanced(orthanc, study)
        body = {"Series": [_series(orthanc, study, "T1C")], "KeepSource": False, "Synchronous": True}
        orthanc.post(f"/studies/{study_id}/split", body).raise_for_status()
        assert _withdrawn(orthanc, study_id)["state"] == "CANCELLED"
        orthanc.wait(lambda: orthanc.results(study_id) == [], 60, "the series to go")

    def test_a_source_that_went_while_nobody_listened(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Orthanc ran for a while without the plugin's work."""
        server = start_orthanc()
        study = make_study()
        study_id = _enhanced(server, study)
        server.stop()
        server.settings["ContrastEnhancement.Ledger.ArchiveName"] = "another"
        server.start()
        server.http.delete(f"/series/{_series(server, study, 'T1C')}").raise_for_status()
        server.stop()
        del server.settings["ContrastEnhancement.Ledger.ArchiveName"]
        server.start()
        assert _withdrawn(server, study_id)["state"] == "CANCELLED"
        server.wait(lambda: server.results(study_id) == [], 60, "the series to go")

    def test_a_site_may_have_it_flagged_instead(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """The result stays, the light is yellow, and is green again when the series is back."""
        server = start_orthanc({"ContrastEnhancement.Output.WhenSourceGone": "flag"})
        study = make_study()
        study_id = _enhanced(server, study)

        def codes() -> list[str]:
            return [problem["code"] for problem in server.get("/enhancement/status")["problems"]]

        server.http.delete(f"/series/{_series(server, study, 'T1C')}").raise_for_status()
        server.wait(lambda: "SOURCE_GONE" in codes(), 60, "the light")
        assert _withdrawn(server, study_id)["state"] == "STORED"
        assert len(server.results(study_id)) == 1
        server.send(study.paths_of("T1C"))
        server.wait(lambda: "SOURCE_GONE" not in codes(), 60, "the light to be as before")
        assert len(server.results(study_id)) == 1
