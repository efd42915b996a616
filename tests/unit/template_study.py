"""A study made of the atlas: brains without a skull that the gate passes, on coarse grids."""

import numpy as np
import SimpleITK as sitk

from enhancement.imaging.atlas import load_atlas
from enhancement.imaging.preparation import StudyImages
from enhancement.imaging.registration.register import resample


def template_images() -> StudyImages:
    """The template at 2.5 mm, a little smaller than the atlas, T1c with bright vessels, T1 6 mm off."""
    atlas = load_atlas()
    grid = sitk.Image([72, 84, 72], sitk.sitkUInt8)
    grid.SetSpacing([2.5] * 3)
    grid.SetOrigin([88.0, 115.0, -85.0])
    grid.SetDirection(atlas.t1.GetDirection())
    smaller = sitk.AffineTransform(3)
    smaller.Scale(1.08)
    t1 = resample(atlas.t1, grid, smaller, "linear") * 700
    array = sitk.GetArrayFromImage(t1)
    vessels = array.copy()
    vessels[20:60, 30:32, 34:37] = 1800 * (array[20:60, 30:32, 34:37] > 0)
    vessels[20:60, 60:62, 30:33] = 1800 * (array[20:60, 60:62, 30:33] > 0)
    rng = np.random.default_rng(0)
    t1c = sitk.GetImageFromArray(np.where(array > 0, vessels + rng.normal(0, 8, array.shape), 0).astype(np.float32))
    t1c.CopyInformation(t1)
    t1c = sitk.Cast(sitk.Maximum(t1c, 0.0), sitk.sitkFloat32)
    t1.SetOrigin([o + d for o, d in zip(t1.GetOrigin(), (4, -3, 3.5), strict=True)])
    return {"T1": t1, "T1C": t1c}
