"""The plugin with a method that takes a second: for tests of the service, which a real method would only slow.

Orthanc loads this instead of plugin/main.py. Matching, reading and writing DICOM, ledger, routes and publishing are
the plugin's own; only weights and `pipeline.enhance` are stood in for. LIGHT_SECONDS says how long a job takes,
LIGHT_BURN that it computes for so long; LIGHT_FAULT names a fault to inject.
"""

import importlib.util
import os
import sys
import time
import types
from pathlib import Path

PLUGIN = Path(__file__).resolve().parents[3] / "plugin"
sys.path.insert(0, str(PLUGIN))
VENV = Path(os.environ.get("CONTRAST_ENHANCEMENT_VENV", PLUGIN.parent / ".venv"))
sys.path.insert(1, str(VENV / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"))

STAGES = ("finding the brain", "registering T1", "to the atlas", "predicting", "returning to the T1c's grid")


def _install() -> None:
    """Put the stand-ins where the service imports the heavy modules from, when it does so."""
    for name, content in (
        ("enhancement.network.weights", {"load_manifest": _load_manifest, "load_model": _load_model}),
        ("enhancement.network.ensemble", {"Ensemble": _Ensemble}),
        ("enhancement.network.brain_extractor", {"load_brain_network": lambda *_args, **_kwargs: None}),
        (
            "enhancement.pipeline.enhance",
            {"enhance": _enhance, "read_study": _read_study, "choose_brain_extractor": lambda *_args, **_kwargs: None},
        ),
    ):
        module = types.ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module


def _load_manifest(folder: Path) -> object:
    from enhancement.errors import WeightsMismatch, WeightsMissing
    from enhancement.network.manifest import Manifest

    path = Path(folder) / "manifest.json"
    if not path.exists():
        raise WeightsMissing(f"no readable manifest.json in model folder {path.parent.name!r}")
    manifest = Manifest.model_validate_json(path.read_text())
    if manifest.digest != manifest.expected_digest():
        raise WeightsMismatch("manifest.json was changed: its digest is not that of its content")
    return manifest


def _load_model(folder: Path) -> object:
    return types.SimpleNamespace(manifest=_load_manifest(folder), folder=folder)


class _Ensemble:
    def __init__(self, model: object, **_settings: object) -> None:
        self.model = model


def _read_study(source, study_id, settings):  # type: ignore[no-untyped-def]
    from enhancement.dicom.matching.match import match
    from enhancement.dicom.reading.series import read_series
    from enhancement.settings import Role

    found = match(source.headers(study_id), settings.matching)
    found.require(Role.T1, Role.T1C)
    t1, t1c = (read_series(source.instances(study_id, found.uids(role)[0])) for role in (Role.T1, Role.T1C))
    images = types.SimpleNamespace(t1=t1.image, t1c=t1c.image, adc=None)
    return types.SimpleNamespace(images=images, match=found, t1c=t1c, others={"T1": t1}, adc_computed=False, notes=())


def _enhance(images, ensemble, brain_extractor, settings, progress=None):  # type: ignore[no-untyped-def]
    import SimpleITK as sitk

    _inject(os.environ.get("LIGHT_FAULT", ""))
    seconds = float(os.environ.get("LIGHT_SECONDS", "0.5"))
    steps = max(len(STAGES), int(seconds / 0.05))
    for step in range(steps):
        progress(STAGES[step * len(STAGES) // steps], 0.05 + 0.9 * step / steps)
        _pass(seconds / steps)
    return types.SimpleNamespace(
        t1c_pro=sitk.Cast(images.t1c * 1.25, sitk.sitkFloat32),
        adc=None,
        missing_roles=("FLAIR", "ADC"),
        warnings=(),
        checks=(),
        predictions=1,
        stage_seconds={"predicting": seconds},
    )


def _pass(seconds: float) -> None:
    """Wait, or with LIGHT_BURN compute as the networks do: on every core, in native code that lets the GIL go."""
    if not os.environ.get("LIGHT_BURN"):
        time.sleep(seconds)
        return
    import numpy as np

    ended = time.monotonic() + seconds
    matrix = np.ones((600, 600), dtype=np.float32)
    while time.monotonic() < ended:
        matrix = (matrix @ matrix) % 7.0


def _native_steps(radius: int) -> None:
    """Calls of compiled C++ that let the GIL go, on one thread, with nothing between them that asks whether to stop.

    Radius 10: one of half a minute or more; radius 2: many of some hundredths of a second.
    """
    import SimpleITK as sitk

    smooth = sitk.MedianImageFilter()
    smooth.SetRadius(radius)
    smooth.SetNumberOfThreads(1)
    size = 110 if radius > 2 else 30
    ended = time.monotonic() + 60
    while time.monotonic() < ended:
        smooth.Execute(sitk.Image([size] * 3, sitk.sitkFloat32))


def _inject(fault: str) -> None:
    if fault == "memory":
        raise MemoryError
    if fault == "crash":
        os.kill(os.getpid(), 9)
    if fault == "unknown":
        raise KeyError("PatientName")
    if fault == "stuck":
        time.sleep(20)
    if fault == "long step":
        _native_steps(10)
    if fault == "short steps":
        _native_steps(2)
    if fault == "thread" and not os.environ.get("LIGHT_DIED"):
        os.environ["LIGHT_DIED"] = "1"
        raise SystemExit


_install()
_SPEC = importlib.util.spec_from_file_location("plugin_main", PLUGIN / "main.py")
assert _SPEC is not None
assert _SPEC.loader is not None
_SPEC.loader.exec_module(importlib.util.module_from_spec(_SPEC))
