"""What this software made is known again, by one test for matching, intake and recall."""

from __future__ import annotations

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from enhancement.dicom.own_series import SOFTWARE, is_enhanced, is_of_model, is_own, lies_on
from unit import phantom
from unit.derived_support import MODEL_DIGEST, derive, derive_adc


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.PhantomStudy:
    return phantom.write_study(tmp_path_factory.mktemp("study"), roles=("T1C", "DWI"), spacing_mm=(4.0, 4.0, 20.0))


def test_an_enhanced_series(study: phantom.PhantomStudy) -> None:
    """Ours, of this model and no other, on the slices of its source."""
    datasets, source, _ = derive(study)
    for ds, part in zip(datasets, source.slices, strict=True):
        assert is_own(ds)
        assert is_enhanced(ds)
        assert is_of_model(ds, MODEL_DIGEST)
        assert not is_of_model(ds, "f" * 64)
        assert lies_on(ds) == part.sop_instance_uid


def test_a_computed_adc_map(study: phantom.PhantomStudy) -> None:
    """Ours, but no network made it."""
    ds = derive_adc(study)[0]
    assert is_own(ds)
    assert not is_enhanced(ds)
    assert not is_of_model(ds, MODEL_DIGEST)


def test_what_others_derived_from_ours_counts_as_ours(study: phantom.PhantomStudy) -> None:
    """A workstation's reformat names itself as the maker and keeps the history."""
    ds = derive(study)[0][0]
    ds.Manufacturer, ds.ManufacturerModelName = "Others", "Workstation"
    assert is_own(ds)


def test_what_lost_its_history_is_known_by_its_maker(study: phantom.PhantomStudy) -> None:
    """Anonymising takes Contributing Equipment out."""
    ds = derive(study)[0][0]
    del ds.ContributingEquipmentSequence
    assert is_own(ds)
    assert not is_of_model(ds, MODEL_DIGEST)


def test_a_scanner_s_series_is_not_ours(study: phantom.PhantomStudy) -> None:
    """Whatever its description says, and however broken its sequences are."""
    ds = dcmread(study.paths_of("T1C")[0])
    ds.SeriesDescription = f"made by {SOFTWARE}"
    assert not is_own(ds)
    broken = Dataset()
    broken.ContributingEquipmentSequence = Sequence([Dataset()])
    assert not is_own(broken)
    assert lies_on(broken) == ""


@pytest.mark.parametrize(
    "taken_out",
    [
        (),
        ("SeriesDescription", "SourceImageSequence"),
        ("SeriesDescription", "DerivationCodeSequence"),
        ("SeriesDescription", "ImageType"),
    ],
)
def test_a_copy_that_an_anonymiser_was_at(study: phantom.PhantomStudy, taken_out: tuple[str, ...]) -> None:
    """Equipment, SyntheticData and free text go first; what is left of ours still tells."""
    ds = derive(study)[0][0]
    for keyword in (
        "ContributingEquipmentSequence",
        "SyntheticData",
        "ImageComments",
        "DerivationDescription",
        *taken_out,
    ):
        del ds[keyword]
    ds.Manufacturer, ds.ManufacturerModelName = "Others", "Scanner"
    assert is_own(ds)


def test_identifiers_of_ours_on_a_scanner_s_images_are_not_enough(study: phantom.PhantomStudy) -> None:
    """A simulator makes its identifiers as we do."""
    ds = dcmread(study.paths_of("DWI")[0])
    assert ds.SeriesInstanceUID.startswith("2.25.")
    assert not is_own(ds)
