"""What the T1c measured of the agent, and what a prediction may show beyond it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from enhancement.arrays import Volume
from enhancement.imaging.intensity import normalise
from enhancement.imaging.measured_enhancement import Measured, limit_to_measured, measured_enhancement
from enhancement.network.weights import Model, load_model
from enhancement.recipes.amplification import T1C_PRO
from enhancement.recipes.base import Predicted

_SHAPE = (40, 48, 44)
_WEIGHTS = Path(__file__).resolve().parents[3] / "model_weights" / "t1c-pro"
_BOUND: dict[str, Any] = {
    "gain": 3.0, "noise_sds": 2.0, "voxel_noise_sds": 1.0, "faint": 0.1, "plain": 0.3, "bright": 0.7, "plain_part": 0.6,
}  # fmt: skip


def _ball(centre: tuple[int, int, int], radius: float) -> NDArray[np.bool_]:
    grid = np.ogrid[tuple(slice(n) for n in _SHAPE)]
    return np.asarray(sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) <= radius**2)


class Head:
    """Two tissues whose contrast the T1c has the other way round, a lesion that enhances and one that is T1-bright."""

    def __init__(self, noise: float = 0.0) -> None:
        random = np.random.default_rng(0)
        self.brain = _ball((20, 24, 22), 19)
        white = ndimage.gaussian_filter(random.standard_normal(_SHAPE), 3) > 0
        self.lesion, self.bright = _ball((20, 30, 22), 3), _ball((20, 14, 22), 3)
        self.t1 = np.where(white, 100.0, 70.0)
        self.t1[self.bright] = 160.0
        self.t1c = np.where(white, 300.0, 330.0)
        self.t1c[self.bright] = 300 * 1.6
        self.t1c[self.lesion] += 120.0
        self.t1 = (self.t1 + noise * 0.3 * random.standard_normal(_SHAPE)).astype(np.float32)
        self.t1c = (self.t1c + noise * random.standard_normal(_SHAPE)).astype(np.float32)

    def measured(self) -> Measured:
        return measured_enhancement(self.t1, self.t1c, self.brain)


class TestMeasured:
    def test_a_lesion_counts_and_another_sequence_or_t1_bright_tissue_does_not(self) -> None:
        head = Head()
        found = head.measured()
        calm = ndimage.binary_erosion(head.brain, iterations=3) & ~_ball((20, 30, 22), 7) & ~_ball((20, 14, 22), 6)
        assert found.excess_zyx[20, 30, 22] == pytest.approx(120, abs=12)
        assert np.abs(found.excess_zyx[calm]).max() < 8
        assert found.excess_zyx[20, 14, 22] < 30
        assert found.level == pytest.approx(np.median(head.t1c[head.brain]))
        assert not found.excess_zyx[~head.brain].any()

    def test_noise_is_measured_before_and_after_smoothing(self) -> None:
        """White noise of SD s has about s / 6.7 left after a Gaussian of one voxel; the T1's adds to it a little."""
        found = Head(noise=15.0).measured()
        assert found.voxel_noise == pytest.approx(16, rel=0.15)
        assert found.noise == pytest.approx(16 / 6.7, rel=0.35)

    def test_a_volume_without_contrast_has_no_enhancement(self) -> None:
        brain = _ball((20, 24, 22), 19)
        flat = np.full(_SHAPE, 5.0, np.float32)
        found = measured_enhancement(flat, flat, brain)
        assert np.abs(found.excess_zyx).max() < 1e-4


