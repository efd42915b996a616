"""Several recipes beside each other: a job and a result each, in their own words, on their own reference series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.server import FINAL, Orthanc, light_model
from unit.phantom import PhantomStudy

pytestmark = pytest.mark.orthanc

Start = Callable[..., Orthanc]
MakeStudy = Callable[..., PhantomStudy]
BOTH = [{"Name": "t1c-pro"}, {"Name": "tiny", "Settings": {"factor": 3.0}}]


@pytest.fixture
def start(start_orthanc: Start, tmp_path: Path) -> Start:
    """An Orthanc with a second, tiny recipe, of the T1 alone."""
    light_model(tmp_path / "models" / "t1c-pro")
    light_model(tmp_path / "models" / "tiny", "tiny", roles=("T1",), reference="T1")

    def begin(recipes: list[dict[str, Any]]) -> Orthanc:
        settings = {"ContrastEnhancement.ModelWeights": tmp_path / "models", "ContrastEnhancement.Recipes": recipes}
        return start_orthanc(settings, variables={"LIGHT_TINY": "1"})

    return begin


def _ended(orthanc: Orthanc, study_id: str, count: int) -> dict[str, dict[str, Any]]:
    """The jobs by recipe, once there are so many and all have ended."""

    def found() -> list[dict[str, Any]]:
        jobs = list(orthanc.jobs(study_id))
        return jobs if len(jobs) == count and all(job["state"] in FINAL for job in jobs) else []

    return {job["recipe"]: job for job in orthanc.wait(found, 60, f"{count} jobs to end")}


def test_each_recipe_has_its_result_once(start: Start, make_study: MakeStudy) -> None:
    """Stable study, two jobs, two series; a repetition by hand and the plugin's own series change nothing."""
    orthanc, study = start(BOTH), make_study()
    orthanc.send(study.paths)
    study_id = orthanc.study_id(study.study_instance_uid)
    jobs = _ended(orthanc, study_id, 2)
    assert {job["state"] for job in jobs.values()} == {"STORED"}
    assert set(jobs) == {"t1c-pro", "tiny"}
    orthanc.wait_until_reconciled()
    assert orthanc.post(f"/enhancement/studies/{study_id}").status_code == 202
    orthanc.wait_for_looks()
    assert {job["attempts"] for job in _ended(orthanc, study_id, 2).values()} == {1}
    results = {item["MainDicomTags"]["SeriesInstanceUID"]: item for item in orthanc.results(study_id)}
    assert set(results) == {job["result_uids"][0] for job in jobs.values()}
    _check_words(orthanc, study, jobs, results)


def _check_words(
    orthanc: Orthanc, study: PhantomStudy, jobs: dict[str, Any], results: dict[str, dict[str, Any]]
) -> None:
    """Each series says what it is, and lies on the series that its recipe refers to."""
    expected = {
        "t1c-pro": ("T1C", "T1C_PRO", "T1c-pro AI-enhanced, not acquired", "CONTRAST_SYNTH"),
        "tiny": ("T1", "TINY", "Tiny, not acquired", "TINY_SYNTH"),
    }
    for recipe, (role, image_type, description, code) in expected.items():
        job = orthanc.get(f"/enhancement/jobs/{jobs[recipe]['id']}")
        datasets = orthanc.datasets(results[job["result_uids"][0]]["ID"])
        assert len(datasets) == study.grids[role].size[2]
        for ds in datasets:
            assert (ds.ImageType[3], ds.SeriesDescription) == (image_type, description)
            assert ds.DerivationCodeSequence[0].CodeValue == code
            [own] = [item for item in ds.SourceImageSequence if item.SpatialLocationsPreserved == "YES"]
            series = {
                str(item.ReferencedSOPInstanceUID): str(part.SeriesInstanceUID)
                for part in ds.ReferencedSeriesSequence
                for item in part.ReferencedInstanceSequence
            }
            assert series[str(own.ReferencedSOPInstanceUID)] == study.series_instance_uids[role]
        assert job["audit"]["recipe"] == recipe
        assert next(iter(job["audit"]["inputs"])) == role
    settings = {recipe: orthanc.get(f"/enhancement/jobs/{jobs[recipe]['id']}")["audit"]["settings"] for recipe in jobs}
    assert settings["tiny"]["Recipe"] == {"factor": 3.0}
    assert "Recipe" not in settings["t1c-pro"]


def test_a_study_gets_what_it_has_the_series_for(start: Start, make_study: MakeStudy) -> None:
    """Without a T1c: the tiny one alone, and no complaint; the other follows when the T1c comes."""
    orthanc, study = start(BOTH), make_study()
    t1c = study.paths_of("T1C")
    orthanc.send(study.paths_without(t1c))
    study_id = orthanc.study_id(study.study_instance_uid)
    assert {name: job["state"] for name, job in _ended(orthanc, study_id, 1).items()} == {"tiny": "STORED"}
    orthanc.send(t1c)
    jobs = _ended(orthanc, study_id, 2)
    assert {name: job["state"] for name, job in jobs.items()} == {"tiny": "STORED", "t1c-pro": "STORED"}
    assert jobs["tiny"]["attempts"] == 1
    assert len(orthanc.results(study_id)) == 2


def test_by_name(start: Start, make_study: MakeStudy) -> None:
    """One that is not enabled is made when asked for; the status lists both, and a stranger is refused."""
    orthanc, study = start([{"Name": "t1c-pro"}, {"Name": "tiny", "Enabled": False}]), make_study()
    orthanc.send(study.paths)
    study_id = orthanc.study_id(study.study_instance_uid)
    assert set(_ended(orthanc, study_id, 1)) == {"t1c-pro"}
    told = {item["name"]: item for item in orthanc.get("/enhancement/status")["recipes"]}
    assert (told["t1c-pro"]["enabled"], told["tiny"]["enabled"]) == (True, False)
    assert told["tiny"]["model"]["name"] == "tiny"
    refused = orthanc.post(f"/enhancement/studies/{study_id}", {"recipe": "none"})
    assert (refused.status_code, refused.json()["code"]) == (400, "NO_SUCH_RECIPE")
    explained = orthanc.get(f"/enhancement/studies/{study_id}/explain")
    assert explained["pair"]["certainty"] == "sure"
    assert explained["pair"]["evidence"]
    assert explained["holds"] == {}
    assert explained["recipes"] == {
        "t1c-pro": "process without FLAIR, DWI",
        "tiny": "process",
    }
    assert orthanc.post(f"/enhancement/studies/{study_id}", {"recipe": "tiny"}).status_code == 202
    jobs = _ended(orthanc, study_id, 2)
    assert jobs["tiny"]["state"] == "STORED"
    assert jobs["t1c-pro"]["attempts"] == 1


def test_a_broken_model_holds_up_only_its_own_recipe(start: Start, make_study: MakeStudy, tmp_path: Path) -> None:
    """The other one is made; the light says which is not."""
    (tmp_path / "models" / "tiny" / "manifest.json").unlink()
    orthanc, study = start(BOTH), make_study()
    orthanc.send(study.paths)
    study_id = orthanc.study_id(study.study_instance_uid)
    jobs = _ended(orthanc, study_id, 2)
    assert jobs["t1c-pro"]["state"] == "STORED"
    assert (jobs["tiny"]["state"], jobs["tiny"]["code"]) == ("FAILED", "WEIGHTS_MISSING")
    assert orthanc.get("/enhancement/status")["light"] == "red"
