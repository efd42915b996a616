"""What jobs need and what takes long to get: each recipe's verified networks in memory, and the brain extractor.

The only place of the service that brings torch in, and it does so when first asked: on a worker's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from enhancement.errors import EnhancementError
from enhancement.recipes.base import Recipe
from enhancement.service.health import Health, Light
from enhancement.settings import Settings

if TYPE_CHECKING:
    from enhancement.imaging.brain.extraction import BrainExtractor
    from enhancement.network.ensemble import Ensemble
    from enhancement.network.manifest import Manifest
    from enhancement.pipeline.networks import Networks

_T = TypeVar("_T")


class Models:
    """One device's networks, by recipe; loaded once and kept until their files are replaced.

    Parameters
    ----------
    root : Path
        Where relative paths of the settings start.
    device : str
        As in ``Model.Devices``.
    """

    def __init__(self, settings: Settings, root: Path, device: str, health: Health) -> None:
        self.device = device
        self._settings = settings
        self._root = root
        self._health = health
        self._lock = threading.Lock()
        self._ensembles: dict[str, Ensemble] = {}
        self._brain: BrainExtractor | None = None

    def manifest(self, recipe: Recipe) -> Manifest:
        """The manifest of a recipe's model, read anew: the weights themselves are not touched.

        Raises
        ------
        WeightsMissing, WeightsMismatch
        """
        from enhancement.pipeline.networks import manifest_of

        return manifest_of(recipe, self._settings, self._root)

    def load(self, recipe: Recipe) -> Networks:
        """The recipe's networks and the brain extractor; from the second call on at once.

        Raises
        ------
        ModelError
            When a file is missing or is not the one that the manifest names. Our light is red until it is mended.
        """
        part = f"model of {recipe.name} on {self.device}"
        with self._lock:
            if recipe.name not in self._ensembles or self._replaced(recipe):
                self._ensembles[recipe.name] = self._told(part, lambda: self._load(recipe))
            if self._brain is None:
                self._brain = self._told(f"brain extractor on {self.device}", self._load_brain_extractor)
            from enhancement.pipeline.networks import Networks

            return Networks(self._ensembles[recipe.name], self._brain)

    def _replaced(self, recipe: Recipe) -> bool:
        """Whether another model was installed since; a manifest that cannot be read is said at the next loading."""
        try:
            return self._ensembles[recipe.name].model.manifest.digest != self.manifest(recipe).digest
        except EnhancementError:
            return True

    def _told(self, part: str, load: Callable[[], _T]) -> _T:
        """Load; a fault turns our light red, and the next success clears it."""
        try:
            loaded = load()
        except EnhancementError as error:
            self._health.report(part, Light.RED, error.problem)
            raise
        except (ImportError, OSError, RuntimeError) as error:
            reason = f"the networks cannot be loaded: {type(error).__name__}: {error}"
            fault = EnhancementError(reason, code="ENGINE", advice="Run scripts/setup again.")
            self._health.report(part, Light.RED, fault.problem)
            raise fault from error
        self._health.clear(part)
        return loaded

    def _load(self, recipe: Recipe) -> Ensemble:
        from enhancement.pipeline.networks import load_recipe

        return load_recipe(recipe, self._settings, self._root, device=self.device)

    def _load_brain_extractor(self) -> BrainExtractor:
        from enhancement.pipeline.networks import choose_brain_extractor

        return choose_brain_extractor(self._settings, self._root, device=self.device)
