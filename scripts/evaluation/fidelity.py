"""How close an image is to a reference: L2, PSNR and SSIM, each saying its peak and its region.

The papers' PSNR takes peak 1 over the whole volume of [0, 1] images; outside the brain both are zero, which
adds about 4 dB. Both are printed here, and the brain-only figure is the one to judge by.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from enhancement.arrays import Mask, Volume


@dataclass(frozen=True)
class Fidelity:
    """Distance of an image from its reference, both on the unit scale [0, 1].

    Parameters
    ----------
    l2, lesion_l2 : float
        Mean squared error over the whole volume, and within the lesions (NaN without any).
    psnr_volume : float
        Peak 1, mean squared error over the whole volume (the papers' way), dB.
    psnr_brain : float
        Peak 1, mean squared error within the brain, dB.
    psnr_brain_own_peak : float
        Peak the reference's maximum in the brain, dB.
    ssim_volume, ssim_brain : float
        Mean of the 3D SSIM map (Gaussian weights, sigma 1.5 voxels, data range 1, population covariance,
        K1 0.01, K2 0.03) over the volume and over the brain.
    """

    l2: float
    lesion_l2: float
    psnr_volume: float
    psnr_brain: float
    psnr_brain_own_peak: float
    ssim_volume: float
    ssim_brain: float

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def fidelity(
    image: Volume, reference: Volume, brain: Mask, lesion: Mask | None = None, *, with_ssim: bool = True
) -> Fidelity:
    """Compare an image with its reference.

    Parameters
    ----------
    image, reference : (z, y, x), on one scale where 1 is the nominal peak
        Values outside `brain` are set to 0 in both first.
    brain, lesion : (z, y, x)
        Regions.
    with_ssim : bool
        SSIM takes most of the time; without, it is NaN.

    Raises
    ------
    ValueError
        If the shapes differ or the brain is empty.
    """
    if image.shape != reference.shape or image.shape != brain.shape:
        raise ValueError(f"shapes differ: image {image.shape}, reference {reference.shape}, brain {brain.shape}")
    if not brain.any():
        raise ValueError("the brain mask is empty")
    box = tuple(slice(max(part.start - 8, 0), part.stop + 8) for part in _box(brain))  # beyond, both are zero
    inside = brain[box]
    a = np.where(inside, image[box], 0).astype(np.float32)
    b = np.where(inside, reference[box], 0).astype(np.float32)
    squared = (a.astype(np.float64) - b) ** 2
    whole, in_brain = float(squared.sum() / brain.size), float(squared[inside].mean())
    ssim_volume = ssim_brain = float("nan")
    if with_ssim:
        similarity = ssim_map(a, b)
        ssim_brain = float(similarity[inside].mean())
        ssim_volume = 1 - float((1 - similarity.astype(np.float64)).sum() / brain.size)
    lesions = lesion is not None and bool(lesion.any())
    return Fidelity(
        l2=whole,
        lesion_l2=float(squared[lesion[box]].mean()) if lesions and lesion is not None else float("nan"),
        psnr_volume=psnr(whole),
        psnr_brain=psnr(in_brain),
        psnr_brain_own_peak=psnr(in_brain, peak=float(b[inside].max())),
        ssim_volume=ssim_volume,
        ssim_brain=ssim_brain,
    )


def _box(brain: Mask) -> tuple[slice, slice, slice]:
    found = ndimage.find_objects(brain.astype(np.uint8))[0]
    return found[0], found[1], found[2]


def psnr(mean_squared_error: float, *, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio, dB; infinite for identical images, NaN for a reference of zeros.

    Examples
    --------
    >>> round(psnr(31.6e-5), 1)
    35.0
    """
    if mean_squared_error == 0 or peak == 0:
        return float("inf") if mean_squared_error == 0 else float("nan")
    return float(10.0 * np.log10(peak**2 / mean_squared_error))


def ssim_map(image: Volume, reference: Volume) -> Volume:
    """Voxel-wise 3D SSIM by scikit-image with the parameters of Wang et al. (see `Fidelity`)."""
    _, full = structural_similarity(
        image,
        reference,
        data_range=1.0,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return np.asarray(full, dtype=np.float32)
