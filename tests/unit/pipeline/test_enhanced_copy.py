"""A result that an anonymiser took every word of ours from is never enhanced again: its pixels tell."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from enhancement.archive.folder import FolderArchive
from enhancement.dicom.own_series import is_own
from enhancement.errors import AmbiguousMatch
from enhancement.pipeline.read import read_study
from enhancement.recipes.amplification import T1C_PRO
from enhancement.settings import Role, Settings
from unit import phantom
from unit.derived_support import derive, read_role, write_files

_WORDS = (
    "ContributingEquipmentSequence", "SyntheticData", "ImageComments", "DerivationDescription", "SourceImageSequence",
    "DerivationCodeSequence", "SeriesDescription", "ImageType", "ReferencedSeriesSequence", "ContentLabel",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.PhantomStudy:
    """T1 and T1c on one grid, as most sites acquire them, with noise."""
    folder = tmp_path_factory.mktemp("study")
    spec = phantom.PhantomSpec(roles=("T1", "T1C"), spacing_mm=(3.0, 3.0, 10.0), noise=8.0)
    return phantom.write_study(folder, spec, grids={"T1": phantom.grid_of(spec, "T1C")})


def _anonymised_copy(study: phantom.PhantomStudy) -> list[Dataset]:
    """An enhanced series of the study as it comes back from another hospital."""
    source = read_role(study, "T1C")
    voxels = sitk.GetArrayFromImage(source.image)
    brain = _middle(voxels)
    voxels[brain] = np.rint(voxels[brain] + 1.2 * np.maximum(voxels[brain] - np.median(voxels[brain]), 0))
    image = sitk.GetImageFromArray(voxels)
    image.CopyInformation(source.image)
    series, _, _ = derive(study, volume=image)
    uid = generate_uid()
    original = dcmread(study.paths_of("T1C")[0])
    for ds in series:
        for keyword in _WORDS:
            if keyword in ds:
                del ds[keyword]
        ds.Manufacturer, ds.ManufacturerModelName = original.Manufacturer, original.ManufacturerModelName
        ds.SeriesDescription, ds.ImageType = original.SeriesDescription, original.ImageType
        ds.SeriesInstanceUID, ds.SOPInstanceUID = uid, generate_uid()
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return series


def _middle(voxels: np.ndarray) -> np.ndarray:
    inside = np.zeros(voxels.shape, dtype=bool)
    z, y, x = voxels.shape
    inside[z // 4 : 3 * z // 4, y // 4 : 3 * y // 4, x // 4 : 3 * x // 4] = True
    return inside


def _archive(study: phantom.PhantomStudy, folder: Path, copy: list[Dataset]) -> FolderArchive:
    shutil.copytree(Path(study.paths[0]).parent.parent, folder / "study")
    write_files(copy, folder / "study" / "copy")
    return FolderArchive(folder / "study")


def test_beside_its_source_it_is_not_taken(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    """The acquired T1c is read, and a note says what the other one is."""
    copy = _anonymised_copy(study)
    assert not is_own(copy[0])
    read = read_study(_archive(study, tmp_path, copy), "", T1C_PRO, Settings())
    assert read.match.uids(Role.T1C) == (study.series_instance_uids["T1C"],)
    assert any("a copy of it with a region made brighter" in note for note in read.notes)


def test_one_that_matching_takes_is_refused(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    """Its clock looks like that of a repeat, and the better one: the pixels still tell."""
    copy = _anonymised_copy(study)
    original = dcmread(study.paths_of("T1C")[0])
    for ds in copy:
        ds.AcquisitionDate, ds.AcquisitionTime = original.AcquisitionDate, "235900"
    with pytest.raises(AmbiguousMatch, match="with a region made brighter, so it was made from it") as caught:
        read_study(_archive(study, tmp_path, copy), "", T1C_PRO, Settings())
    assert caught.value.code == "ENHANCED_COPY"
    assert str(copy[0].SeriesInstanceUID) in caught.value.reason


def test_a_plain_study_is_read(study: phantom.PhantomStudy) -> None:
    """T1 and T1c of one grid are two acquisitions."""
    read = read_study(FolderArchive(Path(study.paths[0]).parent.parent), "", T1C_PRO, Settings())
    assert not any("copy" in note for note in read.notes)
