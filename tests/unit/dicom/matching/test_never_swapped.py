"""T1 and T1c are never swapped where the agent, the order of acquisition or a mark tells them apart: random studies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from enhancement.dicom.matching.match import match
from enhancement.settings import Role
from unit.series_builder import classic

SEQUENCES: dict[str, dict[str, Any]] = {
    "mprage": {"ScanningSequence": ["GR", "IR"], "MRAcquisitionType": "3D", "RepetitionTime": 2000.0, "EchoTime": 2.9,
               "InversionTime": 900.0, "FlipAngle": 9.0},
    "spgr": {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "RepetitionTime": 8.0, "EchoTime": 3.0,
             "FlipAngle": 12.0},
    "se": {"ScanningSequence": "SE", "MRAcquisitionType": "2D", "RepetitionTime": 500.0, "EchoTime": 10.0,
           "FlipAngle": 90.0},
}  # fmt: skip
FLAIR = {"ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000.0, "EchoTime": 120.0, "InversionTime": 2500.0}
BOLUS = {"ScanningSequence": ["EP", "GR"], "MRAcquisitionType": "2D", "RepetitionTime": 1500.0, "EchoTime": 30.0}
MARKS = (
    ("T1", "T1 KM"), ("T1 nativ", "T1 post Gd"), ("T1 sem contraste", "T1 com contraste"), ("T1 平扫", "T1 增强"),
    ("T1 без КУ", "T1 с КУ"), ("T1 C-", "T1 C+"), ("T1 pre", "T1"), ("T1W 単純", "T1W 造影"),
    ("T1 PRE-OP", "T1 PRE-OP GAD"),
    ("T1", "T1 ProHance"), ("T1 non-con", "T1 w/con"), ("T1 utan kontrast", "T1 efter kontrast"),
)  # fmt: skip
SILENT = ("T1 3D", "T1 MPRAGE PRE-OP", "T1 post biopsy", "T1 axial", "T1 W/WO CONTRAST", "Т1 сагит")
CLOCKS = ("true", "none", "zero", "study", "series only", "undated")
DAY_S = 86400


def clock(series: list[Dataset], how: str, second: int) -> list[Dataset]:
    """Write when a series was acquired, `second` from midnight of the first day, as a scanner or an anonymiser does."""
    day, at = f"{20250101 + second // DAY_S}", second % DAY_S
    time = f"{at // 3600:02d}{at // 60 % 60:02d}{at % 60:02d}"
    clocks: dict[str, dict[str, str]] = {
        "true": {"AcquisitionDate": day, "AcquisitionTime": time, "SeriesDate": day, "SeriesTime": time},
        "none": {},
        "zero": {"AcquisitionTime": "000000", "SeriesTime": "000000"},
        "study": {"StudyTime": "090000", "SeriesTime": "090000", "SeriesDate": "20250101"},
        "series only": {"SeriesDate": day, "SeriesTime": time},
        "undated": {"AcquisitionTime": time},
    }
    for ds in series:
        for keyword, value in clocks[how].items():
            setattr(ds, keyword, value)
    return series


@st.composite
def studies(draw: st.DrawFn) -> tuple[list[Dataset], str, str]:
    """A study, and the SeriesInstanceUIDs of what is T1 and T1c in truth."""
    telling = draw(st.sets(st.sampled_from(("agent", "order", "mark")), min_size=1))
    sequences = draw(st.tuples(st.sampled_from(sorted(SEQUENCES)), st.sampled_from(sorted(SEQUENCES))))
    how = "true" if "order" in telling else draw(st.sampled_from(CLOCKS))
    start = draw(st.integers(0, 2 * DAY_S - 1))
    gap = draw(st.integers(200, 5000))
    names = draw(st.sampled_from(MARKS)) if "mark" in telling else (draw(st.sampled_from(SILENT)),) * 2
    agents = (
        [{}, {"ContrastBolusAgent": "Gadobutrol"}] if "agent" in telling else [draw(st.sampled_from(_NOT_TELLING))] * 2
    )
    numbers = draw(st.permutations(range(1, 9)))
    thin = draw(st.booleans())
    pair = []
    for index, name in enumerate(names):
        volume = np.zeros((4 if thin and index else 2, 4, 4), np.uint16)
        attributes = {**SEQUENCES[sequences[index]], **agents[index], "SeriesNumber": numbers[index]}
        pair.append(clock(classic(name, volume=volume, **attributes), how, start + index * 2 * gap))
    study = [*pair[0], *pair[1]]
    everywhere = {} if "agent" in telling else agents[0]
    small = np.zeros((2, 4, 4), np.uint16)
    if draw(st.booleans()):
        study += clock(
            classic("t2_flair", volume=small, SeriesNumber=numbers[2], **FLAIR, **everywhere), how, start + gap // 2
        )
    if "order" in telling:
        study += clock(
            classic("ep2d_perf", volume=small, SeriesNumber=numbers[3], **BOLUS, **everywhere), how, start + gap
        )
    for at, (name, attributes) in enumerate(
        draw(st.lists(st.sampled_from(_DISTRACTORS), max_size=3, unique_by=lambda d: d[0]))
    ):
        extra = classic(name, volume=small, SeriesNumber=numbers[4 + at], **attributes)
        study += clock(extra, "true", draw(st.integers(0, 3 * DAY_S - 1)))
    return draw(st.permutations(study)), str(pair[0][0].SeriesInstanceUID), str(pair[1][0].SeriesInstanceUID)


_NOT_TELLING: tuple[dict[str, str], ...] = ({}, {"ContrastBolusAgent": "DOTAREM"}, {"ContrastBolusAgent": "NONE"})
_DISTRACTORS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("rCBV perfusion map", {"ImageType": ["DERIVED", "SECONDARY", "PERFUSION"]}),
    ("tumour seg - T1 post gad", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"}),
    ("T1 +C annotations", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}),
    ("T1 KM MPR", {"ImageType": ["DERIVED", "SECONDARY", "MPR"]}),
    ("DCE flip 5", {**SEQUENCES["spgr"], "FlipAngle": 5.0}),
    ("pcasl perfusion", {**BOLUS, "EchoTime": 14.0}),
    ("IVIM perfusion", {**BOLUS, "ScanningSequence": ["EP", "SE"]}),
)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(studies())
def test_never_swapped(drawn: tuple[list[Dataset], str, str]) -> None:
    """Whatever is misleading: clocks, dates, midnight, results made later, words of procedures, an agent on all."""
    headers, t1, t1c = drawn
    found = match(headers)
    assert found.roles.get(Role.T1) != t1c, found.to_json()
    assert found.roles.get(Role.T1C) != t1, found.to_json()
