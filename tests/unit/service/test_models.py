"""Networks in memory, by recipe: loaded when first asked for, loaded anew when their files change."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from enhancement.errors import WeightsMismatch, WeightsMissing
from enhancement.network.architectures.residual_unet import ResidualUNet
from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale
from enhancement.network.weights import write_model
from enhancement.recipes.amplification import T1C_PRO
from enhancement.service.health import Health, Light
from enhancement.service.models import Models
from enhancement.settings import Role, parse_settings

OTHER = replace(T1C_PRO, name="other", model=Path("other"), reference=Role.T1)


def _write(folder: Path, reference: str = "T1C", seed: int = 0) -> str:
    """A model of one tiny network; its digest."""
    torch.manual_seed(seed)
    network = ResidualUNet(2, 1, levels=1, convolutions=1, head="residual")
    manifest = Manifest(
        name=folder.name,
        version="1",
        recipe=folder.name,
        network=NetworkShape(in_channels=2, channels=1, levels=1, convolutions=1, head="residual"),
        inputs=tuple(InputChannel(role=role, z_min=-3, z_max=12) for role in ("T1", "T1C")),
        output=OutputScale(reference=reference),
        folds=(Fold(file="fold-0.safetensors", sha256="0" * 64),),
    )
    return write_model(folder, manifest, [network.state_dict()]).digest


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def models(tmp_path: Path, health: Health) -> Models:
    """Two recipes' models, and no brain extractor to load."""
    _write(tmp_path / "t1c-pro")
    _write(tmp_path / "other", reference="T1", seed=1)
    settings = parse_settings({"ModelWeights": str(tmp_path), "Preprocessing": {"BrainExtractor": "none"}})
    return Models(settings, tmp_path, "cpu", health)


def test_each_recipe_has_its_own_networks(models: Models) -> None:
    """Kept from the first use on; the brain extractor is one for all."""
    first, other = models.load(T1C_PRO), models.load(OTHER)
    assert first.ensemble is models.load(T1C_PRO).ensemble
    assert first.ensemble is not other.ensemble
    assert first.brain_extractor is other.brain_extractor
    assert first.ensemble.model.digest == models.manifest(T1C_PRO).digest


def test_another_model_in_the_folder_is_loaded(models: Models, tmp_path: Path) -> None:
    """Without a restart; the other recipe's networks stay."""
    before, other = models.load(T1C_PRO), models.load(OTHER)
    digest = _write(tmp_path / "t1c-pro", seed=2)
    after = models.load(T1C_PRO)
    assert after.ensemble is not before.ensemble
    assert after.ensemble.model.digest == digest
    assert models.load(OTHER).ensemble is other.ensemble


def test_a_fault_of_one_model_is_told_and_cleared(models: Models, health: Health, tmp_path: Path) -> None:
    """Red until it is mended; the other recipe works meanwhile."""
    shutil.move(tmp_path / "t1c-pro", tmp_path / "away")
    with pytest.raises(WeightsMissing):
        models.load(T1C_PRO)
    assert health.light() is Light.RED
    assert models.load(OTHER)
    shutil.move(tmp_path / "away", tmp_path / "t1c-pro")
    models.load(T1C_PRO)
    assert health.light() is Light.GREEN


def test_a_model_of_another_recipe_is_refused(models: Models) -> None:
    """Its result would be in another series' numbers."""
    with pytest.raises(WeightsMismatch, match="recipe other needs a model whose result is in the numbers of T1"):
        models.load(replace(OTHER, model=Path("t1c-pro")))
