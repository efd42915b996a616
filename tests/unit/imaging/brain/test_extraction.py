"""Brain extraction around a network: grids, positions, clean masks. The networks here are thresholds."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from enhancement.errors import BrainExtractionFailed
from enhancement.imaging.brain.extraction import (
    BrainExtractedInput,
    BuiltInExtractor,
    UnlessBrainExtracted,
    head_grid,
    head_unit,
    looks_brain_extracted,
    one_piece,
    volume_ml,
)


def _head() -> tuple[sitk.Image, np.ndarray]:
    """A brain of 1.3 litres, bright, in a darker head with a bright spot in the neck; 3 mm."""
    z, y, x = np.mgrid[:75, :70, :60] * 3.0
    brain = ((z - 140) / 62) ** 2 + ((y - 105) / 80) ** 2 + ((x - 90) / 63) ** 2 < 1
    head = ((z - 115) / 105) ** 2 + ((y - 105) / 98) ** 2 + ((x - 90) / 80) ** 2 < 1
    array = np.where(brain, 800.0, np.where(head, 300.0, 5.0)).astype(np.float32)
    array[10:13, 30:34, 28:32] = 800
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([3.0] * 3)
    image.SetOrigin([-90, -105, -110])
    return image, brain


def _segment(head: np.ndarray) -> np.ndarray:
    return np.clip((head - 0.5) * 5, 0, 1).astype(np.float32)


def _upright_only(head: np.ndarray) -> np.ndarray:
    """Like a network that has seen no head on its side: sure only where the brain is the upper part."""
    found = _segment(head)
    rows = np.argwhere(found > 0.5)[:, 0]
    top = np.argwhere(head > 0.1)[:, 0].max()
    return found if top - rows.mean() < 0.4 * (top - np.argwhere(head > 0.1)[:, 0].min()) else found * 0.55


class TestBuiltIn:
    def test_mask_is_the_brain_on_the_series_grid(self) -> None:
        """Dice above 0.95, one piece, the bright spot in the neck left out."""
        image, truth = _head()
        mask = BuiltInExtractor(_segment).extract(image).mask
        found = sitk.GetArrayFromImage(mask) > 0
        assert mask.GetOrigin() == image.GetOrigin()
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95
        assert not found[10:13, 30:34, 28:32].any()
        assert volume_ml(mask) == pytest.approx(truth.sum() * 0.027, rel=0.06)

    def test_possible_brain_is_the_mask_and_more(self) -> None:
        """Where the network says four tenths, within 6 mm, brain is possible; where it says a twentieth, it is not."""
        image, truth = _head()

        def doubtful(head: np.ndarray) -> np.ndarray:
            near = ndimage.binary_dilation(head > 0.6, iterations=3)
            return np.where(head > 0.6, 1.0, np.where(near, 0.4, 0.05)).astype(np.float32)

        found = BuiltInExtractor(doubtful).extract(image)
        assert found.possible is not None
        mask, possible = (sitk.GetArrayFromImage(part) > 0 for part in (found.mask, found.possible))
        assert possible[mask].all()
        far = ndimage.distance_transform_edt(~truth, sampling=3.0)
        assert mask[truth].mean() > 0.99
        assert far[mask].max() <= 3.0
        assert 4.0 < far[possible].max() <= 9.0

    def test_doubt_alone_is_no_brain(self) -> None:
        """A brain that is nowhere more likely than not has not been found."""
        with pytest.raises(BrainExtractionFailed, match=r"0\.8 to 2\.0 litres"):
            BuiltInExtractor(lambda head: 0.4 * _segment(head)).extract(_head()[0])

    def test_a_head_on_its_side(self) -> None:
        """Turned until the network is sure."""
        image, truth = _head()
        image.SetDirection((0, 0, -1, 0, 1, 0, 1, 0, 0))
        found = sitk.GetArrayFromImage(BuiltInExtractor(_upright_only).extract(image).mask) > 0
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95

    def test_no_brain(self) -> None:
        """Nothing found in any position is an error with a code."""
        with pytest.raises(BrainExtractionFailed, match=r"0\.8 to 2\.0 litres") as error:
            BuiltInExtractor(lambda head: np.zeros_like(head)).extract(_head()[0])
        assert error.value.code == "BRAIN_NOT_FOUND"


class TestStripped:
    def test_what_is_not_zero_is_brain(self) -> None:
        """And inner zeros too."""
        image, truth = _head()
        array = np.where(truth, sitk.GetArrayFromImage(image), 0)
        array[46, 35, 30] = 0
        stripped = sitk.GetImageFromArray(array)
        stripped.CopyInformation(image)
        assert looks_brain_extracted(stripped)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(BrainExtractedInput().extract(stripped).mask) > 0, truth)
        unasked = UnlessBrainExtracted(BuiltInExtractor(lambda head: np.zeros_like(head)))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(unasked.extract(stripped).mask) > 0, truth)

    def test_a_head_is_not_stripped(self) -> None:
        """Air with noise, and a whole head."""
        assert not looks_brain_extracted(_head()[0])


def test_head_grid_keeps_the_top_of_a_long_neck() -> None:
    """2 mm, 224 x 256 x 224 mm, and the brain inside even where the series goes down to the chest."""
    image, _ = _head()
    longer = sitk.ConstantPad(image, [0, 0, 60], [0, 0, 0], 300.0)
    grid = head_grid(longer)
    assert grid.GetSize() == (112, 128, 112)
    top = grid.TransformPhysicalPointToContinuousIndex((0.0, 0.0, 92.0))[2]
    assert 80 < top < 112


def test_head_unit_ignores_gain() -> None:
    """The 99.5th percentile is 1."""
    array = np.random.default_rng(0).gamma(2, 100, (30, 30, 30)).astype(np.float32)
    np.testing.assert_allclose(head_unit(array), head_unit(array * 7), rtol=1e-5)
    assert head_unit(array).max() == 1


def test_one_piece_fills_holes() -> None:
    """The larger of two, solid."""
    array = np.zeros((20, 20, 20), np.uint8)
    array[2:12, 2:12, 2:12] = 1
    array[6, 6, 6] = 0
    array[15:18, 15:18, 15:18] = 1
    found = sitk.GetArrayFromImage(one_piece(sitk.GetImageFromArray(array)))
    assert found.sum() == 1000
