"""Image files with a role each as one DICOM study, so that public cases can go through the same door as a scanner's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from simulation.dicom_writer import SeriesPlan, StudyPlan, write_study
from simulation.grids import radiological
from simulation.vendors import Vendor

ORDER = ("T1", "T2", "FLAIR", "DWI", "ADC", "T1C")
"""As a scanner would: contrast last."""

LARGEST_EXACT = 32767
B_VALUES = (0.0, 1000.0)


def dicomize(
    folder: Path,
    files: Mapping[str, Path],
    diffusion: tuple[Path, Path] | None = None,
    *,
    vendor: Vendor = "ge",
    patient_name: str = "Converted^Case",
    patient_id: str | None = None,
) -> list[Path]:
    """Write one series per role, each on the grid of its own file.

    Axes may be permuted and flipped, as a scanner would have written them; nothing is resampled. Whole numbers up to
    32767 are kept as they are, other intensities are stretched over 12 bits. UIDs and patient identifier come from the
    contents of the files, so the same files give the same study.

    Parameters
    ----------
    files : mapping of role (T1, T1C, FLAIR, T2, ADC) to any 3D image that ITK reads
    diffusion : (b = 0, b = 1000 s/mm^2), optional
        Two images on one grid.
    patient_id : str, optional
        Invented from the contents if not given.

    Returns
    -------
    list of Path
        The DICOM files.

    Raises
    ------
    ValueError
        A file is not one 3D volume, the two diffusion images differ in grid, or an ADC map has no plausible unit.
    """
    paths = [*files.values(), *(diffusion or ())]
    salt = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in sorted(paths))).hexdigest()
    plans = [_series(role, files, diffusion) for role in ORDER if role in files or (role == "DWI" and diffusion)]
    identifier = patient_id or f"CASE{salt[:8].upper()}"
    plan = StudyPlan(
        vendor=vendor,
        patient_name=patient_name,
        patient_id=identifier,
        accession_number=salt[:12].upper(),
        study_description="MRI BRAIN, CONVERTED FROM VOLUMES",
        salt=salt,
    )
    return write_study(folder, plan, plans)


def read_volume(path: Path) -> sitk.Image:
    """One 3D volume, float32, finite."""
    image = sitk.ReadImage(str(path))
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or image.GetSize()[2] < 2:
        raise ValueError(f"{path.name}: one 3D volume is needed, found size {image.GetSize()}")
    array = np.nan_to_num(sitk.GetArrayFromImage(image).astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    clean = sitk.GetImageFromArray(array)
    clean.CopyInformation(image)
    return radiological(clean)


def adc_in_mm2_s(image: sitk.Image) -> sitk.Image:
    """An ADC map in mm^2/s, whatever power of ten it was stored in.

    Brain lies between 0.3e-3 and 3.5e-3 mm^2/s, so the median of what is positive tells the unit.
    """
    array = sitk.GetArrayViewFromImage(image)
    positive = array[array > 0]
    median = float(np.median(positive)) if positive.size else 0.0
    for unit in (1.0, 1e-3, 1e-6):
        if 1e-4 < median * unit < 5e-3:
            return image * unit
    raise ValueError(f"ADC map: its median {median:g} fits none of mm2/s, 1e-3 mm2/s and 1e-6 mm2/s")


def _series(role: str, files: Mapping[str, Path], diffusion: tuple[Path, Path] | None) -> SeriesPlan:
    if role == "DWI" and diffusion is not None:
        volumes = tuple(read_volume(path) for path in diffusion)
        if not _same_grid(*volumes):
            raise ValueError("The two diffusion images must lie on one grid")
        return SeriesPlan("DWI", volumes, B_VALUES, keep_numbers=all(map(_exact, volumes)))
    volume = read_volume(files[role])
    if role == "ADC":
        return SeriesPlan(role, (adc_in_mm2_s(volume),))
    return SeriesPlan(role, (volume,), keep_numbers=_exact(volume))


def _exact(volume: sitk.Image) -> bool:
    array = sitk.GetArrayViewFromImage(volume)
    return bool(array.min() >= 0 and 200 <= array.max() <= LARGEST_EXACT and np.all(array == np.rint(array)))


def _same_grid(first: sitk.Image, second: sitk.Image) -> bool:
    return first.GetSize() == second.GetSize() and all(
        np.allclose(getattr(first, name)(), getattr(second, name)(), atol=1e-4)
        for name in ("GetOrigin", "GetSpacing", "GetDirection")
    )
