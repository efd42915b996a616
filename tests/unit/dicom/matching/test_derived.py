"""What we write must never be an input of a later run, nor change how the sources are matched."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from enhancement.dicom.matching.match import match
from unit import phantom
from unit.derived_support import derive, derive_adc

COARSE = {"spacing_mm": (8.0, 8.0, 9.0), "dwi_spacing_mm": (8.0, 8.0, 10.0)}


@pytest.mark.parametrize("vendor", ["ge", "siemens", "philips"])
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
@pytest.mark.parametrize("slices_mm", [2.0, 9.0])
def test_every_series_of_the_writer_is_matched(
    tmp_path: Path, vendor: phantom.Vendor, plane: phantom.Plane, slices_mm: float
) -> None:
    spacing = {**COARSE, "spacing_mm": (12.0, 12.0, slices_mm), "extent_mm": (60.0, 60.0, 60.0)}
    study = phantom.write_study(tmp_path, vendor=vendor, plane=plane, **spacing)
    found = match([dcmread(path, stop_before_pixels=True) for path in study.paths])
    uids = {str(role): uid if isinstance(uid, str) else uid[0] for role, uid in found.roles.items()}
    assert uids == study.series_instance_uids


@pytest.mark.parametrize("hour", [1, 9, 23])
def test_results_in_the_study_change_nothing(tmp_path: Path, hour: int) -> None:
    study = phantom.write_study(tmp_path, vendor="philips", **COARSE)
    headers = [dcmread(path, stop_before_pixels=True) for path in study.paths]
    before = match(headers).roles
    results = derive(study, created=datetime(2024, 5, 14, hour, 31, tzinfo=UTC))[0] + derive_adc(study)
    assert match([*headers, *results]).roles == before
