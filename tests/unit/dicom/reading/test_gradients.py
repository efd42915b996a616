"""b-values by the length of the gradient, GE's direction table, nested scale slopes, and what cannot be compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from enhancement.dicom.reading.diffusion import read_diffusion
from enhancement.imaging.adc.fit import fit_adc
from unit.series_builder import classic

ADC = 0.8e-3
S = 0.7071
TABLE = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (S, S, 0), (0, S, S), (S, 0, S)]
EPI: dict[str, Any] = {"ScanningSequence": ["EP", "SE"]}


def volume(b: float, at: int = 1, scale: float = 1.0, **attributes: Any) -> list[Dataset]:
    """One volume of a series, of the signal at a b-value; `b_written` is what its header says."""
    signal = np.full((4, 16, 16), round(1000 * scale * np.exp(-b * ADC)), np.uint16)
    written = attributes.pop("b_written", b)
    return classic(
        "DWI", volume=signal, series_uid="1.2.3.7", DiffusionBValue=written, AcquisitionNumber=at, **EPI, **attributes
    )


def ge(b: float, way: tuple[float, ...], at: int, written: float = 1000.0, kind: int | None = None) -> list[Dataset]:
    series = volume(b, at, b_written=written, Manufacturer="GE MEDICAL SYSTEMS", DiffusionGradientOrientation=list(way))
    for ds in series:
        if kind is not None:
            ds.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x30, "SS", kind)
    return series


def adc(series: list[Dataset]) -> float:
    found = read_diffusion(series)
    return float(np.median(sitk.GetArrayFromImage(fit_adc(found.images, found.b_values, noise_sigma=0))))


@pytest.mark.parametrize("kind", [16, None])
@pytest.mark.parametrize("true_b0", [True, False])
def test_b_zero_in_the_table(kind: int | None, true_b0: bool) -> None:
    """A line of zeros, with the shell's b-value."""
    series = volume(0, Manufacturer="GE MEDICAL SYSTEMS") if true_b0 else []
    series = series + ge(0, (0, 0, 0), 2, kind=kind)
    series += [ds for at, way in enumerate(TABLE, start=3) for ds in ge(1000, way, at, kind=kind)]
    assert adc(series) == pytest.approx(ADC, rel=0.01)


def test_the_length_counts() -> None:
    """Shells of 500 and 1000 in one table of nominal 1000."""
    series = volume(0, Manufacturer="GE MEDICAL SYSTEMS")
    for at, way in enumerate(TABLE, start=2):
        series += ge(1000, way, at) + ge(500, tuple(S * axis for axis in way), at + 10)
    found = read_diffusion(series)
    assert found.b_values == pytest.approx((0, 500, 1000), rel=0.01)
    assert adc(series) == pytest.approx(ADC, rel=0.01)


@pytest.mark.parametrize("nested", [True, False])
def test_philips_scales(nested: bool) -> None:
    """Slopes of 2 and 0.5; the scale slope is nested, or was taken out."""
    series = []
    for b, slope in ((0, 2.0), (1000, 0.5)):
        part = volume(b, scale=1 / slope, Manufacturer="Philips", RescaleSlope=slope, RescaleIntercept=0.0)
        for ds in part:
            if nested:
                item = Dataset()
                item.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 0.01 / slope)
                block = ds.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
                block.add_new(0x0F, "SQ", Sequence([item]))
        series += part
    assert adc(series) == pytest.approx(ADC, rel=0.01)


def test_images_of_the_other_way_are_left_out() -> None:
    """GE puts them into the same series."""
    maker = {"Manufacturer": "GE MEDICAL SYSTEMS"}
    series = volume(0, 1, RectilinearPhaseEncodeReordering="LINEAR", **maker)
    series += volume(0, 2, scale=0.5, RectilinearPhaseEncodeReordering="REVERSE_LINEAR", **maker)
    series += volume(1000, 3, RectilinearPhaseEncodeReordering="LINEAR", **maker)
    assert adc(series) == pytest.approx(ADC, rel=0.01)
    assert "4 images of the other phase-encoding direction left out" in read_diffusion(series).notes


def test_b_zero_of_another_echo_is_left_out() -> None:
    """A ratio of two echo times is no ADC."""
    series = volume(0, 1, EchoTime=80.0) + volume(0, 2, scale=1.6, EchoTime=40.0) + volume(1000, 3, EchoTime=80.0)
    assert adc(series) == pytest.approx(ADC, rel=0.01)
