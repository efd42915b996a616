"""Orthanc's own database is busy: its answers wait, nothing of ours is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.experiments import wrong_with
from server.shared_postgres import shared_orthancs, why_not
from unit.phantom import PhantomStudy

pytestmark = [pytest.mark.orthanc, pytest.mark.skipif(why_not() != "", reason=why_not())]

MakeStudy = Callable[..., PhantomStudy]


def test_index_locked_while_a_job_stores(orthanc_binary: str, models: Path, make_study: MakeStudy) -> None:
    """Another session holds every table of the index for ten seconds: the job waits or is tried again; one result."""
    settings = {
        "ContrastEnhancement.ModelWeights": models,
        "ContrastEnhancement.Queue.RetryInitialSeconds": 1,
        "ContrastEnhancement.Queue.LeaseSeconds": 4,
    }
    with shared_orthancs(settings, {"LIGHT_SECONDS": "3"}, count=1) as (server,):
        study = make_study()
        server.send(study.paths)
        study_id = server.study_id(study.study_instance_uid)
        server.wait_for_job(study_id, {"RUNNING"})
        url = str(server.settings["ContrastEnhancement.Ledger.Url"]).replace("postgresql:", "postgresql+psycopg:")
        engine = sa.create_engine(url)
        with engine.connect() as other, other.begin():
            other.execute(sa.text("LOCK TABLE resources, attachedfiles, metadata, changes IN ACCESS EXCLUSIVE MODE"))
            held = time.monotonic()
            while time.monotonic() - held < 10:
                assert server.get("/enhancement/status")["light"] in ("green", "yellow", "red")
                time.sleep(0.5)
        engine.dispose()
        job = server.wait_for_job(study_id, {"STORED"}, timeout_s=120)
        assert wrong_with(server, study, study_id, job) == []
