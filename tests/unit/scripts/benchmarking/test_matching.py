"""scripts/benchmark.py, the part of matching: the study that is matched, and what is told of it."""

from __future__ import annotations

from collections import Counter

from benchmarking.matching import measure, study
from enhancement.dicom.matching.match import match
from enhancement.settings import Role


def test_a_small_study_is_measured() -> None:
    """Every header is read and matched, and the time is that of this process alone."""
    told: list[str] = []
    figures = measure(series=16, images=20, say=told.append)
    assert figures["headers"] == 16 * 20
    assert figures["roles"] >= 5
    assert 0 <= figures["seconds"] < 10
    assert told[0].startswith("matching: 320 headers in ")


def test_the_study_has_what_matching_works_on() -> None:
    """Whole volumes of every role, diffusion with its directions, and repeats."""
    headers = list(study(16, 100))
    assert set(Counter(str(ds.SeriesInstanceUID) for ds in headers).values()) == {100}
    found = match(headers)
    assert {Role.T1, Role.T1C, Role.FLAIR, Role.DWI, Role.ADC, Role.T2} <= set(found.roles)
    assert not found.ambiguous
