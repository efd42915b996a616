"""Shared by the tests of derived series: a phantom study read back, its derived series, and the DICOM validators."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset

from enhancement.dicom.reading.diffusion import DiffusionSeries, read_diffusion
from enhancement.dicom.reading.series import SeriesVolume, read_series
from enhancement.dicom.writing.derived import adc_series, encode, enhanced_series
from enhancement.dicom.writing.provenance import CODING_SCHEME, Provenance
from enhancement.recipes.amplification import T1C_PRO
from unit import phantom

WORDS = T1C_PRO.words
MODEL_DIGEST = "0123456789abcdef" * 4

# Exactly the findings of dicom3tools 1.00~20220618 that the reference allows: this build predates Synthetic Data.
ALLOWED_FINDINGS = (
    r"Warning - </\(0008,001c\)> - Unrecognized tag - assuming explicit value representation OK \[CS\]",
    r"Error - </\(0008,001c\)> - Attribute with an even group number is not a recognized standard attribute",
    r"Warning - </\(0008,001c\)> - Attribute is not present in standard DICOM IOD",
    r"Warning - </ContributingEquipmentSequence\(0018,a001\)\[\d+\]/DeviceUID\(0018,1002\)> - "
    r"Attribute is not present in standard DICOM IOD",
    r"Warning - </DerivationCodeSequence\(0008,9215\)\[\d+\]/CodingSchemeDesignator\(0008,0102\)\[1\]> - "
    rf"Unrecognized defined term = <{CODING_SCHEME}>",
    r"MRImage",
)


def provenance(**changes: Any) -> Provenance:
    base: dict[str, Any] = {"recipe": "t1c-pro", "reference": "T1C", "model_name": "t1c-pro", "model_version": "1.0.0"}
    return Provenance(**{**base, "model_digest": MODEL_DIGEST, "settings": {"Folds": 1}, **changes})


def read_role(study: phantom.PhantomStudy, role: str) -> SeriesVolume | DiffusionSeries:
    instances = [dcmread(path) for path in study.paths_of(role)]
    return read_diffusion(instances) if role == "DWI" else read_series(instances)


def derive(
    study: phantom.PhantomStudy, *, volume: sitk.Image | None = None, **changes: Any
) -> tuple[list[Dataset], SeriesVolume, dict[str, Any]]:
    """The enhanced series of a phantom study (by default of the T1c's own pixels), the T1c and the other sources."""
    source = read_role(study, "T1C")
    assert isinstance(source, SeriesVolume)
    others = {role: read_role(study, role) for role in study.spec.roles if role != "T1C"}
    return enhanced_series(volume or source.image, source, others, provenance(**changes), WORDS), source, others


def derive_adc(study: phantom.PhantomStudy) -> list[Dataset]:
    source = read_role(study, "DWI")
    assert isinstance(source, DiffusionSeries)
    truth = np.nan_to_num(phantom.adc_zyx(study.spec, study.grids["DWI"])).astype(np.float32)
    image = sitk.GetImageFromArray(truth)
    image.CopyInformation(source.images[0])
    return adc_series(image, source, provenance())


def write_files(datasets: Iterable[Dataset], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, ds in enumerate(datasets):
        path = folder / f"{index:04d}.dcm"
        path.write_bytes(encode(ds))
        paths.append(path)
    return paths


def unexpected_findings(paths: Sequence[Path]) -> list[str]:
    """Lines of dciodvfy that are not allowed; its exit code is no verdict."""
    findings = []
    for path in paths:
        done = subprocess.run(
            ["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace", check=False
        )
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        findings += [line for line in lines if not any(re.fullmatch(known, line) for known in ALLOWED_FINDINGS)]
    return findings


def entity_findings(paths: Sequence[Path]) -> list[str]:
    """Everything that dcentvfy says about a set of instances."""
    done = subprocess.run(["dcentvfy", *map(str, paths)], capture_output=True, text=True, errors="replace", check=False)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
