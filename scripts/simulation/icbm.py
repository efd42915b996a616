"""The ICBM 2009a average as priors of tissue on the network's grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from enhancement.arrays import Volume
from simulation.frames import CROP_ORIGIN_XYZ, SHAPE, mni_to_voxel

# Mean template intensity of pure white matter, grey matter and CSF-like voxels, measured on the template.
_TEMPLATE_WM, _TEMPLATE_GM, _TEMPLATE_CSF = 0.871, 0.649, 0.27


@dataclass(frozen=True)
class Atlas:
    """Priors on the network grid, all (z, y, x) float32.

    Attributes
    ----------
    wm, gm, csf
        Probabilities within the brain mask.
    distance : mm
        Signed distance from the edge of the brain mask, positive outside.
    shading
        Template intensity minus that of the tissue mixture: iron, myelin.
    deep
        1 in the central grey matter and the brain stem, where partial volume is real and not averaging.
    ventricle
        1 in the ventricles.
    septa
        Falx and tentorium as thin sheets.
    """

    wm: Volume
    gm: Volume
    csf: Volume
    distance: Volume
    shading: Volume
    deep: Volume
    ventricle: Volume
    septa: Volume


def _read(name: str) -> Volume:
    import nilearn

    path = Path(nilearn.__file__).parent / "datasets" / "data" / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32) / 255
    x, y, z = CROP_ORIGIN_XYZ
    return np.ascontiguousarray(array[z : z + SHAPE[0], y : y + SHAPE[1], x : x + SHAPE[2]])


def _gaussian(array: Volume, sigma: float) -> Volume:
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(array, sigma), np.float32)


def _ellipsoid(centre_mni: tuple[float, float, float], radii_mm: tuple[float, float, float]) -> Volume:
    """Soft-edged ellipsoid (MNI centre, radii x, y, z)."""
    centre = mni_to_voxel(np.array([centre_mni]))[0]
    z, y, x = (np.arange(n, dtype=np.float32) - np.float32(c) for n, c in zip(SHAPE, centre, strict=True))
    rx, ry, rz = radii_mm
    rho = np.sqrt((z[:, None, None] / rz) ** 2 + (y[None, :, None] / ry) ** 2 + (x[None, None, :] / rx) ** 2)
    return np.asarray(np.clip((1.15 - rho) / 0.3, 0, 1), np.float32)


def _septa(wm: Volume, gm: Volume) -> Volume:
    """Falx in the midline above the corpus callosum, tentorium between cerebellum and occipital lobes.

    The tentorium is a roof along the straight sinus; its heights were read off the template.
    """
    z, y, x = (np.arange(n, dtype=np.float32) - o for n, o in zip(SHAPE, (72, 114, 80), strict=True))
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]
    fall = np.where(y < -46, 3 + 0.667 * (y + 46), 3)
    slope = np.interp(y, (-95, -60), (0.25, 0.45))
    roof = np.clip(1.3 - np.abs(z - (fall - slope * np.abs(x))), 0, 1) * (y > -97) * (y < -30)
    roof = roof * (np.abs(x) < 58) * (np.abs(x) > np.clip(14 + 0.5 * (y + 30), 0, 20))
    # The free edge of the falx: an arch from the crista galli over the corpus callosum to the straight sinus.
    edge = np.interp(y, (-97, -79, -46, -20, 10, 35, 60, 72), (-27, -19, 3, 34, 36, 24, 0, -12))
    falx = np.clip(1.1 - np.abs(x), 0, 1) * np.clip(z - edge, 0, 1) * (y > -100)
    return np.asarray(np.maximum(roof, falx) * np.clip(1.2 - wm - 0.5 * gm, 0, 1), np.float32)


@lru_cache(maxsize=1)
def load_atlas() -> Atlas:
    """Read and derive the priors; kept for the life of the process (about 140 MB)."""
    t1, gm, wm = _read("t1"), _read("gm"), _read("wm")
    inside = t1 > 0
    wm, gm = wm * inside, gm * inside
    csf = np.where(inside, np.clip(1 - wm - gm, 0, 1), 0).astype(np.float32)
    image = sitk.GetImageFromArray(inside.astype(np.uint8))
    distance = sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, squaredDistance=False)).astype(np.float32)
    mixture = _TEMPLATE_WM * wm + _TEMPLATE_GM * gm + _TEMPLATE_CSF * csf
    shading = _gaussian(np.where(inside & (distance < -4), t1 - mixture, 0).astype(np.float32), 1.0)
    central = np.maximum(_ellipsoid((0, -8, 4), (38, 36, 26)), _ellipsoid((0, -30, -38), (22, 24, 38)))
    deep = _gaussian(central * (distance < -6) * (np.minimum(gm, wm) > 0.08), 1.5)
    ventricle = _gaussian(((csf > 0.5) & (distance < -12)).astype(np.float32), 0.7)
    ventricle *= np.maximum(_ellipsoid((0, -18, 12), (42, 62, 34)), _ellipsoid((0, -48, -32), (12, 14, 16)))
    return Atlas(wm, gm, csf, distance, shading, deep, ventricle, _septa(wm, gm))
