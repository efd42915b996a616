"""Derived series: geometry, identity, references, and the verdict of other people's programs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import config, dcmread
from pydicom.uid import UID

from enhancement.dicom.reading.series import read_series
from enhancement.dicom.writing.derived import encode, enhanced_series
from enhancement.dicom.writing.provenance import model_device_uid
from enhancement.dicom.writing.self_check import check_series
from enhancement.errors import StageError
from enhancement.pipeline.fingerprint import settings_that_matter
from enhancement.recipes.amplification import T1C_PRO
from enhancement.settings import Role, Settings
from unit import phantom
from unit.derived_support import (
    MODEL_DIGEST,
    WORDS,
    derive,
    derive_adc,
    entity_findings,
    provenance,
    read_role,
    unexpected_findings,
    write_files,
)

COARSE = {"spacing_mm": (6.0, 6.0, 8.0), "dwi_spacing_mm": (8.0, 8.0, 10.0)}
GRIDS = {
    "axial": {},
    "oblique": {"tilt_deg": (17.0, -8.0, 5.0)},
    "sagittal": {"plane": "sagittal"},
    "coronal": {"plane": "coronal"},
    "reversed": {"reversed_slices": True},
    "sagittal reversed oblique": {"plane": "sagittal", "reversed_slices": True, "tilt_deg": (4.0, 9.0, -6.0)},
    "anisotropic": {"spacing_mm": (3.0, 7.0, 9.0)},
    "rotated": {"tilt_deg": (0.0, 0.0, 38.0)},
}
needs_dicom3tools = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
#: An active virtual environment has programs of pynetdicom by the names of DCMTK's.
SYSTEM_PATH = os.pathsep.join(
    folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder) != Path(sys.executable).parent
)
STORESCP, STORESCU = (shutil.which(name, path=SYSTEM_PATH) or "" for name in ("storescp", "storescu"))
needs_dcmtk = pytest.mark.skipif(not (STORESCP and STORESCU), reason="dcmtk is not installed")


@pytest.fixture(autouse=True)
def _strict_values() -> Iterator[None]:
    """pydicom refuses any value that breaks the rules of its VR, read or written."""
    before = config.settings.reading_validation_mode, config.settings.writing_validation_mode
    config.settings.reading_validation_mode = config.settings.writing_validation_mode = config.RAISE
    yield
    config.settings.reading_validation_mode, config.settings.writing_validation_mode = before


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.PhantomStudy:
    return phantom.write_study(tmp_path_factory.mktemp("study"), tilt_deg=(12.0, -5.0, 3.0), **COARSE)


@pytest.mark.parametrize("name", GRIDS)
def test_slices_lie_exactly_where_the_t1c_lies(tmp_path: Path, name: str) -> None:
    study = phantom.write_study(tmp_path, roles=("T1C",), **{**COARSE, **GRIDS[name]})
    datasets, source, _ = derive(study)
    for ds, part in zip(datasets, source.slices, strict=True):
        header = part.header
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
            assert ds[keyword].value == header[keyword].value, keyword
        assert ds.FrameOfReferenceUID == header.FrameOfReferenceUID
        assert int(ds.InstanceNumber) == int(header.InstanceNumber)
        assert ds.SourceImageSequence[0].ReferencedSOPInstanceUID == header.SOPInstanceUID
    again = read_series([dcmread(BytesIO(encode(ds))) for ds in reversed(datasets)])
    assert again.image.GetSize() == source.image.GetSize()
    for get in ("GetOrigin", "GetSpacing", "GetDirection"):
        assert getattr(again.image, get)() == pytest.approx(getattr(source.image, get)(), abs=1e-9)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plane=st.sampled_from(["axial", "sagittal", "coronal"]),
    tilt=st.tuples(*[st.floats(-40, 40)] * 3),
    spacing=st.tuples(*[st.floats(12, 25)] * 3),
    reversed_slices=st.booleans(),
)
def test_any_grid_comes_back_unchanged(
    tmp_path: Path, plane: phantom.Plane, tilt: tuple[float, ...], spacing: tuple[float, ...], reversed_slices: bool
) -> None:
    spec = phantom.PhantomSpec(
        roles=("T1C",), plane=plane, tilt_deg=tilt, spacing_mm=spacing, reversed_slices=reversed_slices
    )
    datasets, source, _ = derive(phantom.write_study(tmp_path, spec))
    for ds, part in zip(datasets, source.slices, strict=True):
        assert ds.ImagePositionPatient == part.header.ImagePositionPatient
        assert ds.ImageOrientationPatient == part.header.ImageOrientationPatient
        assert ds.PixelSpacing == part.header.PixelSpacing


@pytest.mark.parametrize("vendor", ["ge", "siemens", "philips"])
def test_pixels_are_the_t1c_s_own_numbers(tmp_path: Path, vendor: phantom.Vendor) -> None:
    study = phantom.write_study(tmp_path, vendor=vendor, roles=("T1C",), **COARSE)
    source = read_role(study, "T1C")
    enhanced = source.image * 2.5 - 40.0
    datasets, _, _ = derive(study, volume=enhanced)
    expected = sitk.GetArrayFromImage(enhanced)
    stored = np.stack([dcmread(BytesIO(encode(ds))).pixel_array for ds in datasets])
    assert stored.dtype == np.uint16
    assert np.abs(stored - np.clip(expected, 0, None)).max() <= 0.5
    assert not any(keyword in datasets[0] for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"))


def test_identity_is_a_function_of_inputs_model_and_settings(study: phantom.PhantomStudy) -> None:
    first, source, others = derive(study)
    again, _, _ = derive(study, created=datetime(2030, 1, 1, tzinfo=UTC), warnings=("seen before",))
    assert [ds.SOPInstanceUID for ds in first] == [ds.SOPInstanceUID for ds in again]
    uids = {first[0].SeriesInstanceUID}
    for changes in ({"model_digest": "f" * 64}, {"settings": {"Folds": 2}}, {"recipe": "other"}):
        uids.add(derive(study, **changes)[0][0].SeriesInstanceUID)
    del others["FLAIR"]
    uids.add(enhanced_series(source.image, source, others, provenance(), WORDS)[0].SeriesInstanceUID)
    assert len(uids) == 5


def test_every_uid_is_valid_and_unique(study: phantom.PhantomStudy) -> None:
    datasets = derive(study)[0] + derive_adc(study)
    uids = [str(ds.SOPInstanceUID) for ds in datasets]
    assert len(set(uids)) == len(uids)
    assert all(UID(uid).is_valid and len(uid) <= 64 for uid in [*uids, *(str(d.SeriesInstanceUID) for d in datasets)])


def test_the_adc_map_does_not_depend_on_the_model(study: phantom.PhantomStudy) -> None:
    adc = derive_adc(study)
    again = derive_adc(study)
    assert [ds.SOPInstanceUID for ds in adc] == [ds.SOPInstanceUID for ds in again]
    assert adc[0].SeriesInstanceUID != derive(study)[0][0].SeriesInstanceUID


def test_it_says_what_it_is(study: phantom.PhantomStudy) -> None:
    ds = derive(study, missing_roles=("ADC",), warnings=("Noise is high.",), superseded_series_instance_uid="2.25.7")[
        0
    ][0]
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "OTHER", "T1C_PRO"]
    assert ds.SyntheticData == "YES"
    assert ds.ContentQualification == "RESEARCH"
    assert "AI" in ds.SeriesDescription
    assert "not acquired" in ds.SeriesDescription
    assert ds.BurnedInAnnotation == "NO"
    assert ds.ContrastBolusAgent == "GADOBUTROL"
    assert "AcquisitionDateTime" not in ds
    assert "Noise is high." in ds.ImageComments
    assert "without ADC" in ds.ImageComments
    assert ds.RelatedSeriesSequence[0].SeriesInstanceUID == "2.25.7"
    scanner, model = ds.ContributingEquipmentSequence
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert scanner.Manufacturer == "GE MEDICAL SYSTEMS"
    assert model.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
    assert MODEL_DIGEST in model.ContributionDescription
    assert model.DeviceUID == model_device_uid(MODEL_DIGEST)


def test_every_referenced_source_is_in_the_study(study: phantom.PhantomStudy) -> None:
    present = {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in study.paths}
    for datasets in (derive(study)[0], derive_adc(study)):
        check_series(datasets, study_sop_instance_uids=present)
    ds = derive(study)[0][0]
    assert len(ds.SourceImageSequence) == 4
    assert [item.SpatialLocationsPreserved for item in ds.SourceImageSequence] == ["YES", "NO", "NO", "NO"]
    with pytest.raises(StageError) as caught:
        check_series([ds], study_sop_instance_uids={"1.2.3"})
    assert caught.value.code == "DERIVED_REFERENCES"


def test_the_adc_map_states_its_unit(study: phantom.PhantomStudy) -> None:
    datasets = derive_adc(study)
    mapping = datasets[0].RealWorldValueMappingSequence[0]
    assert mapping.RealWorldValueSlope == 1e-6
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "mm2/s"
    assert len(datasets[0].SourceImageSequence) == 2  # b = 0 and b = 1000 of the slice
    truth = np.nan_to_num(phantom.adc_zyx(study.spec, study.grids["DWI"]))
    stored = np.stack([dcmread(BytesIO(encode(ds))).pixel_array for ds in datasets])
    assert np.abs(stored * mapping.RealWorldValueSlope - truth).max() <= 0.5e-6


def test_a_volume_on_another_grid_is_refused(study: phantom.PhantomStudy) -> None:
    _, source, _ = derive(study)
    moved = sitk.Image(source.image)
    moved.SetOrigin([value + 1.0 for value in source.image.GetOrigin()])
    with pytest.raises(StageError) as caught:
        derive(study, volume=moved)
    assert caught.value.code == "DERIVED_GRID"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (lambda series: setattr(series[1], "SOPInstanceUID", series[0].SOPInstanceUID), "DERIVED_IDENTITY"),
        (lambda series: setattr(series[1], "SeriesInstanceUID", "1.2.3"), "DERIVED_IDENTITY"),
        (lambda series: setattr(series[1], "InstanceNumber", 99), "DERIVED_GEOMETRY"),
        (lambda series: series.pop(2), "DERIVED_GEOMETRY"),
        (lambda series: setattr(series[1], "PixelData", b"\0\0"), "DERIVED_PIXELS"),
        (lambda series: delattr(series[1], "FrameOfReferenceUID"), "DERIVED_ATTRIBUTES"),
        (lambda series: series[1].add_new(0x00091001, "LO", "private"), "DERIVED_ATTRIBUTES"),
        (lambda series: delattr(series[1], "SourceImageSequence"), "DERIVED_ATTRIBUTES"),
        (lambda series: series[1].ReferencedSeriesSequence[0].ReferencedInstanceSequence.clear(), "DERIVED_REFERENCES"),
        (lambda series: series.clear(), "DERIVED_ATTRIBUTES"),
    ],
)
def test_a_broken_series_is_caught_before_it_is_stored(study: phantom.PhantomStudy, fault: object, code: str) -> None:
    datasets = []
    for ds in derive(study)[0]:
        own = dcmread(BytesIO(encode(ds)))
        datasets.append(own)
    fault(datasets)  # type: ignore[operator]
    with pytest.raises(StageError) as caught:
        check_series(datasets)
    assert caught.value.code == code


@pytest.mark.parametrize("vendor", ["ge", "siemens", "philips"])
def test_write_and_read_give_the_same_object(tmp_path: Path, vendor: phantom.Vendor) -> None:
    study = phantom.write_study(tmp_path, vendor=vendor, **COARSE)
    for ds in derive(study)[0] + derive_adc(study):
        again = dcmread(BytesIO(encode(ds)))
        assert len(again) == len(ds)
        assert [element.keyword for element in ds if again[element.tag] != element] == []
        assert encode(again) == encode(ds)


@needs_dicom3tools
@pytest.mark.parametrize("vendor", ["ge", "siemens", "philips"])
def test_dicom3tools_find_nothing_but_the_allowed_lines(tmp_path: Path, vendor: phantom.Vendor) -> None:
    study = phantom.write_study(tmp_path / "study", vendor=vendor, tilt_deg=(12.0, -5.0, 3.0), **COARSE)
    enhanced, _, _ = derive(study, missing_roles=("ADC",), warnings=("w",), superseded_series_instance_uid="2.25.7")
    paths = write_files(enhanced + derive_adc(study), tmp_path / "derived")
    assert unexpected_findings(paths) == []
    assert entity_findings([*paths, *study.paths]) == []


@needs_dcmtk
def test_a_storage_scp_of_dcmtk_accepts_the_series(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    paths = write_files(derive(study)[0] + derive_adc(study), tmp_path / "derived")
    received = tmp_path / "received"
    received.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with subprocess.Popen([STORESCP, "--output-directory", str(received), port]) as server:
        try:
            _wait_for(port)
            subprocess.run([STORESCU, "--propose-lossless", "127.0.0.1", port, *map(str, paths)], check=True)
        finally:
            server.terminate()
    stored = [dcmread(path, force=True) for path in received.iterdir()]
    assert {ds.SOPInstanceUID for ds in stored} == {dcmread(path).SOPInstanceUID for path in paths}


def _wait_for(port: str) -> None:
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("storescp did not start")


def test_a_careless_source_gives_a_valid_series(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    instances = [dcmread(path) for path in study.paths_of("T1C")]
    with config.disable_value_validation():
        for ds in instances:
            ds.PatientBirthDate, ds.PatientAge, ds.PatientSex = "1970-1-1", "54", "male"
            ds.PatientName = "Müller^Jörg"
            ds.ScanOptions, ds.SequenceVariant = ["FAST_GEMS", "FS"], "XY"
            ds.add_new(0x00091001, "LO", "private")
            del ds.FrameOfReferenceUID, ds.EchoTrainLength
        source = read_series(instances)
        words = replace(WORDS, series_description="T1c-pro künstlich ✓ " * 9)
        datasets = enhanced_series(source.image, source, {}, provenance(), words)
    assert str(datasets[0].PatientName) == "Müller^Jörg"
    assert len(datasets[0].SeriesDescription) <= 64
    assert (datasets[0].PatientBirthDate, datasets[0].get("PatientAge")) == ("", None)
    assert dcmread(BytesIO(encode(datasets[0]))).PatientName == datasets[0].PatientName
    if shutil.which("dciodvfy"):
        assert unexpected_findings(write_files(datasets[:3], tmp_path)) == []


def test_what_was_stored_before_there_were_recipes_keeps_its_identity(tmp_path: Path) -> None:
    """UIDs, number and words of t1c-pro by default settings, as the code before commit dadc374 wrote them."""
    roles = ("T1", "FLAIR", "DWI", "T1C")
    study = phantom.write_study(
        tmp_path, roles=roles, spacing_mm=(4.0, 4.0, 20.0), seed=1, study_salt="pinned", patient_id="PHANTOM1"
    )
    series = {Role(role): study.series_instance_uids[role] for role in roles}
    datasets, *_ = derive(
        study,
        settings=settings_that_matter(Settings(), T1C_PRO, series),
        missing_roles=("ADC",),
        warnings=("one.",),
        superseded_series_instance_uid="1.2.3",
    )
    ds = datasets[0]
    assert ds.SeriesInstanceUID == "2.25.231076749600360172222029778014957406656"
    assert ds.SOPInstanceUID == "2.25.21332612776255421467495348099934146781"
    assert datasets[10].SOPInstanceUID == "2.25.278117014756574256093381696633634073090"
    assert derive_adc(study)[0].SeriesInstanceUID == "2.25.299497398426091492043392191623087744926"
    # The number was 590 then; since it is the source's own, as viewers sort by it.
    assert (ds.SeriesNumber, list(ds.ImageType)) == (5, ["DERIVED", "SECONDARY", "OTHER", "T1C_PRO"])
    assert ds.SeriesDescription == "T1c-pro AI-enhanced, not acquired"
    assert [item.CodeMeaning for item in ds.DerivationCodeSequence] == [
        "Contrast amplification by a neural network",
        "Spatial resampling",
    ]
    inputs = ", ".join(f"{role} {study.series_instance_uids[role]}" for role in ("T1C", "T1", "FLAIR", "DWI"))
    assert ds.DerivationDescription == (
        "Contrast of the post-contrast T1 amplified by a neural network (t1c-pro, model t1c-pro 1.0.0); not acquired. "
        f"Stored values: T1c values, negative as 0. Whole series used: {inputs}."
    )
    assert ds.ImageComments == (
        "Synthetic: contrast amplified by a neural network, not acquired. Read beside the T1c, never alone. "
        "Made without ADC. Warning: one. Supersedes series 1.2.3."
    )


def test_smallest_and_largest_value(tmp_path: Path) -> None:
    """Of every slice and of the series, as unsigned numbers; viewers window by them."""
    study = phantom.write_study(tmp_path, roles=("T1C",), spacing_mm=(8.0, 8.0, 20.0))
    datasets = derive(study)[0]
    pixels = np.stack([ds.pixel_array for ds in datasets])
    for ds, plane in zip(datasets, pixels, strict=True):
        assert (ds.SmallestImagePixelValue, ds.LargestImagePixelValue) == (plane.min(), plane.max())
        assert (ds.SmallestPixelValueInSeries, ds.LargestPixelValueInSeries) == (pixels.min(), pixels.max())


def test_the_series_number_is_the_sources(tmp_path: Path) -> None:
    """Viewers sort by it: the result lies beside its T1c, whatever comes after that."""
    study = phantom.write_study(tmp_path, roles=("T1C",), spacing_mm=(8.0, 8.0, 20.0))
    datasets, source, _ = derive(study)
    assert {ds.SeriesNumber for ds in datasets} == {source.slices[0].header.SeriesNumber}
