"""Real studies, packed for training through the plugin's own preprocessing.

A sub-folder a patient. Either volumes named by what they are (``t1``, ``flair``, ``adc`` in mm^2/s, ``t1c``,
``t1c_low``, ``seg``; .nii, .nii.gz, .mha or .nrrd), or a DICOM study with the low-dose T1c, where there is one,
in a folder ``t1c_low`` of its own beside a folder ``study``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from enhancement.archive.folder import FolderArchive
from enhancement.dicom.series import read_series
from enhancement.errors import EnhancementError
from enhancement.imaging.atlas import network_grid
from enhancement.imaging.bias_field import estimate_bias_field
from enhancement.imaging.brain import BrainExtractor, BuiltInExtractor, StrippedInput, looks_stripped
from enhancement.imaging.registration import compose, register_rigid, resample
from enhancement.network.brain_extractor import load_brain_network
from enhancement.network.manifest import InputChannel
from enhancement.pipeline import NetworkInput, StudyImages, prepare, read_study
from enhancement.settings import Settings
from training.patients import pack

_log = logging.getLogger(__name__)
#: Identities of packed patients that are no simulation begin with it.
REAL_STUDY = "study-"
_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
_CHANNELS = tuple(
    InputChannel(role=role, z_min=-3.0, z_max=12.0, required=role in ("T1", "T1C"))
    for role in ("T1", "FLAIR", "ADC", "T1C")
)


def pack_studies(folder: Path, packed: Path, *, brain_weights: Path, bias_field: bool = True) -> list[str]:
    """Preprocess and pack every patient that is not packed yet.

    Parameters
    ----------
    folder : Path
        A sub-folder a patient.
    packed : Path
    brain_weights : Path
        The built-in extractor's model folder, for studies with a skull.
    bias_field : bool

    Returns
    -------
    list of str
        What was left out and why, a line a patient.
    """
    left_out: list[str] = []
    for number, patient in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        path = packed / f"{number:06d}.npy"
        if path.with_suffix(".json").exists():
            continue
        try:
            pack_study(patient, path, brain_weights=brain_weights, bias_field=bias_field)
        except EnhancementError as error:
            left_out.append(f"{patient.name}: {error.message}")
            _log.warning("left out %s", left_out[-1])
    return left_out


def pack_study(patient: Path, path: Path, *, brain_weights: Path, bias_field: bool = True) -> None:
    """Preprocess one patient and write the packed file.

    Raises
    ------
    EnhancementError
        If the plugin would refuse the study.
    """
    images, low, segmentation = read_patient(patient)
    prepared = prepare(images, _CHANNELS, choose_extractor(images.t1c, brain_weights), bias_field=bias_field)
    volumes = {role.lower(): sitk.GetArrayFromImage(image) for role, image in prepared.volumes.items()}
    if low is not None:
        volumes["t1c_low"] = _low_dose(images, low, prepared, bias_field)
    labels = None
    if segmentation is not None:
        on_grid = resample(segmentation, network_grid(), prepared.to_series["T1C"], "nearest")
        labels = sitk.GetArrayFromImage(on_grid).astype(np.uint8)
    pack(path, volumes, {"brain": prepared.brain_zyx}, labels, identity=f"{REAL_STUDY}{path.stem}")


def _low_dose(images: StudyImages, low: sitk.Image, prepared: NetworkInput, bias_field: bool) -> np.ndarray:
    registration = register_rigid(images.t1c, prepared.brain, low)
    to_low = compose(prepared.to_series["T1C"], registration.transform)
    volume = resample(low, network_grid(), to_low, "spline")
    if bias_field:
        mask = sitk.GetImageFromArray(prepared.brain_zyx.astype(np.uint8))
        mask.CopyInformation(volume)
        volume = volume / estimate_bias_field(volume, mask)
    return np.asarray(sitk.GetArrayFromImage(volume), np.float32)


def read_patient(patient: Path) -> tuple[StudyImages, sitk.Image | None, sitk.Image | None]:
    """Read a patient's images, the low-dose T1c and a segmentation where there are any."""
    files = {path.name.split(".")[0].lower(): path for path in patient.iterdir() if path.name.endswith(_SUFFIXES)}
    if "t1" in files and "t1c" in files:
        return _from_volumes(files)
    study = patient / "study" if (patient / "study").is_dir() else patient
    images = read_study(FolderArchive(study), "", Settings()).images
    low = None
    if (patient / "t1c_low").is_dir():
        archive = FolderArchive(patient / "t1c_low")
        uid = str(archive.headers("")[0].SeriesInstanceUID)
        low = read_series(archive.instances("", uid)).image
    return images, low, None


def _from_volumes(files: Mapping[str, Path]) -> tuple[StudyImages, sitk.Image | None, sitk.Image | None]:
    read = {name: sitk.ReadImage(str(path), sitk.sitkFloat32) for name, path in files.items()}
    images = StudyImages(t1=read["t1"], t1c=read["t1c"], flair=read.get("flair"), adc=read.get("adc"))
    return images, read.get("t1c_low"), read.get("seg")


def choose_extractor(t1c: sitk.Image, brain_weights: Path) -> BrainExtractor:
    """As the plugin does: a stripped T1c is taken as it is, else the built-in network looks for the brain."""
    if looks_stripped(t1c):
        return StrippedInput()
    return BuiltInExtractor(load_brain_network(brain_weights))
