"""Real studies, packed for training through the plugin's own preprocessing and its gate.

A sub-folder a patient. Either volumes named by what they are (``t1``, ``flair``, ``adc`` in mm^2/s, ``t1c``,
``t1c_low``, ``seg``; see `volume_names`), or a DICOM study; where there is a low-dose T1c, its series lies in a folder
``t1c_low`` and the study beside it in a folder ``study``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from enhancement.archive.folder import FolderArchive
from enhancement.dicom.reading.headers import text
from enhancement.dicom.reading.series import read_series
from enhancement.errors import EnhancementError, InputError, UnreadablePixels
from enhancement.imaging.atlas import network_grid
from enhancement.imaging.bias_field import estimate_bias_field
from enhancement.imaging.brain.extraction import BrainExtractor
from enhancement.imaging.gate.checks import check_input, enforce
from enhancement.imaging.preparation import NetworkInput, StudyImages, field_of_view, for_network_grid, prepare
from enhancement.imaging.registration.register import FixedSeries, compose, register_rigid, resample
from enhancement.network.manifest import InputChannel
from enhancement.pipeline.read import read_study
from enhancement.progress import Report
from enhancement.recipes.amplification import T1C_PRO
from enhancement.settings import Settings
from training.patients import ENHANCING, REAL_STUDY, open_packed, pack, packed_files
from training.volume_names import find_volumes

_log = logging.getLogger(__name__)
#: All that a packed study can hold.
VOLUMES = ("t1", "flair", "adc", "t1c", "t1c_low")
_CHANNELS = tuple(
    InputChannel(role=role, z_min=-3.0, z_max=12.0, required=role in ("T1", "T1C"))
    for role in ("T1", "FLAIR", "ADC", "T1C")
)
_LOW = "T1C_LOW"
#: Where one of these has no data, nothing is learnt; the plugin shows nothing of its own there either.
_NEEDED = ("T1", "T1C", _LOW)
#: Of `simulation.layers.Label`: a lesion that does not enhance.
_NON_ENHANCING = 5
#: What a broken file makes the libraries raise; SimpleITK knows only RuntimeError.
_BROKEN = (RuntimeError, ValueError, OSError)


def pack_studies(
    folder: Path,
    packed: Path,
    extractor: BrainExtractor,
    *,
    label: int = ENHANCING,
    bias_field: bool = True,
    report: Report = _log.warning,
) -> list[Path]:
    """Preprocess and pack every patient that is not packed yet.

    A packed patient is known by the name of its folder, whatever came to the data since. New ones get the next free
    numbers: nobody's number, and so nobody's fold, ever changes.

    Parameters
    ----------
    folder : Path
        A sub-folder a patient.
    packed : Path
    extractor : BrainExtractor
        The plugin's, so that training sees the plugin's masks.
    label : int
        Value of enhancing tumour in the segmentations.
    bias_field : bool
    report : callable
        Told at the end, a line each, who was left out and why.

    Returns
    -------
    list of Path
        Packed files of those whose folders are there, in the order of their numbers.
    """
    there = {open_packed(path).identity: path for path in packed_files(packed)}
    wanted = {REAL_STUDY + path.name: path for path in sorted(folder.iterdir()) if _is_patient(path)}
    lines: list[str] = []
    for identity, patient in wanted.items():
        if identity in there:
            continue
        path = packed / f"{max((int(known.stem) for known in there.values()), default=-1) + 1:06d}.npy"
        try:
            note = pack_study(patient, path, extractor, label=label, bias_field=bias_field)
        except EnhancementError as error:
            lines.append(f"left out {patient.name}: {error.reason}")
        except _BROKEN as error:
            lines.append(f"left out {patient.name}: {_last_line(error)}")
        else:
            there[identity] = path
            lines += [f"{patient.name}: {note}"] if note else []
    gone = [identity for identity in there if identity.startswith(REAL_STUDY) and identity not in wanted]
    lines += [f"left out {name.removeprefix(REAL_STUDY)}: packed before, but its folder is gone" for name in gone]
    for line in lines:
        report(line)
    return sorted(there[identity] for identity in wanted if identity in there)


def pack_study(
    patient: Path, path: Path, extractor: BrainExtractor, *, label: int = ENHANCING, bias_field: bool = True
) -> str:
    """Preprocess one patient and write the packed file.

    Returns
    -------
    str
        What a person should know of it, or "".

    Raises
    ------
    EnhancementError
        If the plugin would refuse the study.
    """
    images, low, segmentation = read_patient(patient)
    prepared = prepare(images, _CHANNELS, extractor, reference="T1C", bias_field=bias_field)
    if low is not None:
        prepared = _with_low_dose(prepared, images["T1C"], low, bias_field=bias_field)
    enforce(check_input(prepared, Settings().gate, T1C_PRO.checks))
    brain = prepared.brain_zyx.copy()
    for role in _NEEDED:
        brain &= prepared.covered.get(role, np.True_)
    if not brain.any():
        raise InputError("T1 and T1c that show the same part of the brain were needed, found none that both do")
    volumes = {role.lower(): sitk.GetArrayFromImage(image) for role, image in prepared.volumes.items()}
    covered = {role.lower(): mask for role, mask in prepared.covered.items()}
    labels, note = None, ""
    if segmentation is not None:
        on_grid = resample(segmentation, network_grid(), prepared.to_series["T1C"], "nearest")
        labels, note = as_codes(sitk.GetArrayFromImage(on_grid), label)
    pack(path, volumes, {"brain": brain}, labels, covered=covered, identity=REAL_STUDY + patient.name)
    return note


def _with_low_dose(prepared: NetworkInput, t1c: sitk.Image, low: sitk.Image, *, bias_field: bool) -> NetworkInput:
    """The low-dose T1c beside the others, brought there by the same steps, so that the gate sees it too."""
    registration = register_rigid(FixedSeries(t1c, prepared.brain), low)
    to_low = compose(prepared.to_series["T1C"], registration.transform)
    volume = resample(for_network_grid(low), network_grid(), to_low, "spline")
    fields = dict(prepared.fields)
    if bias_field:
        mask = sitk.GetImageFromArray(prepared.brain_zyx.astype(np.uint8))
        mask.CopyInformation(volume)
        fields[_LOW] = estimate_bias_field(volume, mask)
        volume = volume / fields[_LOW]
    return replace(
        prepared,
        volumes={**prepared.volumes, _LOW: volume},
        fields=fields,
        covered={**prepared.covered, _LOW: field_of_view(low, network_grid(), to_low)},
        registrations={**prepared.registrations, _LOW: registration},
        to_series={**prepared.to_series, _LOW: to_low},
    )


def as_codes(segmentation_zyx: NDArray[np.floating], label: int) -> tuple[NDArray[np.int32], str]:
    """The codes that `pack` takes, of a segmentation whose enhancing tumour has another value.

    A 3 that then is something else becomes a lesion that does not enhance.

    Returns
    -------
    codes : (z, y, x)
    note : str
        Set where there is a segmentation without the label: it may be another one.

    Examples
    --------
    >>> as_codes(np.array([0.0, 1.0, 3.0, 4.0]), 4)
    (array([0, 1, 5, 3], dtype=int32), '')
    >>> as_codes(np.array([0.0, 1.0, 4.0]), 3)[1]
    'its segmentation has no 3, found 1, 4; --label says which value is enhancing tumour'
    """
    values = np.rint(segmentation_zyx).astype(np.int32)
    codes = np.where(values == label, ENHANCING, np.where(values == ENHANCING, _NON_ENHANCING, values))
    found = [int(value) for value in np.unique(values) if value > 0]
    if not found or label in found:
        return codes.astype(np.int32), ""
    held = ", ".join(str(value) for value in found)
    return codes.astype(np.int32), (
        f"its segmentation has no {label}, found {held}; --label says which value is enhancing tumour"
    )


def read_patient(patient: Path) -> tuple[StudyImages, sitk.Image | None, sitk.Image | None]:
    """Read a patient's images, the low-dose T1c and a segmentation where there are any.

    Raises
    ------
    InputError
        If neither T1 and T1c volumes nor a usable DICOM study are found.
    """
    files = find_volumes(patient)
    if "t1" in files and "t1c" in files:
        return _from_volumes(files)
    if "t1" in files or "t1c" in files:
        raise InputError(f"a t1 and a t1c volume were needed, found only {', '.join(sorted(files))}")
    study, low = patient / "study", patient / "t1c_low"
    if low.is_dir() and not study.is_dir():  # one search for both would take the one T1c for the other
        raise InputError("a folder study was needed beside t1c_low, found none; put the other series there")
    images = read_study(FolderArchive(study if study.is_dir() else patient), "", T1C_PRO, Settings()).images
    return images, _read_only_series(low) if low.is_dir() else None, None


def _read_only_series(folder: Path) -> sitk.Image:
    archive = FolderArchive(folder)
    uids = sorted({text(header, "SeriesInstanceUID") for header in archive.headers("")})
    if len(uids) != 1:
        raise InputError(f"one series was needed in {folder.name}, found {len(uids)}; leave the low-dose T1c only")
    return read_series(archive.instances("", uids[0])).image


def _from_volumes(files: Mapping[str, Path]) -> tuple[StudyImages, sitk.Image | None, sitk.Image | None]:
    read = {role: _read_volume(path) for role, path in files.items()}
    images = {role.upper(): read[role] for role in ("t1", "t1c", "flair", "adc") if role in read}
    return images, read.get("t1c_low"), read.get("seg")


def _read_volume(path: Path) -> sitk.Image:
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        raise UnreadablePixels(f"{path.name} cannot be read: {_last_line(error)}") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UnreadablePixels(f"{path.name} was to be one volume, found {image.GetDimension()} dimensions")
    return image


def _last_line(error: BaseException) -> str:
    """SimpleITK's first lines name its own source files."""
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__


def _is_patient(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
