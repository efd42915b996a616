"""ADC from known decays."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st

from enhancement.errors import DiffusionInputError
from enhancement.imaging.adc.fit import air_noise, fit_adc


def _image(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing((2.0, 2.0, 4.0))
    return image


def _decay(adc: np.ndarray, b_values: list[float], s0: float = 800.0) -> list[sitk.Image]:
    return [_image(s0 * np.exp(-b * adc)) for b in b_values]


class TestFitAdc:
    @given(
        st.lists(st.integers(0, 40).map(lambda i: i * 50.0), min_size=2, max_size=5, unique=True),
        st.floats(0.05e-3, 3.5e-3),
        st.floats(10, 1e4),
    )
    def test_recovers_a_noise_free_decay(self, b_values: list[float], adc: float, s0: float) -> None:
        """Whatever b-values, in whatever order, and whatever the signal's scale."""
        truth = np.full((2, 3, 4), adc)
        fitted = sitk.GetArrayFromImage(fit_adc(_decay(truth, b_values, s0), b_values, noise_sigma=0))
        if s0 * np.exp(-max(b_values) * adc) > 0.01:
            np.testing.assert_allclose(fitted, truth, rtol=5e-3)

    def test_is_in_mm2_per_s_on_the_grid_of_the_input(self) -> None:
        """White matter has 0.7e-3, and the map lies where the volumes lie."""
        images = _decay(np.full((3, 4, 5), 0.7e-3), [0, 1000])
        fitted = fit_adc(images, [0, 1000])
        assert fitted.GetSpacing() == images[0].GetSpacing()
        assert fitted.GetPixelID() == sitk.sitkFloat32
        np.testing.assert_allclose(sitk.GetArrayFromImage(fitted), 0.7e-3, rtol=1e-4)

    def test_noise_floor_is_taken_off(self) -> None:
        """At a signal-to-noise ratio of 3 at high b the floor costs 2.5 % of the ADC; less than half is left."""
        rng = np.random.default_rng(0)
        adc, s0, sigma = 2.0e-3, 440.0, 20.0
        images = []
        for b in (0, 1000):
            signal = np.zeros((40, 40, 40))
            signal[8:32, 8:32, 8:32] = s0 * np.exp(-b * adc)
            noisy = np.hypot(signal + rng.normal(0, sigma, signal.shape), rng.normal(0, sigma, signal.shape))
            images.append(_image(noisy))
        inner = (slice(8, 32),) * 3
        with_floor = sitk.GetArrayFromImage(fit_adc(images, [0, 1000]))[inner]
        without = sitk.GetArrayFromImage(fit_adc(images, [0, 1000], noise_sigma=0))[inner]
        assert np.median(with_floor) == pytest.approx(adc, rel=0.01)
        assert abs(np.median(with_floor) - adc) < 0.5 * abs(np.median(without) - adc)

    def test_weighting_trusts_the_strong_signal(self) -> None:
        """A noisy b = 3000 hardly moves an ADC that b = 0 and 500 determine."""
        images = _decay(np.full((2, 2, 2), 1.5e-3), [0, 500, 3000])
        images[2] = images[2] * 2.0
        fitted = sitk.GetArrayFromImage(fit_adc(images, [0, 500, 3000], noise_sigma=0))
        np.testing.assert_allclose(fitted, 1.5e-3, rtol=0.02)

    def test_invalid_voxels_are_zero(self) -> None:
        """Air, and signal that rises with b, have no ADC."""
        b0, b1000 = np.full((16, 16, 16), 500.0), np.full((16, 16, 16), 250.0)
        b0[4, 4, 4], b1000[4, 4, 4] = 0.0, 0.0
        b1000[5, 5, 5] = 600.0
        fitted = sitk.GetArrayFromImage(fit_adc([_image(b0), _image(b1000)], [0, 1000]))
        assert fitted[4, 4, 4] == 0
        assert fitted[5, 5, 5] == 0
        assert fitted[6, 6, 6] == pytest.approx(np.log(2) / 1000, rel=1e-4)

    def test_is_clipped(self) -> None:
        """Faster than free water is noise or flow."""
        fitted = sitk.GetArrayFromImage(fit_adc(_decay(np.full((2, 2, 2), 9e-3), [0, 500]), [0, 500], noise_sigma=0))
        assert fitted.max() == pytest.approx(4e-3)

    @pytest.mark.parametrize("b_values", [[1000.0, 1000.0], [0.0], [0.0, 500.0, 1000.0], [0.0, -5.0]])
    def test_b_values_that_cannot_be_fitted(self, b_values: list[float]) -> None:
        """Two volumes need two distinct b-values."""
        with pytest.raises(DiffusionInputError, match="needed"):
            fit_adc(_decay(np.full((2, 2, 2), 1e-3), [0, 1000]), b_values)

    def test_different_grids_are_refused(self) -> None:
        """A voxel must be the same place at each b."""
        images = _decay(np.full((2, 2, 2), 1e-3), [0, 1000])
        images[1].SetOrigin((5, 0, 0))
        with pytest.raises(DiffusionInputError, match="grid"):
            fit_adc(images, [0, 1000])


class TestAirNoise:
    def test_rayleigh_air(self) -> None:
        """The corners of a magnitude image give sigma within 10 %."""
        rng = np.random.default_rng(1)
        air = np.hypot(rng.normal(0, 7, (32, 32, 32)), rng.normal(0, 7, (32, 32, 32)))
        air[8:24, 8:24, 8:24] = 500
        assert air_noise(air) == pytest.approx(7, rel=0.1)

    def test_zero_filled_air(self) -> None:
        """A scanner that masks the air leaves nothing to measure."""
        volume = np.zeros((16, 16, 16))
        volume[4:12, 4:12, 4:12] = 500
        assert air_noise(volume) == 0


@pytest.mark.real_data
def test_siemens_xa30_agrees_with_the_scanner(real_data: Path) -> None:
    """ADC of TENSOR_B0 and TRACEW (b = 2500) against the scanner's own map: median relative difference below 1 %."""
    import pydicom

    folder = real_data / "vendors" / "siemens_xa30_enhanced"

    def pixels(name: str) -> np.ndarray:
        return pydicom.dcmread(next((folder / name).glob("*.dcm"))).pixel_array.astype(np.float32)

    b0, trace, vendor = pixels("16_DWI_dir80_PA"), pixels("12_DWI_dir80_PA"), pixels("11_DWI_dir80_PA") * 1e-6
    fitted = sitk.GetArrayFromImage(fit_adc([_image(b0), _image(trace)], [0, 2500]))
    inside = (vendor > 1e-4) & (fitted > 0) & (b0 > np.percentile(b0, 60))
    assert inside.sum() > 20_000
    assert np.median(np.abs(fitted[inside] - vendor[inside]) / vendor[inside]) < 0.01
