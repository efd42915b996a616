"""Back to the T1c's own grid: noise, sharpness and the seam."""

import numpy as np
import pytest
import SimpleITK as sitk

from enhancement.imaging.native import fine_detail, seam_weight, to_native


def _image(array: np.ndarray, spacing: float = 1.0) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(array))
    image.SetSpacing([spacing] * 3)
    return image


@pytest.fixture
def case() -> dict[str, sitk.Image]:
    """A block of brain in a head of 50, and a prediction that is 40 brighter in the middle, on the same grid."""
    rng = np.random.default_rng(0)
    brain = np.zeros((32, 32, 32), np.uint8)
    brain[6:26, 6:26, 6:26] = 1
    clean = np.where(brain, 100.0, 50.0).astype(np.float32)
    t1c = clean + rng.normal(0, 5, clean.shape).astype(np.float32)
    prediction = clean.copy()
    prediction[13:19, 13:19, 13:19] += 40
    return {
        "t1c": _image(t1c),
        "brain": _image(brain),
        "prediction": _image(prediction),
        "seen": _image(t1c),
        "clean": _image(clean),
    }


def _native(case: dict[str, sitk.Image], method: str) -> np.ndarray:
    back = to_native(case["prediction"], case["seen"], case["brain"], case["t1c"], sitk.Transform(), method=method)
    return sitk.GetArrayFromImage(back)


class TestToNative:
    @pytest.mark.parametrize("method", ["resampled", "residual", "detail"])
    def test_outside_the_brain_nothing_changes(self, case: dict[str, sitk.Image], method: str) -> None:
        """Bit for bit the T1c."""
        outside = sitk.GetArrayFromImage(case["brain"]) == 0
        np.testing.assert_array_equal(_native(case, method)[outside], sitk.GetArrayFromImage(case["t1c"])[outside])

    @pytest.mark.parametrize("method", ["resampled", "residual", "detail"])
    def test_the_prediction_arrives(self, case: dict[str, sitk.Image], method: str) -> None:
        """40 more in the lesion."""
        assert _native(case, method)[14:18, 14:18, 14:18].mean() == pytest.approx(140, abs=1)

    @pytest.mark.parametrize("method", ["resampled", "detail"])
    def test_noise_is_less_than_the_t1cs(self, case: dict[str, sitk.Image], method: str) -> None:
        """Below 0.7 of it away from edges, where the network took it all away."""
        quiet = (slice(9, 12), slice(9, 23), slice(9, 23))
        assert _native(case, method)[quiet].std() < 0.7 * sitk.GetArrayFromImage(case["t1c"])[quiet].std()


def test_fine_detail_keeps_an_edge_and_drops_noise() -> None:
    """A thin bright line that the network did not see comes back; noise of a fifth of it does not."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 5, (24, 24, 24)).astype(np.float32)
    line = np.zeros_like(noise)
    line[:, 12, 12] = 60
    brain = np.ones(noise.shape, np.uint8)
    detail = sitk.GetArrayFromImage(
        fine_detail(_image(100 + line + noise), _image(np.full_like(noise, 100)), _image(brain))
    )
    assert detail[:, 12, 12].mean() > 50
    assert detail[:, :8].std() < 0.5 * noise[:, :8].std()


def test_seam_is_smooth_and_inside() -> None:
    """0 outside, 1 deep inside, rising over 2 mm whatever the voxels."""
    brain = np.zeros((40, 40, 40), np.uint8)
    brain[8:32, 8:32, 8:32] = 1
    weight = sitk.GetArrayFromImage(seam_weight(_image(brain, 0.5)))
    assert weight[brain == 0].max() == 0
    assert weight[20, 20, 20] == 1
    assert np.all(np.diff(weight[20, 20, 8:16]) >= 0)
    assert 0 < weight[20, 20, 9] < 0.5
