"""From archive to archive: read, enhance, publish, in this order, and the record of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import SimpleITK as sitk
from pydicom import dcmread

from enhancement.archive.folder import FolderArchive
from enhancement.errors import Cancelled, InputError
from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale
from enhancement.pipeline import run as module
from enhancement.pipeline.networks import Networks
from enhancement.pipeline.run import run
from enhancement.recipes.base import Recipe
from enhancement.settings import Settings
from unit import phantom

MANIFEST = Manifest(
    name="model",
    version="3",
    recipe="t1c-pro",
    network=NetworkShape(),
    inputs=tuple(InputChannel(role=role, z_min=-3, z_max=12) for role in ("T1", "FLAIR", "ADC", "T1C")),
    output=OutputScale(),
    folds=(Fold(file="fold-0.safetensors", sha256="0" * 64),),
    digest="d" * 64,
)


def _load(recipe: Recipe) -> Networks:
    return Networks(cast(Any, SimpleNamespace(model=SimpleNamespace(manifest=MANIFEST))), cast(Any, None))


def _enhance(images: Any, recipe: Recipe, networks: Networks, settings: Settings, progress: Any) -> Any:
    """In place of the method: the reference, a little brighter."""
    if progress is not None:
        progress("predicting", 0.5)
    return SimpleNamespace(
        image=sitk.Cast(images[recipe.reference] * 1.25, sitk.sitkFloat32),
        adc=images.get("ADC"),
        missing_roles=(),
        warnings=("A warning.",),
        checks=(),
        predictions=1,
        stage_seconds={"predicting": 1.0},
    )


@pytest.fixture(autouse=True)
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "enhance", _enhance)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> phantom.PhantomStudy:
    """T1, FLAIR, DWI and T1c."""
    return phantom.write_study(tmp_path_factory.mktemp("study"), spacing_mm=(4.0, 4.0, 20.0))


def _archive(study: phantom.PhantomStudy, output: Path) -> FolderArchive:
    return FolderArchive(Path(study.paths[0]).parent.parent, output)


def test_the_result_is_stored_and_told(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    """T1c-pro first, then the ADC map that was computed for it; the record names every input."""
    said: list[tuple[str, float]] = []
    archive = _archive(study, tmp_path)
    outcome = run(archive, "", "t1c-pro", Settings(), _load, lambda stage, done: said.append((stage, done)))
    assert [dcmread(next(Path(s.archive_id).glob("*.dcm"))).ImageType[3] for s in outcome.published] == [
        "T1C_PRO",
        "ADC",
    ]
    assert [stage for stage, _ in said] == [
        "loading the model", "reading the study", "predicting", "writing the series", "storing the series",
    ]  # fmt: skip
    assert [done for _, done in said] == sorted(done for _, done in said)
    audit = outcome.audit
    assert audit["model"] == {"name": "model", "version": "3", "digest": "d" * 64}
    assert audit["inputs"] == {role: [study.series_instance_uids[role]] for role in ("T1C", "T1", "FLAIR", "DWI")}
    assert [item["series_instance_uid"] for item in audit["results"]] == list(outcome.result_uids)[::-1]
    assert outcome.note == "A warning."
    assert set(outcome.stage_seconds) == {stage for stage, _ in said}


def test_a_second_run_stores_the_same_objects(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    """The UIDs are those of the inputs, the model and the settings."""
    archive = _archive(study, tmp_path)
    first, second = (run(archive, "", "t1c-pro", Settings(), _load) for _ in range(2))
    assert first.result_uids == second.result_uids


def test_what_progress_raises_leaves_nothing_behind(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    """The last moment is before the first series is stored."""

    def cancel(stage: str, done: float) -> None:
        if stage == "storing the series":
            raise Cancelled("asked for")

    with pytest.raises(Cancelled):
        run(_archive(study, tmp_path), "", "t1c-pro", Settings(), _load, cancel)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_is_not_offered(study: phantom.PhantomStudy, tmp_path: Path) -> None:
    """Before anything is loaded or read."""
    with pytest.raises(InputError, match="recipe must be one of t1c-pro"):
        run(_archive(study, tmp_path), "", "bone-2022", Settings(), lambda recipe: pytest.fail("loaded"))
