"""One study and one recipe, from the archive to the archive: for the service, the command line and evaluation alike."""

from __future__ import annotations

import time
from collections.abc import Callable

from enhancement.archive.base import Archive
from enhancement.pipeline.enhance import enhance
from enhancement.pipeline.networks import Networks
from enhancement.pipeline.publish import Outcome, audit_record, derived_series, provenance_of, store
from enhancement.pipeline.read import read_study
from enhancement.progress import Progress, Stopwatch
from enhancement.recipes.base import Recipe
from enhancement.recipes.offer import offered
from enhancement.settings import Settings

#: A recipe, as the site has set it, to its networks.
Load = Callable[[Recipe], Networks]


def run(
    archive: Archive,
    study_id: str,
    recipe: str,
    settings: Settings,
    load: Load,
    progress: Progress | None = None,
    *,
    superseded: str | None = None,
) -> Outcome:
    """Read the study, make what the recipe makes, and store the whole result or nothing.

    Parameters
    ----------
    archive : Archive
    study_id : str
        The archive's own name of the study.
    recipe : str
        One of those that the settings offer.
    settings : Settings
    load : callable
        Where the recipe's networks come from; called once.
    progress : callable, optional
        Stage and fraction of the whole; what it raises (cancelled, stopping, timed out) stops the work there.
    superseded : str, optional
        SeriesInstanceUID of the result that this one replaces.

    Raises
    ------
    EnhancementError
        Of any kind; nothing of this run is then in the archive that was not there before.
    """
    started_at, watch = time.time(), Stopwatch(progress)
    chosen = offered(settings).named(recipe)
    watch.stage("loading the model", 0.0)
    networks = load(chosen)
    watch.stage("reading the study", 0.01)
    study = read_study(archive, study_id, chosen, settings)
    watch.stop()
    result = enhance(study.images, chosen, networks, settings, progress)
    watch.seconds |= result.stage_seconds
    watch.stage("writing the series", 0.97)
    manifest = networks.ensemble.model.manifest
    provenance = provenance_of(chosen, manifest, settings, study, result, superseded)
    series = derived_series(chosen, settings, study, result, provenance)
    # The last moment at which a cancellation is heeded: from here on the result is stored whole.
    watch.stage("storing the series", 0.98)
    published = store(archive, study_id, series)
    watch.stop()
    audit = audit_record(study, result, provenance, published, watch.seconds, started_at)
    return Outcome(published, audit, dict(watch.seconds), tuple(provenance.warnings))
