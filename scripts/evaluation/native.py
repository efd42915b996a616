"""What the way back to a T1c of 0.5 mm costs and keeps: a phantom, and a network that is taken to be perfect.

White and grey matter of the atlas with sharp borders at 0.5 mm, thin vessels, a ring and nodules that enhance. The
prediction is the noise-free enhanced phantom on the network's 1 mm grid, so that what is measured is the return alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.imaging.atlas import load_atlas
from enhancement.imaging.native_grid import to_native_grid
from enhancement.imaging.preparation import for_network_grid
from enhancement.imaging.registration.register import resample

METHODS = ("resampled", "residual", "detail")
_SIZE = (240, 240, 50)
_SPACING_MM = (0.5, 0.5, 1.0)
_CORNER_MM = (60.0, 40.0, -5.0)  # LPS, of the template
Array = NDArray[np.float32]


@dataclass(frozen=True)
class Phantom:
    """Arrays (z, y, x) on the 0.5 mm grid, brain mean about 100."""

    grid: sitk.Image
    t1c_clean: Array
    enhanced: Array
    brain: NDArray[np.bool_]
    white: NDArray[np.bool_]
    edges: NDArray[np.bool_]
    lesion: NDArray[np.bool_]


def make_phantom(seed: int = 0) -> Phantom:
    """One slab of 120 x 120 x 50 mm."""
    atlas = load_atlas()
    grid = sitk.Image(list(_SIZE), sitk.sitkUInt8)
    grid.SetSpacing(_SPACING_MM)
    grid.SetDirection(atlas.t1.GetDirection())
    grid.SetOrigin(_CORNER_MM)
    gm, wm = (sitk.GetArrayFromImage(resample(m, grid)) for m in (atlas.gm, atlas.wm))
    white = (wm > gm) & (wm > 0.35)
    grey = (gm >= wm) & (gm > 0.35)
    brain = np.asarray(sitk.GetArrayFromImage(resample(atlas.brain, grid, None, "linear")) > 0.5)
    clean = np.where(white, 120.0, np.where(grey, 90.0, np.where(brain, 40.0, 0.0))).astype(np.float32)
    rng = np.random.default_rng(seed)
    uptake = np.zeros(clean.shape, np.float32)
    z, y, x = np.indices(clean.shape, dtype=np.float32)
    for _ in range(12):  # vessels of 0.7 mm along the slices
        y0, x0, slope = rng.uniform(20, 220), rng.uniform(20, 220), rng.uniform(-0.5, 0.5, 2)
        distance = np.hypot((y - y0 - slope[0] * z) * 0.5, (x - x0 - slope[1] * z) * 0.5)
        uptake = np.maximum(uptake, 80 * (distance < 0.7))
    lesion = np.zeros(clean.shape, bool)
    for radius in (1.0, 1.5, 2.0, 3.0, 5.0, 8.0):
        at = rng.uniform((10, 50, 50), (40, 190, 190))
        distance = np.sqrt((z - at[0]) ** 2 + ((y - at[1]) * 0.5) ** 2 + ((x - at[2]) * 0.5) ** 2)
        part = (distance < radius) & (distance > (radius - 1.5 if radius > 4 else -1))
        lesion |= part
        uptake = np.maximum(uptake, 60 * part)
    uptake[~brain] = 0
    gradient = np.hypot(ndimage.sobel(clean, 1), ndimage.sobel(clean, 2))
    inner = ndimage.binary_erosion(brain, iterations=6)
    quiet = ndimage.binary_erosion(white & (uptake == 0), iterations=3) & inner
    edges = (gradient > 0.6 * gradient[inner].max()) & inner & ~ndimage.binary_dilation(uptake > 0, iterations=4)
    return Phantom(grid, clean + uptake, clean + 3 * uptake, brain, quiet, edges, lesion & inner)


def measure(phantom: Phantom, *, noise: float, seed: int = 0) -> dict[str, dict[str, float]]:
    """Noise, sharpness, lesion contrast and error of each method, and of the T1c.

    Parameters
    ----------
    phantom : Phantom
    noise : float
        SD, in brain means of 100.

    Returns
    -------
    {method: {"noise", "sharpness", "contrast", "error"}}
        Noise: SD in quiet white matter over the T1c's. Sharpness: gradient across the borders of grey and white matter
        along the true gradient, over the truth's. Contrast: mean of the lesions over that of the truth. Error: RMS
        from the noise-free enhanced phantom inside the brain, in brain means of 100.
    """
    rng = np.random.default_rng(seed)
    t1c = phantom.t1c_clean + rng.normal(0, noise, phantom.t1c_clean.shape).astype(np.float32)
    grid = _small_network_grid(phantom.grid)
    images = {name: _image(array, phantom.grid) for name, array in (("t1c", t1c), ("enhanced", phantom.enhanced))}
    seen = resample(for_network_grid(images["t1c"]), grid)
    prediction = resample(for_network_grid(images["enhanced"]), grid)
    brain = _image(phantom.brain.astype(np.uint8), phantom.grid)
    made = {"t1c": t1c}
    for method in METHODS:
        native = to_native_grid(prediction, seen, brain, images["t1c"], sitk.Transform(), method=method)
        made[method] = sitk.GetArrayFromImage(native)
    return {name: _figures(array, phantom, noise) for name, array in made.items()}


def _figures(array: Array, phantom: Phantom, noise: float) -> dict[str, float]:
    truth = phantom.enhanced
    inner = ndimage.binary_erosion(phantom.brain, iterations=6)
    gy, gx = ndimage.sobel(truth, 1), ndimage.sobel(truth, 2)
    along = ndimage.sobel(array, 1) * gy + ndimage.sobel(array, 2) * gx
    return {
        "noise": float(array[phantom.white].std() / noise),
        "sharpness": float((along[phantom.edges] / (gy**2 + gx**2)[phantom.edges]).mean()),
        "contrast": float((array[phantom.lesion].mean() - 120) / (truth[phantom.lesion].mean() - 120)),
        "error": float(np.sqrt(np.mean((array - truth)[inner] ** 2))),
    }


def _small_network_grid(grid: sitk.Image) -> sitk.Image:
    """The part of the network's grid that the slab needs, off the slab's own lattice by a quarter voxel."""
    small = sitk.Image([int(n * s) + 8 for n, s in zip(_SIZE, _SPACING_MM, strict=True)], sitk.sitkUInt8)
    small.SetDirection(grid.GetDirection())
    small.SetOrigin(grid.TransformContinuousIndexToPhysicalPoint([-3.27 / s for s in _SPACING_MM]))
    return small


def _image(array: NDArray[np.generic], grid: sitk.Image) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.CopyInformation(grid)
    return image
