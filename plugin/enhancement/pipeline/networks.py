"""What a recipe needs besides the study: its verified networks, and a brain extractor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from enhancement.errors import WeightsMismatch
from enhancement.imaging.brain.extraction import (
    BrainExtractedInput,
    BrainExtractor,
    BuiltInExtractor,
    NativeExtractor,
    UnlessBrainExtracted,
)
from enhancement.network.brain_extractor import load_brain_network
from enhancement.network.ensemble import Ensemble
from enhancement.network.hd_bet import is_installed, load_hd_bet
from enhancement.network.loading import load_ensemble
from enhancement.network.manifest import Manifest
from enhancement.network.weights import load_manifest
from enhancement.recipes.base import Recipe
from enhancement.settings import Settings


@dataclass(frozen=True)
class Networks:
    """Ready to predict, on one device."""

    ensemble: Ensemble
    brain_extractor: BrainExtractor


def model_folder(recipe: Recipe, settings: Settings, root: Path) -> Path:
    """Where a recipe's model lies.

    Parameters
    ----------
    root : Path
        Where relative paths of the settings start.
    """
    return root / settings.model_weights / recipe.model


def manifest_of(recipe: Recipe, settings: Settings, root: Path) -> Manifest:
    """The manifest of a recipe's model; the weights themselves are not touched.

    Raises
    ------
    WeightsMissing, WeightsMismatch
        If there is none, or it is not valid, or of a model in another series' numbers.
    """
    manifest = load_manifest(model_folder(recipe, settings, root))
    if manifest.output.reference != recipe.reference:
        raise WeightsMismatch(
            f"recipe {recipe.name} needs a model whose result is in the numbers of {recipe.reference}, "
            f"found one of {manifest.output.reference}"
        )
    return manifest


def load_recipe(recipe: Recipe, settings: Settings, root: Path, *, device: str) -> Ensemble:
    """Verify and load a recipe's model, with as much of the ensemble as the settings ask for.

    Raises
    ------
    WeightsMissing, WeightsMismatch
        If the folder is not what its manifest says, or not of this recipe.
    """
    manifest_of(recipe, settings, root)
    model = settings.model
    return load_ensemble(
        model_folder(recipe, settings, root),
        device=device,
        folds=model.folds,
        mirrorings=model.mirrorings,
        precision=model.precision,
        threads=model.threads,
    )


def load_networks(recipe: Recipe, settings: Settings, root: Path) -> Networks:
    """Load all that a recipe needs, on the first device of the settings."""
    device = settings.model.devices[0]
    return Networks(
        load_recipe(recipe, settings, root, device=device), choose_brain_extractor(settings, root, device=device)
    )


def choose_brain_extractor(settings: Settings, root: Path, *, device: str = "auto") -> BrainExtractor:
    """Load the brain extractor that the settings name.

    "auto" takes a brain-extracted series as it is; for a head it is HD-BET where its weights lie, else the built-in
    one.

    Parameters
    ----------
    settings : Settings
    root : Path
        Where relative paths of the settings start.
    device : str
        As in `Ensemble`.

    Raises
    ------
    WeightsMissing, WeightsMismatch
        If the weights are not there or not the pinned ones. There is no silent second choice: a broken HD-BET under
        "auto" is an error too.
    """
    wanted = settings.preprocessing
    weights = root / settings.model_weights
    if wanted.brain_extractor == "none":
        return BrainExtractedInput()
    folder = root / wanted.hd_bet_folder if wanted.hd_bet_folder is not None else weights / "hd-bet"
    automatic = wanted.brain_extractor == "auto"
    extractor: BrainExtractor
    if wanted.brain_extractor == "hd-bet" or (automatic and is_installed(folder)):
        extractor = NativeExtractor(load_hd_bet(folder, device=device, sha256=wanted.hd_bet_sha256))
    else:
        extractor = BuiltInExtractor(load_brain_network(weights / "brain", device=device))
    return UnlessBrainExtracted(extractor) if automatic else extractor
