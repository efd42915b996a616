"""What a job needs and what takes long to get: verified weights, networks in memory, the brain extractor.

The only place of the service that brings torch in, and it does so when first asked: on a worker's thread.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from enhancement.errors import EnhancementError
from enhancement.service.health import Health, Light
from enhancement.settings import Settings

if TYPE_CHECKING:
    from enhancement.imaging.brain.extraction import BrainExtractor
    from enhancement.network.ensemble import Ensemble
    from enhancement.network.manifest import Manifest


class Models:
    """One device's networks; loaded once and kept.

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
        self._ensemble: Ensemble | None = None
        self._brain: BrainExtractor | None = None

    @property
    def folder(self) -> Path:
        """The model's folder."""
        return self._root / self._settings.model_weights / self._settings.model.folder

    def manifest(self) -> Manifest:
        """The model's manifest, read anew: the weights themselves are not touched.

        Raises
        ------
        WeightsMissing, WeightsMismatch
        """
        from enhancement.network.weights import load_manifest

        return load_manifest(self.folder)

    def load(self) -> tuple[Ensemble, BrainExtractor]:
        """The networks and the brain extractor; from the second call on at once.

        Raises
        ------
        ModelError
            When a file is missing or is not the one that the manifest names. Our light is red until it is mended.
        """
        with self._lock:
            if self._ensemble is None or self._brain is None or self._replaced():
                try:
                    self._ensemble, self._brain = self._load()
                except EnhancementError as error:
                    self._health.report(self._part, Light.RED, error.problem)
                    raise
                except (ImportError, OSError, RuntimeError) as error:
                    reason = f"the networks cannot be loaded: {type(error).__name__}: {error}"
                    fault = EnhancementError(reason, code="ENGINE", advice="Run scripts/setup again.")
                    self._health.report(self._part, Light.RED, fault.problem)
                    raise fault from error
                self._health.clear(self._part)
            return self._ensemble, self._brain

    def _replaced(self) -> bool:
        """Whether another model was installed since; a manifest that cannot be read is said at the next loading."""
        try:
            return self._ensemble is not None and self._ensemble.model.manifest.digest != self.manifest().digest
        except EnhancementError:
            return True

    @property
    def _part(self) -> str:
        return f"model on {self.device}"

    def _load(self) -> tuple[Ensemble, BrainExtractor]:
        from enhancement.network.ensemble import Ensemble
        from enhancement.network.weights import load_model

        model = self._settings.model
        ensemble = Ensemble(
            load_model(self.folder),
            device=self.device,
            folds=model.folds,
            mirrorings=model.mirrorings,
            precision=model.precision,
            threads=model.threads,
        )
        return ensemble, self._brain_extractor()

    def _brain_extractor(self) -> BrainExtractor:
        from enhancement.pipeline.enhance import choose_brain_extractor

        return choose_brain_extractor(self._settings, self._root, device=self.device)
