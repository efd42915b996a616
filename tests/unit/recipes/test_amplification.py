"""The finish of networks that give three answers: `amplify`, in the T1c's numbers."""

import numpy as np

from enhancement.imaging.amplify import Answers, amplify
from enhancement.imaging.intensity import BrainStatistics, to_unit
from enhancement.imaging.measured_enhancement import measured_enhancement
from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale
from enhancement.recipes.amplification import T1C_PRO
from enhancement.recipes.base import Predicted

SHAPE = (24, 24, 24)
STATISTICS = {"T1": BrainStatistics(300.0, 60.0), "T1C": BrainStatistics(320.0, 80.0)}
MANIFEST = Manifest(
    name="t1c-pro",
    version="1.0.0",
    recipe="t1c-pro",
    network=NetworkShape(kind="half-resolution", in_channels=2, channels=4, levels=2, head="answers"),
    inputs=tuple(InputChannel(role=role, z_min=-3.0, z_max=12.0) for role in ("T1", "T1C")),
    output=OutputScale(z_min=-3.0, z_max=12.0, dose_factor=4.0),
    folds=(Fold(file="fold-0.safetensors", sha256="0" * 64),),
)


def predicted(probability):
    """A T1, a T1c with a lesion in it, and networks that see it whole."""
    rng = np.random.default_rng(0)
    lesion = np.zeros(SHAPE, np.float32)
    lesion[9:14, 9:14, 9:14] = 200
    t1 = 300 + 30 * rng.normal(0, 1, SHAPE)
    t1c = t1 + lesion + rng.normal(0, 5, SHAPE)
    volumes = {"T1": t1, "T1C": t1c}
    inputs = np.stack([to_unit(volumes[role], STATISTICS[role], -3, 12) for role in volumes]).astype(np.float32)
    unit = 15 * STATISTICS["T1C"].sd
    answers = np.stack([probability * (lesion > 0), np.zeros(SHAPE), lesion / unit]).astype(np.float32)
    inside = np.ones(SHAPE, bool)
    inside[0] = False
    return Predicted(MANIFEST, inputs, answers[0], STATISTICS, inside, answers), t1, t1c, lesion


class TestFinish:
    """From answers to what is shown."""

    def test_it_is_amplify_in_the_numbers_of_the_t1c(self):
        """To single precision."""
        found, t1, t1c, lesion = predicted(1.0)
        shown, seen = T1C_PRO.finish(found, T1C_PRO.own)
        inside = found.inside
        answers = Answers((lesion > 0) * inside.astype(np.float32), np.zeros_like(lesion), lesion * inside)
        measured = measured_enhancement(t1.astype(np.float32), t1c.astype(np.float32), inside)
        expected = amplify(t1c.astype(np.float32), inside, answers, measured, 4.0)
        assert np.abs(shown - expected).max() < 0.05
        assert np.abs(seen - t1c).max() < 0.05
        assert (shown - seen)[lesion > 0].mean() > 200

    def test_without_disease_nothing_is_added(self):
        """However bright the lesion is."""
        found, *_ = predicted(0.0)
        shown, seen = T1C_PRO.finish(found, T1C_PRO.own)
        assert np.abs(shown - seen).max() < 1e-3
