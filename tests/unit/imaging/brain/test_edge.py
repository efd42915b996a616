"""The mask widened by the template's: never beyond it, never far, never into air or fat."""

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.imaging.brain.edge import REACH_MM, widen
from enhancement.imaging.brain.extraction import (
    BrainExtractedInput,
    BuiltInExtractor,
    NativeExtractor,
    UnlessBrainExtracted,
)

_SPACING = (1.0, 1.5, 2.0)  # x, y, z
_SHAPE = (40, 52, 76)


def _image(array: NDArray[np.generic]) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32 if array.dtype.kind == "f" else np.uint8))
    image.SetSpacing(_SPACING)
    return image


def _ball(radius_mm: float, shift_mm: float = 0.0) -> NDArray[np.bool_]:
    z, y, x = (np.arange(n) - (n - 1) / 2 for n in _SHAPE)
    far = (z * 2.0)[:, None, None] ** 2 + (y * 1.5)[:, None] ** 2 + (x - shift_mm) ** 2
    return np.asarray(far < radius_mm**2)


def _widened(t1c: NDArray[np.generic], t1: NDArray[np.generic] | None = None) -> NDArray[np.bool_]:
    found = widen(_image(_ball(22)), _image(_ball(24, 6.0)), _image(t1c), None if t1 is None else _image(t1))
    return np.asarray(sitk.GetArrayFromImage(found) > 0)


@pytest.fixture
def tissue() -> NDArray[np.float64]:
    """As bright as brain everywhere."""
    return np.full(_SHAPE, 100.0)


class TestWiden:
    def test_nothing_is_lost_and_nothing_lies_outside_both_masks(self, tissue: NDArray[np.float64]) -> None:
        """What is added is the template's."""
        found = _widened(tissue)
        assert found[_ball(22)].all()
        assert not (found & ~_ball(22) & ~_ball(24, 6.0)).any()
        assert found.sum() > _ball(22).sum()

    def test_no_farther_than_the_reach(self, tissue: NDArray[np.float64]) -> None:
        """In millimetres, whatever the voxels: the template lies up to 8 mm outside."""
        far = ndimage.distance_transform_edt(~_ball(22), sampling=_SPACING[::-1])
        assert far[_ball(24, 6.0)].max() > REACH_MM + 2
        assert REACH_MM - 1.0 < far[_widened(tissue)].max() <= REACH_MM

    def test_no_zeros_and_no_air(self, tissue: NDArray[np.float64]) -> None:
        """Neither where the field of view ends nor in the sinuses."""
        tissue[~_ball(24)] = 0.0
        tissue[:, :20][~_ball(23)[:, :20]] = 4.0
        added = _widened(tissue) & ~_ball(22)
        assert added.any()
        assert tissue[added].min() == 100.0

    def test_what_is_bright_before_contrast_is_fat(self, tissue: NDArray[np.float64]) -> None:
        """Bright on the T1c alone is a lesion or dura, and is what the mask is widened for."""
        t1c, t1 = tissue.copy(), tissue.copy()
        t1c[~_ball(22)] = 250.0
        everything = _widened(t1c, t1)
        t1[:20][~_ball(22)[:20]] = 250.0
        found = _widened(t1c, t1)
        np.testing.assert_array_equal(everything, _widened(t1c))
        assert not (found & ~_ball(22))[:20].any()
        np.testing.assert_array_equal(found[20:], everything[20:])

    def test_fat_under_a_receive_field(self, tissue: NDArray[np.float64]) -> None:
        """A coil that is twice as bright at one side makes no fat there."""
        field = np.linspace(70.0, 200.0, _SHAPE[2])
        np.testing.assert_array_equal(_widened(tissue, tissue * field), _widened(tissue))

    def test_a_series_without_data_there_is_no_fat(self, tissue: NDArray[np.float64]) -> None:
        """A T1 that ends short of the edge takes nothing away."""
        t1 = np.where(_ball(20), tissue, 0.0)
        np.testing.assert_array_equal(_widened(tissue, t1), _widened(tissue))

    def test_no_specks(self, tissue: NDArray[np.float64]) -> None:
        """Tissue behind bone is not taken, though the template and the reach would have it."""
        tissue[_ball(24.5) & ~_ball(22)] = 2.0
        assert not (_widened(tissue) & ~_ball(22)).any()


class TestWhoseMaskIsTight:
    def test_the_built_in_one_on_a_head_alone(self, tissue: NDArray[np.float64]) -> None:
        """Neither on brain-extracted series nor after HD-BET."""
        head = _image(tissue)
        stripped = _image(np.where(_brain_sized(), 100.0, 0.0))
        stripped.SetSpacing([4.0] * 3)
        built_in = BuiltInExtractor(lambda array: array)
        native = NativeExtractor(lambda array, _spacing: array > 0)
        for extractor in (built_in, UnlessBrainExtracted(built_in)):
            assert extractor.extract(head).possible is not None
            assert extractor.extract(stripped).possible is None
        for extractor in (native, UnlessBrainExtracted(native)):
            assert extractor.extract(head).possible is None
        assert BrainExtractedInput().extract(stripped).possible is None


def _brain_sized() -> NDArray[np.bool_]:
    z, y, x = np.ogrid[:40, :52, :76]
    return np.asarray((z - 19.5) ** 2 + (y - 25.5) ** 2 + (x - 37.5) ** 2 < 17**2)
