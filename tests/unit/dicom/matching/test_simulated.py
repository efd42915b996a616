"""Simulated studies of every maker: roles and ADC are right, or the study is held; never wrong.

Also where an anonymiser took the description, the agent, the clocks or all of them.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset

from enhancement.dicom.matching.match import match
from enhancement.dicom.matching.report import StudyMatch
from enhancement.dicom.reading.diffusion import read_diffusion
from enhancement.pipeline.study_adc import study_adc
from enhancement.settings import Role
from simulation.study import Simulated
from simulation.vendors import Vendor
from unit.simulated import instances, small_study

pytestmark = pytest.mark.slow

_NAMES = ("SeriesDescription", "ProtocolName", "SequenceName", "PulseSequenceName")
_AGENT = ("ContrastBolusAgent", "ContrastBolusVolume", "ContrastBolusTotalDose", "ContrastBolusStartTime",
          "ContrastBolusAgentSequence", "ContrastBolusRoute")  # fmt: skip
_CLOCKS = ("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "SeriesDate", "SeriesTime", "ContentTime")
TAKEN: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "names": _NAMES,
    "agent": _AGENT,
    "clocks": _CLOCKS,
    "names and clocks": (*_NAMES, *_CLOCKS),
    "names and agent": (*_NAMES, *_AGENT),
    "all of them": (*_NAMES, *_AGENT, *_CLOCKS),
}
GRIDS = {"3D": {"spacing_mm": (3.0, 3.0, 2.0)}, "2D": {"spacing_mm": (3.0, 3.0, 5.0)}}


@pytest.fixture(scope="module", params=[(vendor, grid) for vendor in get_args(Vendor) for grid in GRIDS], ids="-".join)
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    vendor, grid = request.param
    folder: Path = tmp_path_factory.mktemp(f"{vendor}-{grid}")
    return small_study(folder, vendor=vendor, noise_free=True, **GRIDS[grid])


def _matched(study: Simulated, without: tuple[str, ...]) -> StudyMatch:
    headers: list[Dataset] = [dcmread(path, stop_before_pixels=True) for path in study.files]
    for ds in headers:
        for keyword in without:
            if keyword in ds:
                del ds[keyword]
    return match(copy.deepcopy(headers))


def _truth(study: Simulated) -> dict[str, tuple[str, ...]]:
    return {role: (facts["series_instance_uid"],) for role, facts in study.facts["series"].items()}


def test_every_series_plays_its_role(study: Simulated) -> None:
    """As written."""
    found = _matched(study, ())
    assert {str(role): found.uids(role) for role in found.roles} == _truth(study)
    assert not found.ambiguous
    assert found.pair is not None
    assert found.pair.certainty == "sure"


@pytest.mark.parametrize("taken", TAKEN)
def test_no_role_is_wrong(study: Simulated, taken: str) -> None:
    """A role that is played is played by its series; T1 and T1c are held where nothing is left that tells them."""
    found, truth = _matched(study, TAKEN[taken]), _truth(study)
    for role in found.roles:
        assert found.uids(role) == truth[str(role)], f"{role}: {found.to_json()}"
    for role in (Role.T1, Role.T1C):
        assert role in found.roles or role in found.ambiguous or role in found.missing


def test_the_adc_is_that_of_the_tissue(study: Simulated) -> None:
    """Computed from the images that play the role; within 3 % of the truth in the median over tissue."""
    diffusion = read_diffusion(instances(study, "DWI"))
    adc = study_adc(diffusion, None)
    assert adc.computed, adc.notes
    assert adc.adc is not None
    measured = sitk.GetArrayFromImage(adc.adc)
    truth = sitk.GetArrayFromImage(sitk.ReadImage(str(study.truth / "adc.nii.gz")))
    both = (truth > 0) & (measured > 0)
    assert both.sum() > 1000
    assert np.median(np.abs(measured[both] / truth[both] - 1)) < 0.03
