"""Copies of an enhanced study: they hold one result, adopted, and a recall finds it whatever its header lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from server.server import Orthanc
from unit.phantom import PhantomStudy

Start = Callable[..., Orthanc]
MakeStudy = Callable[..., PhantomStudy]


def _enhanced(server: Orthanc, study: PhantomStudy) -> tuple[str, dict[str, Any]]:
    server.send(study.paths)
    study_id = server.study_id(study.study_instance_uid)
    job = server.wait_for_job(study_id, {"STORED"})
    server.wait_for_looks()
    return study_id, job


class TestCopy:
    @pytest.mark.parametrize(
        "request_body",
        [
            ("modify", {"Replace": {"StudyDescription": "copied"}}),
            ("modify", {"Replace": {"StudyDescription": "moved"}, "KeepSource": False}),
            ("anonymize", {"Keep": ["SeriesDescription", "StudyDescription"]}),
        ],
        ids=["modified", "moved", "anonymised"],
    )
    def test_keeps_its_one_result(
        self, orthanc: Orthanc, make_study: MakeStudy, request_body: tuple[str, dict[str, Any]]
    ) -> None:
        """Nothing is computed for it, also not when it becomes stable again."""
        study_id, job = _enhanced(orthanc, make_study())
        kind, body = request_body
        copy = orthanc.post(f"/studies/{study_id}/{kind}", body | {"Synchronous": True}).raise_for_status().json()["ID"]
        adopted = orthanc.wait_for_job(copy, {"STORED"})
        assert (adopted["origin"], adopted["attempts"], adopted["recipe"]) == ("adopted", 0, job["recipe"])
        orthanc.wait_until_reconciled()
        [result] = orthanc.results(copy)
        assert [result["MainDicomTags"]["SeriesInstanceUID"]] == adopted["result_uids"]

    def test_an_adopted_result_goes_with_its_own_source(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        study_id, _ = _enhanced(orthanc, make_study())
        body = {"Replace": {"StudyDescription": "copied"}, "Synchronous": True}
        copy = orthanc.post(f"/studies/{study_id}/modify", body).raise_for_status().json()["ID"]
        orthanc.wait_for_job(copy, {"STORED"})
        orthanc.wait_for_looks()
        series = orthanc.get(f"/studies/{copy}/series")
        [t1c] = [one["ID"] for one in series if one["MainDicomTags"].get("SeriesDescription", "").endswith("+C")]
        orthanc.http.delete(f"/series/{t1c}").raise_for_status()
        orthanc.wait(lambda: orthanc.results(copy) == [], 60, "the copy's result to go")
        assert len(orthanc.results(study_id)) == 1

    def test_two_studies_merged(self, orthanc: Orthanc, make_study: MakeStudy) -> None:
        study_id, _ = _enhanced(orthanc, make_study())
        other = make_study(roles=("FLAIR",))
        orthanc.send(other.paths)
        target = orthanc.study_id(other.study_instance_uid)
        body = {"Resources": [study_id], "KeepSource": False, "Synchronous": True}
        orthanc.post(f"/studies/{target}/merge", body).raise_for_status()
        assert orthanc.wait_for_job(target, {"STORED"})["origin"] == "adopted"
        assert len(orthanc.results(target)) == 1


class TestTwoPatientIds:
    def test_the_right_study_keeps_its_result_when_the_wrong_one_is_deleted(
        self, orthanc: Orthanc, make_study: MakeStudy
    ) -> None:
        """A mistyped PatientID: the same UIDs twice."""
        from pydicom import dcmread

        study = make_study(patient_id="WRONG")
        wrong, job = _enhanced(orthanc, study)
        before = set(orthanc.studies())
        for path in study.paths:
            instance = dcmread(path)
            instance.PatientID = "RIGHT"
            instance.save_as(path)
        orthanc.send(study.paths)
        [right] = set(orthanc.studies()) - before
        kept = orthanc.wait_for_job(right, {"STORED"})
        assert kept["result_uids"] == job["result_uids"]
        orthanc.http.delete(f"/studies/{wrong}").raise_for_status()
        orthanc.wait(lambda: orthanc.jobs(wrong)[0]["code"] == "STUDY_DELETED", 60, "the deletion")
        assert orthanc.jobs(right)[0]["state"] == "STORED"
        listed = orthanc.get("/enhancement/results", model=job["model_digest"])["results"]
        assert right in [one["study_id"] for one in listed]
        body = {"reason": "recall"}
        assert orthanc.post(f"/enhancement/results/{kept['id']}/withdraw", body).status_code == 200
        assert orthanc.results(right) == []


class TestRecallOfCopies:
    def test_finds_and_withdraws_every_copy(self, start_orthanc: Start, make_study: MakeStudy) -> None:
        """Also one whose header names neither maker, nor model, nor method; page by page, whatever the search limit."""
        server = start_orthanc({"LimitFindResults": 1, "ContrastEnhancement.Automatic": False})
        study = make_study()
        server.send(study.paths)
        study_id = server.study_id(study.study_instance_uid)
        server.post(f"/enhancement/studies/{study_id}")
        job = server.wait_for_job(study_id, {"STORED"})
        stripped = {"Remove": ["Manufacturer", "ContributingEquipmentSequence", "SeriesDescription", "ImageType"]}
        bodies = [("modify", {}), ("anonymize", {}), ("anonymize", {"DicomVersion": "2008"}), ("modify", stripped)]
        copies = set()
        for kind, body in bodies:
            answer = server.post(f"/studies/{study_id}/{kind}", {"Synchronous": True, "Force": True} | body)
            copies.add(answer.raise_for_status().json()["ID"])
        server.wait(lambda: _found_in(server, job["model_digest"]) == copies, 30, "every copy to be found")
        parts = [
            server.get("/enhancement/results", model=job["model_digest"], since=str(at), limit="3") for at in (0, 3)
        ]
        assert [part["next"] for part in parts] == [3, 6]
        found = server.get("/enhancement/results", model=job["model_digest"])
        assert (found["counts"]["results"], found["counts"]["unlisted"], found["counts"]["series"]) == (1, 4, 15)
        for one in found["unlisted"]:
            body = {"model": job["model_digest"], "reason": "test"}
            server.post(f"/enhancement/series/{one['series_id']}/withdraw", body).raise_for_status()
        found = server.get("/enhancement/results", model=job["model_digest"])
        assert (found["unlisted"], found["unattributed"]) == ([], [])


def _found_in(server: Orthanc, model: str) -> set[str]:
    return {one["study_id"] for one in server.get("/enhancement/results", model=model)["unlisted"]}
