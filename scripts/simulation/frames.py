"""The two grids of a simulated head: the network's and the whole head's, both at 1 mm along the axes of MNI space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulation.fields import Shape

# The network's grid in voxels of the 197 x 233 x 189 template (x, y, z), see the manifest's "grid".
CROP_ORIGIN_XYZ = (18, 20, 0)
SHAPE: Shape = (160, 192, 160)
# MNI coordinates (x right, y anterior, z superior; mm) of the first voxels.
ORIGIN_MNI = (-80, -114, -72)
HEAD_SHAPE: Shape = (220, 240, 200)
HEAD_ORIGIN_MNI = (-100, -130, -118)
#: Where the network's grid starts in the head grid (z, y, x).
OFFSET: Shape = (46, 16, 20)


def window() -> tuple[slice, slice, slice]:
    """The network's grid within the head grid."""
    z, y, x = (slice(o, o + n) for o, n in zip(OFFSET, SHAPE, strict=True))
    return z, y, x


def mni_to_voxel(points_ras_mm: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, 3) MNI coordinates (x right, y anterior, z superior) to (z, y, x) voxels of the network grid."""
    x, y, z = np.asarray(points_ras_mm, float).T
    return np.stack([z - ORIGIN_MNI[2], y - ORIGIN_MNI[1], x - ORIGIN_MNI[0]], axis=1)
