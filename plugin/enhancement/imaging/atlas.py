"""The atlas and the network's grid.

The atlas is ICBM 2009a nonlinear symmetric at 1 mm, as nilearn ships it: T1, grey matter and white matter, brain
only. The network sees 160 x 192 x 160 voxels of it. The crop starts at voxel (x, y, z) = (18, 20, 0), where a plain
centre crop would start at z = 14 and cut the lowest 14 slices of the brain.

Source: Fonov et al. 2011, NeuroImage 54(1):313; grid and crop of Bône et al. 2022, Invest Radiol.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.errors import WeightsMissing

TEMPLATE_NAME = "ICBM 2009a nonlinear symmetric"
TEMPLATE_SIZE = (197, 233, 189)
GRID_SIZE = (160, 192, 160)
GRID_SPACING_MM = (1.0, 1.0, 1.0)
CROP_ORIGIN = (18, 20, 0)

_MAXIMUM = 255.0  # each map is stored as uint8, scaled by its own maximum

Map = Literal["t1", "gm", "wm"]


@dataclass(frozen=True)
class Atlas:
    """The template on its own full grid.

    Attributes
    ----------
    t1 : sitk.Image, float32 in [0, 1]
        Average T1-weighted contrast; 0 outside the brain.
    gm, wm : sitk.Image, float32 in [0, 1]
        Tissue probabilities.
    brain : sitk.Image, uint8
        1 where the template's T1 has brain or inner CSF, one piece, no holes.
    """

    t1: sitk.Image
    gm: sitk.Image
    wm: sitk.Image
    brain: sitk.Image


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Read the template from nilearn's installed files (half a second the first time, then kept).

    Raises
    ------
    WeightsMissing
        If nilearn is not installed with its data files.
    """
    t1 = _read("t1")
    return Atlas(t1=t1, gm=_read("gm"), wm=_read("wm"), brain=_brain(t1))


def network_grid() -> sitk.Image:
    """An empty uint8 image that carries the geometry of the network's grid.

    Size 160 x 192 x 160, 1 mm; the voxel axes run to the right-to-left, posterior-to-anterior and foot-to-head
    directions as in the template, thus the ITK direction is diag(-1, -1, 1).
    """
    full = load_atlas().t1
    grid = sitk.Image(list(GRID_SIZE), sitk.sitkUInt8)
    grid.SetOrigin(full.TransformIndexToPhysicalPoint(list(CROP_ORIGIN)))
    grid.SetSpacing(full.GetSpacing())
    grid.SetDirection(full.GetDirection())
    return grid


def crop_to_network_grid(image: sitk.Image) -> sitk.Image:
    """Cut the network's grid out of an image on the template's full grid.

    Raises
    ------
    ValueError
        If the image is not on the template's grid.
    """
    if image.GetSize() != TEMPLATE_SIZE:
        raise ValueError(f"expected an image of {TEMPLATE_SIZE} voxels, found {image.GetSize()}")
    return sitk.RegionOfInterest(image, list(GRID_SIZE), list(CROP_ORIGIN))


def to_image(array_zyx: NDArray[np.generic], reference: sitk.Image | None = None) -> sitk.Image:
    """Give an array the geometry of `reference`; by default that of the network's grid."""
    image = sitk.GetImageFromArray(array_zyx)
    image.CopyInformation(network_grid() if reference is None else reference)
    return image


def _read(name: Map) -> sitk.Image:
    # Found, not imported: nilearn pulls in scikit-learn and takes four seconds.
    package = find_spec("nilearn")
    folders = (package.submodule_search_locations or []) if package else []
    for folder in folders:
        path = Path(folder, "datasets", "data", f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz")
        if path.is_file():
            return sitk.ReadImage(str(path), sitk.sitkFloat32) / _MAXIMUM
    raise WeightsMissing(
        f"the {TEMPLATE_NAME} template ({name}) was to be in the nilearn package, found none",
        code="ATLAS_MISSING",
        advice="Install nilearn with its data files.",
    )


def _brain(t1: sitk.Image) -> sitk.Image:
    mask = sitk.BinaryMorphologicalClosing(t1 > 0.02, [2, 2, 2])
    mask = sitk.BinaryFillhole(mask)
    labels = sitk.RelabelComponent(sitk.ConnectedComponent(mask))
    return sitk.Cast(labels == 1, sitk.sitkUInt8)
