"""The results that came with a copied study are told from those that belong to something else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from enhancement.dicom.own_copies import copied_results
from unit import phantom
from unit.derived_support import derive


@pytest.fixture
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Dataset]]:
    """An enhanced study: its T1c, and the result under the key "ours"."""
    made = phantom.write_study(tmp_path_factory.mktemp("study"), roles=("T1C",), spacing_mm=(4.0, 4.0, 20.0))
    acquired = [dcmread(path, stop_before_pixels=True) for path in made.paths_of("T1C")]
    return {"t1c": acquired, "ours": derive(made)[0]}


def _kind(study: dict[str, list[Dataset]]) -> str:
    return str(study["ours"][0].ImageType[3])


def _renamed(headers: Sequence[Dataset]) -> None:
    """What an anonymiser does that leaves the references inside sequences behind."""
    for number, ds in enumerate(headers):
        ds.SOPInstanceUID = f"1.2.3.{number}"
        ds.FrameOfReferenceUID = "1.2.4"


def test_one_that_names_its_source(study: dict[str, list[Dataset]]) -> None:
    assert copied_results(study, ["t1c"], _kind(study), ()) == ["ours"]


def test_one_that_lies_where_its_source_lies(study: dict[str, list[Dataset]]) -> None:
    """Its references name instances of the study that it was copied from."""
    _renamed(study["t1c"])
    _renamed(study["ours"])
    assert copied_results(study, ["t1c"], _kind(study), ()) == ["ours"]


def test_not_one_of_another_frame_of_reference(study: dict[str, list[Dataset]]) -> None:
    """The T1c was replaced by one of another examination at the same positions."""
    _renamed(study["t1c"])
    assert copied_results(study, ["t1c"], _kind(study), ()) == []


def test_not_one_that_misses_a_slice(study: dict[str, list[Dataset]]) -> None:
    _renamed(study["t1c"])
    _renamed(study["ours"])
    study["ours"].pop()
    assert copied_results(study, ["t1c"], _kind(study), ()) == []


def test_not_what_the_ledger_knows_nor_another_recipe_s(study: dict[str, list[Dataset]]) -> None:
    assert copied_results(study, ["t1c"], _kind(study), ["ours"]) == []
    assert copied_results(study, ["t1c"], "ANOTHER", ()) == []
    assert copied_results(study, [], _kind(study), ()) == []
