"""The plugin with a method that takes a second: for tests of the service, which a real method would only slow.

Orthanc loads this instead of plugin/main.py. Matching, reading and writing DICOM, ledger, routes and publishing are
the plugin's own; only `pipeline.networks` and `pipeline.enhance` are stood in for. LIGHT_SECONDS says how long a job
takes, LIGHT_BURN that it computes for so long; LIGHT_FAULT names a fault to inject; LIGHT_TINY brings a second recipe.
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
        (
            "enhancement.pipeline.networks",
            {
                "Networks": _Networks,
                "manifest_of": _manifest_of,
                "load_recipe": _load_recipe,
                "choose_brain_extractor": lambda *_args, **_kwargs: None,
            },
        ),
        ("enhancement.pipeline.enhance", {"Enhancement": object, "enhance": _enhance}),
    ):
        module = types.ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module
    if os.environ.get("LIGHT_TINY"):
        _install_tiny()


def _install_tiny() -> None:
    """A second recipe, of the T1 alone, as a file of `recipes/` would bring it."""
    from dataclasses import replace

    from enhancement.recipes import RECIPES
    from enhancement.recipes.amplification import T1C_PRO
    from enhancement.recipes.base import OwnSettings
    from enhancement.settings import Role

    class Own(OwnSettings):
        factor: float = 2.0

    RECIPES["tiny"] = replace(
        T1C_PRO,
        name="tiny",
        title="A brighter T1",
        model=Path("tiny"),
        needed=(Role.T1,),
        wanted=(),
        reference=Role.T1,
        covering=(Role.T1,),
        words=replace(
            T1C_PRO.words,
            series_description="Tiny, not acquired",
            image_type="TINY",
            derivation="The T1 made brighter",
            derivation_code=("TINY_SYNTH", "Brightening"),
            comments="Synthetic: brighter, not acquired.",
            reference="T1",
        ),
        own=Own(),
    )


class _Networks:
    def __init__(self, ensemble: object, brain_extractor: object) -> None:
        self.ensemble = ensemble
        self.brain_extractor = brain_extractor


def _manifest_of(recipe, settings, root):  # type: ignore[no-untyped-def]
    from enhancement.errors import WeightsMismatch, WeightsMissing
    from enhancement.network.manifest import Manifest

    path = root / settings.model_weights / recipe.model / "manifest.json"
    if not path.exists():
        raise WeightsMissing(f"no readable manifest.json in model folder {path.parent.name!r}")
    manifest = Manifest.model_validate_json(path.read_text())
    if manifest.digest != manifest.expected_digest():
        raise WeightsMismatch("manifest.json was changed: its digest is not that of its content")
    return manifest


def _load_recipe(recipe, settings, root, *, device):  # type: ignore[no-untyped-def]
    return types.SimpleNamespace(model=types.SimpleNamespace(manifest=_manifest_of(recipe, settings, root)))


def _enhance(images, recipe, networks, settings, progress=None):  # type: ignore[no-untyped-def]
    import SimpleITK as sitk

    _inject(os.environ.get("LIGHT_FAULT", ""))
    seconds = float(os.environ.get("LIGHT_SECONDS", "0.5"))
    steps = max(len(STAGES), int(seconds / 0.05))
    for step in range(steps):
        progress(STAGES[step * len(STAGES) // steps], 0.05 + 0.9 * step / steps)
        _pass(seconds / steps)
    wanted = [channel.role for channel in networks.ensemble.model.manifest.inputs]
    return types.SimpleNamespace(
        image=sitk.Cast(images[recipe.reference] * getattr(recipe.own, "factor", 1.25), sitk.sitkFloat32),
        adc=None,
        missing_roles=tuple(role for role in wanted if role not in images),
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
