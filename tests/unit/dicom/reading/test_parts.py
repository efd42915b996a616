"""One volume out of a series that holds several, or one image too many; pixels whose bits lie high."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from enhancement.dicom.reading.series import read_series
from enhancement.errors import InconsistentGeometry
from unit.series_builder import classic, ramp

UID = "1.2.3.9"


def part(*kinds: str, **attributes: Any) -> list[Dataset]:
    return classic(series_uid=UID, ImageType=["DERIVED", "PRIMARY", *kinds], **attributes)


@pytest.mark.parametrize(("wanted", "others"), [("W", ("F", "IP", "OP")), ("UNI-DEN", ("UNI", "INV1", "INV2"))])
def test_the_kind_that_is_meant(wanted: str, others: tuple[str, ...]) -> None:
    """Water of a Dixon series, the uniform image of MP2RAGE."""
    series = [ds for kind in (*others, wanted) for ds in part(kind)]
    volume = read_series(series)
    assert {part.header.ImageType[2] for part in volume.slices} == {wanted}
    assert "of another kind" in volume.notes[0]


def test_the_corrected_one() -> None:
    """With and without the scanner's normalisation."""
    volume = read_series(part("M", "ND") + part("M", "ND", "NORM"))
    assert {part.header.ImageType[-1] for part in volume.slices} == {"NORM"}


def test_a_scout_is_left_out() -> None:
    """It lies where a slice lies, in another plane."""
    scout = classic(volume=ramp(1), series_uid=UID, orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    volume = read_series(classic(volume=ramp(20), series_uid=UID) + scout)
    assert volume.image.GetSize()[2] == 20
    assert volume.notes == ("1 images of another size or orientation left out",)


def test_copies_count_once() -> None:
    """Slices stored again under new identifiers; other pixels at one place stay a refusal."""
    series = classic(series_uid=UID)
    extra = copy.deepcopy(series[2:4])
    for ds in extra:
        ds.SOPInstanceUID = generate_uid()
    assert read_series(series + extra).notes == ("2 copies of slices left out",)
    extra[0].PixelData = bytes(len(extra[0].PixelData))
    with pytest.raises(InconsistentGeometry):
        read_series(series + extra)


def test_a_slice_called_real_where_no_other_lies() -> None:
    """A mistake of the archive, and told."""
    series = classic(volume=ramp(20), series_uid=UID)
    series[7].ImageType = ["ORIGINAL", "PRIMARY", "R"]
    assert "slices called R are taken" in read_series(series).notes[0]


def test_the_word_mosaic_on_cut_slices() -> None:
    """Every slice lies at a place of its own."""
    series = classic(series_uid=UID, ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"])
    assert np.array_equal(sitk.GetArrayFromImage(read_series(series).image), ramp().astype(np.float32))


@pytest.mark.parametrize("signed", [False, True])
def test_bits_at_the_upper_end(signed: bool) -> None:
    """12 stored bits with High Bit 15, as PS3.5 once allowed."""
    truth = ramp().astype(np.int16) - (300 if signed else 0)
    series = classic(series_uid=UID, volume=(truth << 4).astype(np.int16 if signed else np.uint16))
    for ds in series:
        ds.BitsStored, ds.HighBit = 12, 15
    assert np.array_equal(sitk.GetArrayFromImage(read_series(series).image), truth.astype(np.float32))
