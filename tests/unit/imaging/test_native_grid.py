"""Back to the T1c's own grid: noise, sharpness and the seam."""

import numpy as np
import pytest
import SimpleITK as sitk

from enhancement.imaging.native_grid import fine_detail, seam_weight, to_native_grid
from enhancement.imaging.preparation import for_network_grid
from enhancement.imaging.registration.register import resample


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
    back = to_native_grid(case["prediction"], case["seen"], case["brain"], case["t1c"], sitk.Transform(), method=method)
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


@pytest.fixture(scope="module")
def thick() -> dict[str, sitk.Image]:
    """A phantom of 0.9 x 0.9 x 5.5 mm, the grid of 1 mm that sees it, and the turn between them."""
    rng = np.random.default_rng(3)
    z, y, x = np.mgrid[:12, :72, :72]
    brain = ((y - 36) / 30) ** 2 + ((x - 36) / 30) ** 2 + ((z - 5.5) / 5) ** 2 < 1
    array = 100 + 12 * np.sin(y / 3.0) * np.cos(x / 4.0) + 10 * np.sin(z)
    bright = (y - 36) ** 2 + (x - 40) ** 2 + 25 * (z - 6) ** 2 < 49
    array = np.where(bright, 200.0, array) * brain + rng.normal(0, 2, z.shape)
    t1c = sitk.GetImageFromArray(np.maximum(array, 0).astype(np.float32))
    t1c.SetSpacing((0.9, 0.9, 5.5))
    turn = sitk.Euler3DTransform((32.0, 32.0, 30.0), 0.07, 0.03, 0.02, (1.3, -0.7, 2.1))
    grid = sitk.Image([80, 80, 84], sitk.sitkUInt8)
    grid.SetOrigin((-8.0, -8.0, -9.0))
    images = {"t1c": t1c, "seen": resample(for_network_grid(t1c), grid, turn, "spline"), "grid": grid, "turn": turn}
    for name, mask in (("brain", brain), ("bright", bright)):
        images[name] = sitk.GetImageFromArray(mask.astype(np.uint8))
        images[name].CopyInformation(t1c)
    return images


class TestThickSlices:
    """5.5 mm, seen by the network at 1 mm on a grid turned by 4 degrees."""

    @pytest.mark.parametrize(("method", "tolerance"), [("resampled", 0.04), ("residual", 1e-5), ("detail", 0.01)])
    def test_what_the_network_left_alone_comes_back(
        self, thick: dict[str, sitk.Image], method: str, tolerance: float
    ) -> None:
        """Bright tissue as bright as it was."""
        back = to_native_grid(
            thick["seen"], thick["seen"], thick["brain"], thick["t1c"], thick["turn"].GetInverse(), method=method
        )
        bright = sitk.GetArrayFromImage(thick["bright"]) > 0
        ratio = sitk.GetArrayFromImage(back)[bright] / sitk.GetArrayFromImage(thick["t1c"])[bright]
        assert np.median(ratio) == pytest.approx(1.0, abs=tolerance)
        assert np.percentile(np.abs(ratio - 1), 90) < max(4 * tolerance, 1e-4)

    @pytest.mark.parametrize("method", ["residual", "detail"])
    def test_what_was_added_arrives(self, thick: dict[str, sitk.Image], method: str) -> None:
        """60 more in bright tissue, of which the network saw interpolated slices; `resampled` loses an eighth of it."""
        lesion = resample(sitk.Cast(thick["bright"], sitk.sitkFloat32), thick["grid"], thick["turn"], "linear")
        prediction = thick["seen"] + lesion * 60.0
        back = to_native_grid(
            prediction, thick["seen"], thick["brain"], thick["t1c"], thick["turn"].GetInverse(), method=method
        )
        gained = sitk.GetArrayFromImage(back) - sitk.GetArrayFromImage(thick["t1c"])
        assert gained[sitk.GetArrayFromImage(thick["bright"]) > 0].mean() == pytest.approx(60, rel=0.1)


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
