"""Real numbers as 16-bit integers: one scale for a study, a power of ten, and nothing hidden."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID

from enhancement.dicom.identity import ResultIdentity, digest_uid
from enhancement.dicom.writing.source_header import decimal
from enhancement.dicom.writing.stored_pixels import LARGEST, store_adc, store_intensities
from enhancement.errors import StageError

EXPLANATIONS = ("Amplified contrast", "As the T1c")


def _volume(peak: float) -> np.ndarray:
    return np.linspace(0, peak, 4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)


@settings(deadline=None)
@given(peak=st.floats(1e-8, 1e9))
def test_any_range_fits_and_keeps_its_levels(peak: float) -> None:
    volume = _volume(peak)
    stored = store_intensities(volume, volume / 2, None, EXPLANATIONS)
    assert math.log10(stored.scale) == pytest.approx(round(math.log10(stored.scale)), abs=1e-9)
    assert 200 <= stored.array_zyx.max() <= LARGEST
    assert (stored.clipped_low, stored.clipped_high) == (0, 0)
    assert np.abs(stored.array_zyx / stored.scale - volume).max() <= 0.51 / stored.scale + 1e-6 * peak


@pytest.mark.parametrize("peak", [200, 1000, 4095, 65535])
def test_usual_scanner_numbers_are_kept(peak: float) -> None:
    assert store_intensities(_volume(peak), _volume(peak), None, EXPLANATIONS).scale == 1


def test_the_t1c_decides_the_scale_where_the_result_is_darker() -> None:
    assert store_intensities(_volume(80), _volume(900), None, EXPLANATIONS).scale == 1


def test_negative_values_become_zero_and_are_counted() -> None:
    stored = store_intensities(_volume(1000) - 100, _volume(1000), None, EXPLANATIONS)
    assert stored.array_zyx.min() == 0
    assert stored.clipped_low > 0


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(fault: float) -> None:
    volume = _volume(1000)
    volume[1, 2, 3] = fault
    for store in (lambda: store_intensities(volume, _volume(1000), None, EXPLANATIONS), lambda: store_adc(volume)):
        with pytest.raises(StageError) as caught:
            store()
        assert caught.value.code == "DERIVED_PIXELS"


def test_the_adc_is_clipped_as_stated() -> None:
    adc = np.array([[[-0.3e-3, 0.0, 0.8e-3, 3.1e-3, 9.9e-3, 0.5]]], dtype=np.float32)
    stored = store_adc(adc)
    assert stored.array_zyx.ravel().tolist() == [0, 0, 800, 3100, 9900, 10000]
    assert (stored.clipped_low, stored.clipped_high) == (1, 1)


@settings(deadline=None)
@given(st.floats(-1e12, 1e12, allow_nan=False))
def test_decimal_strings_fit_and_keep_their_digits(number: float) -> None:
    text = decimal(number)
    assert len(text) <= 16
    assert float(text) == pytest.approx(number, rel=1e-8, abs=1e-12)


@settings(deadline=None)
@given(st.lists(st.text(max_size=70), max_size=4))
def test_uids_are_valid_whatever_they_are_made_from(parts: list[str]) -> None:
    uid = digest_uid(*parts)
    assert UID(uid).is_valid
    assert len(uid) <= 64
    assert uid == digest_uid(*parts)


def test_order_and_repetition_of_sources_do_not_matter() -> None:
    def identity(*sources: str, **changes: object) -> ResultIdentity:
        chosen = {"Folds": 5, "Mirrorings": 8} | changes
        return ResultIdentity.of("1.2", sources, model_digest="a", recipe="t1c-pro", settings=chosen)

    assert identity("1", "2", "3") == identity("3", "1", "2", "2")
    assert identity("1", "2").series_instance_uid != identity("1", "23").series_instance_uid
    assert identity("1", "2").series_instance_uid != identity("1", "2", Folds=1).series_instance_uid
    assert identity("1").sop_instance_uid(0) != identity("1").sop_instance_uid(1)
