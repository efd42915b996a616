"""Derived series on real sources: multi-frame, mosaic, grid and classic objects of every maker at hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from enhancement.dicom.reading.diffusion import read_diffusion
from enhancement.dicom.reading.series import read_series
from enhancement.dicom.writing.derived import adc_series, enhanced_series
from enhancement.dicom.writing.plane import slice_positions_mm
from enhancement.dicom.writing.self_check import check_series
from enhancement.imaging.adc.fit import fit_adc
from unit.derived_support import WORDS, entity_findings, provenance, unexpected_findings, write_files

pytestmark = pytest.mark.real_data

DIFFUSION = {
    "canon_v60_classic/9000_DTI_PA-ortho": 13,
    "siemens_e11_mosaic_HFS/4_ep2d_diff_mddw_20_p2": 13,
    "uih_r002_grid/6_dti_tra_dir16_PA": 17,
    "siemens_xa30_enhanced/10_DWI_dir80_PA": 21,
    # The scanner's isotropic volume is taken with b = 0, the directions beside it are not.
    "philips_r25_private_only/1201_DT_HIGH_32DIR": 2,
}


def _instances(folder: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".dcm", ".ima")]


def test_an_enhanced_multi_frame_t1_is_referenced_frame_by_frame(real_data: Path, tmp_path: Path) -> None:
    source = read_series(_instances(real_data / "vendors" / "siemens_xa30_enhanced" / "6_anat-T1w_acq-tfl"))
    datasets = enhanced_series(source.image, source, {}, provenance(), WORDS)
    groups = source.slices[0].header.PerFrameFunctionalGroupsSequence
    for ds, part in zip(datasets, source.slices, strict=True):
        item = ds.SourceImageSequence[0]
        assert item.ReferencedSOPInstanceUID == part.sop_instance_uid
        assert item.ReferencedFrameNumber == part.frame_number
        there = groups[part.frame_number - 1].PlanePositionSequence[0].ImagePositionPatient
        assert [float(v) for v in ds.ImagePositionPatient] == pytest.approx([float(v) for v in there], abs=1e-9)
        assert ds.ScanningSequence != "RM"
        assert ds.EchoTime
    paths = write_files(datasets, tmp_path)
    assert _errors(paths[::12]) == []
    assert entity_findings(paths) == []


def _errors(paths: list[Path]) -> list[str]:
    """Warnings may remain: names and codes of the source are copied as they are."""
    return [line for line in unexpected_findings(paths) if line.startswith("Error")]


@pytest.mark.parametrize("name", DIFFUSION)
def test_an_adc_map_names_every_diffusion_image_of_its_slice(real_data: Path, tmp_path: Path, name: str) -> None:
    instances = _instances(real_data / "vendors" / name)
    source = read_diffusion(instances)
    adc = fit_adc(source.images, source.b_values)
    datasets = adc_series(adc, source, provenance())
    present = {str(ds.SOPInstanceUID) for ds in instances}
    check_series(datasets, study_sop_instance_uids=present)
    assert Counter(len(ds.SourceImageSequence) for ds in datasets) == {DIFFUSION[name]: len(datasets)}
    expected = [adc.TransformIndexToPhysicalPoint((0, 0, k)) for k in range(adc.GetSize()[2])]
    found = np.array([[float(v) for v in ds.ImagePositionPatient] for ds in datasets])
    assert np.abs(found - np.array(expected)).max() < 1e-3
    assert np.abs(np.abs(np.diff(slice_positions_mm(datasets))) - adc.GetSpacing()[2]).max() < 0.01
    paths = write_files(datasets, tmp_path)
    assert _errors(paths[::10]) == []
    assert entity_findings(paths) == []
