"""The demo's measures and its figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from matplotlib.image import imread
from pydicom import dcmread

from demonstration.report import Contrast, draw, largest_lesion, measure_contrast, series_image
from enhancement.dicom.reading.series import read_series
from unit import phantom


def test_contrast_is_that_of_the_papers() -> None:
    volume = np.array([[[100.0, 110.0, 90.0, 200.0]]])
    lesion = np.array([[[False, False, False, True]]])
    contrast = measure_contrast(volume, lesion, ~lesion)
    assert contrast.lbr == pytest.approx(2.0)
    assert contrast.cnr == pytest.approx(100 / np.std([100.0, 110.0, 90.0]))


def test_the_broadest_slice_of_the_largest_lesion_is_shown() -> None:
    lesion = np.zeros((6, 20, 20), dtype=bool)
    lesion[1, 2:8, 2:8] = True  # broad, but one slice
    lesion[3:6, 10:14, 12:16] = True
    lesion[4, 9:16, 11:18] = True
    assert largest_lesion(lesion) == (4, 12, 14)


def test_a_series_becomes_the_volume_that_the_plugin_reads(tmp_path: Path) -> None:
    study = phantom.write_study(
        tmp_path, roles=("T1C",), vendor="philips", reversed_slices=True, tilt_deg=(10, 5, 3), spacing_mm=(5, 6, 9)
    )
    instances = [dcmread(path) for path in study.paths]
    image, expected = series_image(instances[::-1]), read_series(instances).image
    assert image.GetSize() == expected.GetSize()
    for get in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(image, get)() == pytest.approx(getattr(expected, get)(), abs=1e-6)
    assert np.allclose(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(expected), rtol=1e-5)


def test_the_figure_is_drawn_where_the_lesion_touches_the_edge(tmp_path: Path) -> None:
    array = np.full((5, 40, 30), 100.0, dtype=np.float32)
    lesion = np.zeros(array.shape, dtype=bool)
    lesion[2, 0:6, 25:30] = True
    source = sitk.GetImageFromArray(array)
    source.SetSpacing((2.0, 1.0, 3.0))
    values = array + 80.0 * lesion
    enhanced = sitk.GetImageFromArray(values.astype(np.float32))
    enhanced.CopyInformation(source)
    file = tmp_path / "report.png"
    draw(source, enhanced, lesion, file=file, contrasts=(Contrast(1, 1), Contrast(2, 2)), title="T1c-pro")
    height, width, _ = imread(file).shape
    assert (width, height) == (1540, 924)
