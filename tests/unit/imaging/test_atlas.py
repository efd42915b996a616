"""The template and the network's grid."""

import numpy as np
import pytest
import SimpleITK as sitk

from enhancement.imaging import atlas


class TestLoadAtlas:
    def test_brain_is_the_whole_template_brain(self) -> None:
        """The template's brain has 1.887 million voxels of 1 mm."""
        brain = sitk.GetArrayViewFromImage(atlas.load_atlas().brain)
        assert brain.sum() == pytest.approx(1.887e6, rel=2e-3)

    def test_tissue_volumes(self) -> None:
        """GM 1008 ml and WM 670 ml, thus each map is scaled by its maximum."""
        template = atlas.load_atlas()
        assert sitk.GetArrayViewFromImage(template.gm).sum() == pytest.approx(1008e3, rel=0.01)
        assert sitk.GetArrayViewFromImage(template.wm).sum() == pytest.approx(670e3, rel=0.01)


class TestNetworkGrid:
    def test_crop_keeps_the_whole_brain(self) -> None:
        """No voxel of the brain lies outside, which a centre crop would not achieve."""
        brain = atlas.load_atlas().brain
        cropped = atlas.crop_to_network_grid(brain)
        assert sitk.GetArrayViewFromImage(cropped).sum() == sitk.GetArrayViewFromImage(brain).sum()

    def test_geometry_is_that_of_the_crop(self) -> None:
        """The empty grid and a cropped map occupy the same space."""
        grid, cropped = atlas.network_grid(), atlas.crop_to_network_grid(atlas.load_atlas().t1)
        assert grid.GetSize() == cropped.GetSize() == (160, 192, 160)
        assert grid.GetOrigin() == pytest.approx(cropped.GetOrigin())
        assert grid.GetDirection() == pytest.approx(cropped.GetDirection())

    def test_another_size_is_refused(self) -> None:
        """Only the template's own grid can be cropped."""
        with pytest.raises(ValueError, match="197, 233, 189"):
            atlas.crop_to_network_grid(sitk.Image([10, 10, 10], sitk.sitkUInt8))

    def test_to_image_round_trip(self) -> None:
        """An array on the grid keeps its values and takes the grid's place."""
        array = np.random.default_rng(0).random((160, 192, 160), dtype=np.float32)
        image = atlas.to_image(array)
        assert image.GetOrigin() == pytest.approx(atlas.network_grid().GetOrigin())
        np.testing.assert_array_equal(sitk.GetArrayViewFromImage(image), array)