class TestBounded:
    def test_a_bright_lesion_is_shown_as_predicted(self) -> None:
        """240 is three quarters of the brain's level."""
        head = Head(noise=6.0)
        added = np.where(head.lesion, 240.0, 0.0).astype(np.float32)
        shown = limit_to_measured(head.t1c + added, head.t1c, head.measured(), **_BOUND)
        inner = _ball((20, 30, 22), 2)
        np.testing.assert_allclose((shown - head.t1c)[inner], 240.0, rtol=1e-4)

    @pytest.mark.parametrize(("added", "part"), [(94.5, 0.6), (157.5, 0.8)])
    def test_a_lesion_that_is_not_bright_is_shown_in_part(self, added: float, part: float) -> None:
        """0.3 of the brain's level, 315, shows 0.6 of itself, halfway to 0.7 shows halfway to all.

        The smoothing takes a little of its height.
        """
        head = Head(noise=2.0)
        prediction = head.t1c + np.where(head.lesion, added, 0.0).astype(np.float32)
        shown = limit_to_measured(prediction, head.t1c, head.measured(), **_BOUND)
        assert (shown - head.t1c)[_ball((20, 30, 22), 1)].mean() / added == pytest.approx(part, abs=0.03)

    def test_what_was_not_measured_is_not_shown(self) -> None:
        """A blob added where the T1c has nothing keeps what noise removal may need: no voxel above its surroundings."""
        head = Head(noise=6.0)
        measured = head.measured()
        blob = _ball((28, 20, 14), 3)
        shown = limit_to_measured(head.t1c + np.where(blob, 200.0, 0).astype(np.float32), head.t1c, measured, **_BOUND)
        added = (shown - head.t1c)[blob]
        assert (added <= np.minimum(measured.voxel_noise, measured.below_zyx[blob]) * 1.001 + 1e-3).mean() > 0.9
        assert added.mean() < 25

    def test_a_faint_addition_is_not_shown(self) -> None:
        """30 of 315 is a tenth of the brain's level."""
        head = Head(noise=2.0)
        measured = head.measured()
        added = np.where(head.lesion, 30.0, 0.0).astype(np.float32)
        shown = limit_to_measured(head.t1c + added, head.t1c, measured, **_BOUND)
        assert (shown - head.t1c).max() <= measured.voxel_noise * 1.001

    def test_noise_is_removed_on_both_sides_and_a_speck_is_not_raised(self) -> None:
        """The local mean plus half an SD is predicted: dark voxels rise to their surroundings, no speck rises."""
        head = Head(noise=12.0)
        measured = head.measured()
        near = ndimage.gaussian_filter(head.t1c, 1.0)
        shown = limit_to_measured(near + 6.0, head.t1c, measured, **_BOUND)
        calm = ndimage.binary_erosion(head.brain, iterations=4) & ~ndimage.binary_dilation(head.lesion, iterations=5)
        assert np.std((shown - near)[calm]) < 0.6 * np.std((head.t1c - near)[calm])
        specks = calm & (head.t1c > near)
        assert (shown - head.t1c)[specks].max() < 0.5

    @settings(max_examples=25, deadline=None)
    @given(
        seed=st.integers(0, 1000),
        strength=st.floats(0, 500),
        gain=st.floats(0.5, 5),
        faint=st.floats(0, 0.5),
    )
    def test_nothing_is_raised_and_nothing_falls_below_the_t1c_that_was_not_lower(
        self, seed: int, strength: float, gain: float, faint: float
    ) -> None:
        head = Head(noise=5.0)
        random = np.random.default_rng(seed)
        prediction = head.t1c + (strength * random.standard_normal(_SHAPE)).astype(np.float32)
        bound = _BOUND | {"gain": gain, "faint": faint, "plain": faint + 0.1, "bright": faint + 0.3}
        shown = limit_to_measured(prediction, head.t1c, head.measured(), **bound)
        slack = 1e-3 * (1 + strength)
        assert (shown <= prediction + slack).all()
        assert (shown >= np.minimum(prediction, head.t1c) - slack).all()


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(_WEIGHTS)


class TestThroughThePipeline:
    """From the network's units and back: the published model's limits and bound, a prediction made by hand."""

    def shown(self, model: Model, head: Head, added: float) -> Volume:
        """What is shown of an addition to the lesion and to T1-bright tissue, in units of the brain's level."""
        volumes = {"T1": head.t1, "T1C": head.t1c, "FLAIR": head.t1, "ADC": head.t1}
        channels = model.manifest.inputs
        normalised = [normalise(c.role, volumes[c.role], head.brain, c.z_min, c.z_max) for c in channels]
        statistics = {c.role: own for c, (_, own) in zip(channels, normalised, strict=True)}
        inputs = np.stack([unit for unit, _ in normalised])
        output, level = model.manifest.output, float(np.median(head.t1c[head.brain]))
        per_unit = (output.z_max - output.z_min) * statistics["T1C"].sd
        predicted = inputs[model.roles.index("T1C")] + np.float32(added * level / per_unit) * (
            head.lesion | head.bright
        )
        made = Predicted(model.manifest, inputs, predicted, statistics, head.brain)
        after, before = T1C_PRO.finish(made, T1C_PRO.own)
        return np.asarray((after - before) / level, dtype=np.float32)

    @pytest.mark.parametrize("times", [1.0, 1.5, 2.0])
    def test_a_lesion_is_shown_whatever_it_was_before(self, model: Model, times: float) -> None:
        """0.3 of the brain's level measured, 0.75 predicted: shown in full. A T1 of twice the brain's is no reason."""
        head = Head(noise=6.0)
        csf = head.brain & ~_ball((20, 24, 22), 17)  # without it the lesion would lie beyond 12 SDs
        head.t1[head.bright], head.t1c[head.bright] = 100, 300
        head.bright[:] = False
        head.t1[csf] *= 0.8
        head.t1c[csf] *= 0.8
        head.t1[head.lesion] = 100 * times
        head.t1c[head.lesion] = 300 * times + 0.3 * 310
        shown = self.shown(model, head, added=0.75)
        assert shown[_ball((20, 30, 22), 2)].mean() == pytest.approx(0.75, abs=0.05)

    def test_what_was_bright_before_is_not(self, model: Model) -> None:
        """T1 and T1c of one sequence, dark CSF: of a z-score's ratio 0.17 of the brain's level would be left."""
        head = Head(noise=6.0)
        csf = head.brain & ~_ball((20, 24, 22), 17)
        head.t1[csf] *= 0.3
        head.t1c[csf] *= 0.3
        head.t1[head.bright], head.t1c[head.bright] = 200, 600
        head.t1[head.lesion], head.t1c[head.lesion] = 100, 300
        head.lesion[:] = False
        assert self.shown(model, head, added=0.75)[_ball((20, 14, 22), 2)].mean() < 0.05
