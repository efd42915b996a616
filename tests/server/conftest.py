"""Real Orthancs for the tests: one light one that they share, and others where a test needs its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from server.server import Orthanc, light_model, storage_folder
from unit import phantom

Start = Callable[..., Orthanc]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of model folders for the light plugin."""
    folder = tmp_path_factory.mktemp("models")
    light_model(folder / "t1c-pro")
    return folder


@pytest.fixture(scope="session")
def orthanc_binary() -> str:
    """Orthanc must be there: these tests fail, not skip, without it."""
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    assert found, "Orthanc is not installed; run scripts/setup"
    return found


@pytest.fixture(scope="session")
def orthanc(orthanc_binary: str, models: Path) -> Iterator[Orthanc]:
    """The light Orthanc that tests share; each sends a study of its own."""
    with storage_folder() as storage:
        server = Orthanc(storage, {"ContrastEnhancement.ModelWeights": models})
        try:
            server.start()
            yield server
        finally:
            server.close()


@pytest.fixture
def start_orthanc(orthanc_binary: str, models: Path) -> Iterator[Start]:
    """A factory of Orthancs of the test's own; they are stopped in the end."""
    with ExitStack() as stack:

        def start(settings: dict[str, Any] | None = None, **options: Any) -> Orthanc:
            begin = options.pop("begin", True)
            storage = options.pop("storage", None) or stack.enter_context(storage_folder())
            chosen = {"ContrastEnhancement.ModelWeights": models, **(settings or {})}
            server = Orthanc(storage, chosen, **options)
            stack.callback(server.close)
            if begin:
                server.start()
            return server

        yield start


_made = 0


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., phantom.PhantomStudy]:
    """A small study, each time of another patient."""

    def make(**changes: Any) -> phantom.PhantomStudy:
        global _made
        _made += 1
        return small_study(tmp_path / f"study-{_made}", _made, **changes)

    return make


def small_study(folder: Path, number: int, **changes: Any) -> phantom.PhantomStudy:
    """T1 and T1c of ten slices each, 43 by 54 voxels."""
    options: dict[str, Any] = {
        "roles": ("T1", "T1C"),
        "spacing_mm": (4.0, 4.0, 20.0),
        "seed": number,
        "study_salt": f"study {number}",
        "patient_id": f"PHANTOM{number}",
    }
    return phantom.write_study(folder, **(options | changes))
