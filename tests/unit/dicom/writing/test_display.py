"""Windows: brain as grey in T1c-pro as in the T1c, and amplified contrast not one white blot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from enhancement.dicom.reading.series import SeriesVolume, read_series
from enhancement.dicom.writing.derived import enhanced_series
from enhancement.dicom.writing.display import WIDEST, Window, enhanced_windows, source_window
from unit import phantom
from unit.derived_support import WORDS, derive, derive_adc, provenance

COARSE = {"spacing_mm": (6.0, 6.0, 8.0), "dwi_spacing_mm": (8.0, 8.0, 10.0)}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.PhantomStudy:
    return phantom.write_study(tmp_path_factory.mktemp("study"), roles=("T1C", "DWI"), **COARSE)


def _shown(study: phantom.PhantomStudy, **elements: object) -> SeriesVolume:
    """The T1c with other display elements."""
    instances = [dcmread(path) for path in study.paths if path.parent.name.endswith("_T1C")]
    for ds in instances:
        for keyword in ("WindowCenter", "WindowWidth"):
            del ds[keyword]
        for keyword, element in elements.items():
            setattr(ds, keyword, element)
    return read_series(instances)


def _brighter(image: sitk.Image, factor: float) -> sitk.Image:
    """The brightest thousandth of the object amplified."""
    array = sitk.GetArrayFromImage(image)
    array = np.where(array >= np.percentile(array[array > 0], 95.0), array * factor, array)
    enhanced = sitk.GetImageFromArray(array)
    enhanced.CopyInformation(image)
    return enhanced


def _limits(ds: Dataset, index: int = 0) -> tuple[float, float]:
    centers, widths = (np.atleast_1d(ds[keyword].value) for keyword in ("WindowCenter", "WindowWidth"))
    center, width = float(centers[index]), float(widths[index])
    return center - width / 2, center + width / 2


def test_what_is_not_amplified_is_shown_as_the_t1c(study: phantom.PhantomStudy) -> None:
    datasets, source, _ = derive(study)
    header = source.slices[0].header
    assert (datasets[0].WindowCenter, datasets[0].WindowWidth) == (header.WindowCenter, header.WindowWidth)


def test_amplified_contrast_gets_room_and_the_t1c_s_window_comes_second(study: phantom.PhantomStudy) -> None:
    source = _shown(study, WindowCenter="1950", WindowWidth="4000")
    ds = enhanced_series(_brighter(source.image, 4.0), source, {}, provenance(), WORDS)[0]
    assert _limits(ds, 1) == (-50.0, 3950.0)
    assert _limits(ds, 0) == (-50.0, -50.0 + 4000 * WIDEST)
    assert list(ds.WindowCenterWidthExplanation) == ["Amplified contrast", "As the T1c"]


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"WindowCenter": "450"},
        {"WindowCenter": "450", "WindowWidth": "1"},
        {"WindowCenter": "30000", "WindowWidth": "60000"},
        {"WindowCenter": "-500", "WindowWidth": "400"},
        {"WindowCenter": "450", "WindowWidth": "900", "VOILUTFunction": "SIGMOID"},
    ],
)
def test_a_window_that_would_hide_the_brain_is_not_taken_over(
    study: phantom.PhantomStudy, elements: dict[str, str]
) -> None:
    source = _shown(study, **elements)
    low, high = _limits(enhanced_series(source.image, source, {}, provenance(), WORDS)[0])
    array = sitk.GetArrayFromImage(source.image)
    assert low == 0
    assert 0.9 * np.percentile(array, 98) < high < 1.2 * array.max()


def test_the_first_of_several_windows_counts(study: phantom.PhantomStudy) -> None:
    source = _shown(study, WindowCenter=["500", "40"], WindowWidth=["1000", "80"])
    assert source_window(source.slices) == Window(0.0, 1000.0)


def test_windows_that_differ_from_slice_to_slice_become_one(study: phantom.PhantomStudy) -> None:
    source = _shown(study)
    for number, part in enumerate(source.slices):
        part.header.WindowCenter, part.header.WindowWidth = 500 + number, 1000 + 2 * number
    middle = (len(source.slices) - 1) / 2
    assert source_window(source.slices) == Window(0.0, 1000 + 2 * middle)


def test_the_window_of_a_frame_is_found_in_its_functional_groups(study: phantom.PhantomStudy) -> None:
    source = _shown(study)
    look, group, header = Dataset(), Dataset(), Dataset()
    look.WindowCenter, look.WindowWidth = "300", "600"
    group.FrameVOILUTSequence = DicomSequence([look])
    header.PerFrameFunctionalGroupsSequence = DicomSequence([group])
    part = replace(source.slices[0], header=header, frame_number=1)
    assert source_window([part]) == Window(0.0, 600.0)


def test_a_rescaled_t1c_is_shown_in_rescaled_numbers(tmp_path: Path) -> None:
    """Philips: the window counts after rescale, and so do the numbers that T1c-pro holds."""
    study = phantom.write_study(tmp_path, vendor="philips", roles=("T1C",), **COARSE)
    datasets, source, _ = derive(study)
    stored = np.stack([ds.pixel_array for ds in datasets])
    scale = round(stored.max() / sitk.GetArrayViewFromImage(source.image).max())
    assert _limits(datasets[0])[1] == pytest.approx(scale * float(source.slices[0].header.WindowWidth), rel=1e-3)


def test_a_few_bright_voxels_do_not_darken_the_brain() -> None:
    source = np.full((4, 40, 40), 500, dtype=np.uint16)
    enhanced = source.copy()
    enhanced[2, 3, :10] = 60000
    assert enhanced_windows(enhanced, source, Window(0.0, 1000.0), ("more", "less")) == (Window(0.0, 1000.0),)


def test_the_adc_s_window_is_that_of_its_unit(study: phantom.PhantomStudy) -> None:
    ds = derive_adc(study)[0]
    assert (ds.WindowCenter, ds.WindowWidth) == (1500, 3000)
