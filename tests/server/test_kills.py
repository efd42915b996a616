"""Killed again and again, alone and as a pair on one PostgreSQL; scripts/soak.py runs the same at length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server.kills import PATIENT_QUEUE, kill_again_and_again
from server.server import Orthanc
from server.shared_postgres import shared_orthancs, why_not
from unit.phantom import PhantomStudy

pytestmark = [pytest.mark.orthanc, pytest.mark.slow]

MakeStudy = Callable[..., PhantomStudy]
Start = Callable[..., Orthanc]


def test_every_study_ends_with_one_whole_result(start_orthanc: Start, make_study: MakeStudy) -> None:
    """Eight kills at random moments while four studies arrive and are worked on."""
    server = start_orthanc(PATIENT_QUEUE, variables={"LIGHT_SECONDS": "1"})
    studies = [make_study() for _ in range(4)]
    report = kill_again_and_again(
        [server],
        studies,
        kills=8,
        seed=5,
        timeout_s=120,
    )
    assert report.wrong == []
    assert report.attempts >= len(studies)


@pytest.mark.skipif(why_not() != "", reason=why_not())
def test_two_orthancs_on_one_postgresql(orthanc_binary: str, models: Path, make_study: MakeStudy) -> None:
    """They share index, files and ledger; either is killed at random; no study is enhanced twice."""
    settings = {"ContrastEnhancement.ModelWeights": models, **PATIENT_QUEUE}
    with shared_orthancs(settings, {"LIGHT_SECONDS": "1"}) as servers:
        studies = [make_study() for _ in range(4)]
        report = kill_again_and_again(servers, studies, kills=4, seed=7, timeout_s=120)
    assert report.wrong == []
