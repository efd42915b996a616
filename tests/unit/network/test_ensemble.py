"""The ensemble: an average over folds and mirrorings that needs the memory of one prediction."""

from itertools import combinations

import numpy as np
import pytest
import torch

from enhancement.errors import Cancelled, OutOfMemory, WeightsMismatch
from enhancement.network.architectures.residual_unet import ResidualUNet, initialise
from enhancement.network.engines.torch import TorchEngine
from enhancement.network.ensemble import MIRRORINGS, Ensemble
from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale
from enhancement.network.weights import Model

FOLDS = 3


@pytest.fixture(scope="module")
def model():
    folds = []
    for seed in range(FOLDS):
        torch.manual_seed(seed)
        network = ResidualUNet(2, 4, levels=3, head="residual")
        initialise(network)
        torch.nn.init.normal_(network.last.weight, std=0.2)
        folds.append(network.state_dict())
    manifest = Manifest(
        name="test",
        version="1",
        recipe="test",
        network=NetworkShape(in_channels=2, channels=4, levels=3, head="residual"),
        inputs=tuple(InputChannel(role=role, z_min=-3, z_max=12) for role in ("T1", "T1C")),
        output=OutputScale(),
        folds=tuple(Fold(file=f"{i}.safetensors", sha256="0" * 64) for i in range(FOLDS)),
    )
    return Model(manifest, tuple(folds))


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((2, 12, 16, 20), dtype=np.float32)


def by_hand(model, inputs, folds, mirrorings):
    """Every prediction, one by one, in float32."""
    outputs = []
    for fold in range(folds):
        network = model.build(fold)
        for axes in MIRRORINGS[:mirrorings]:
            with torch.no_grad():
                output = network(torch.flip(torch.from_numpy(inputs)[None], axes))
            outputs.append(torch.flip(output, axes)[0, 0].numpy())
    return np.stack(outputs)


class TestMeanAndSpread:
    """The accumulated moments are those of all predictions."""

    @pytest.mark.parametrize(("folds", "mirrorings"), [(1, 1), (1, 8), (3, 4)])
    def test_equal_to_averaging_by_hand(self, model, inputs, folds, mirrorings):
        """Mean and sample standard deviation in float32."""
        found = Ensemble(model, folds=folds, mirrorings=mirrorings, precision="float32", device="cpu").predict(inputs)
        expected = by_hand(model, inputs, folds, mirrorings)
        np.testing.assert_allclose(found.mean_zyx, expected.mean(axis=0), atol=1e-5)
        spread = expected.std(axis=0, ddof=1) if len(expected) > 1 else np.zeros(inputs.shape[1:])
        np.testing.assert_allclose(found.spread_zyx, spread, atol=1e-5)
        assert found.predictions == folds * mirrorings

    def test_bfloat16_is_close_to_float32(self, model, inputs):
        """Within the half percent of the scale that an 8-bit mantissa allows."""
        exact = Ensemble(model, mirrorings=1, precision="float32", device="cpu").predict(inputs)
        fast = Ensemble(model, mirrorings=1, precision="bfloat16", device="cpu").predict(inputs)
        np.testing.assert_allclose(fast.mean_zyx, exact.mean_zyx, atol=2e-2)

    def test_mirrored_input_gives_the_mirrored_result(self, model, inputs):
        """Eight mirrorings make the mean independent of left and right."""
        ensemble = Ensemble(model, folds=1, mirrorings=8, precision="float32", device="cpu")
        straight = ensemble.predict(inputs).mean_zyx
        turned = ensemble.predict(inputs[..., ::-1].copy()).mean_zyx[..., ::-1]
        np.testing.assert_allclose(turned, straight, atol=1e-5)

    def test_any_size(self, model):
        """Padded to the network's multiple and cut back."""
        odd = np.random.default_rng(1).random((2, 9, 11, 13), dtype=np.float32)
        assert Ensemble(model, folds=1, mirrorings=1, device="cpu").predict(odd).mean_zyx.shape == (9, 11, 13)

    def test_more_folds_than_there_are_means_all(self, model):
        """The setting is an upper limit."""
        assert Ensemble(model, folds=5, mirrorings=2, device="cpu").predictions == FOLDS * 2

    def test_wrong_number_of_inputs(self, model, inputs):
        """Said, not broadcast."""
        with pytest.raises(WeightsMismatch, match="2 input"):
            Ensemble(model, device="cpu").predict(inputs[:1])

    @pytest.mark.parametrize("mirrorings", [0, 3, 16])
    def test_mirrorings_are_1_2_4_or_8(self, model, mirrorings):
        """Subsets that form a group, so that the mean is fair to every side."""
        with pytest.raises(ValueError, match="mirrorings"):
            Ensemble(model, mirrorings=mirrorings)


class TestProgress:
    """A user sees each prediction and can stop after any."""

    def test_fraction_after_each_prediction(self, model, inputs):
        """Six predictions, six calls, the last says 1."""
        seen = []
        Ensemble(model, mirrorings=2, device="cpu").predict(inputs, lambda stage, done: seen.append((stage, done)))
        assert [done for _, done in seen] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1])
        assert {stage for stage, _ in seen} == {"predicting"}

    def test_cancelled_between_predictions(self, model, inputs):
        """What the callback raises comes out, and the ensemble can be used again."""
        calls = []

        def stop(stage, done):
            calls.append(done)
            if len(calls) == 2:
                raise Cancelled("stopped")

        ensemble = Ensemble(model, mirrorings=4, device="cpu")
        with pytest.raises(Cancelled):
            ensemble.predict(inputs, stop)
        assert len(calls) == 2
        assert ensemble.predict(inputs).predictions == FOLDS * 4


class Crowded:
    """Torch on the CPU under a name, as if it held so many volumes at once, after failing so many times."""

    def __init__(self, model, name, *, holds=8, failures=0, tried=None):
        self._engine = TorchEngine(model, len(model.folds), device="cpu", precision="float32")
        self.device = name
        self._holds = holds
        self._failures = failures
        self._tried = [] if tried is None else tried

    def predict(self, fold, batch_nczyx):
        self._tried.append((self.device, len(batch_nczyx)))
        if self._failures or len(batch_nczyx) > self._holds:
            self._failures -= bool(self._failures)
            raise MemoryError("no room")
        return self._engine.predict(fold, batch_nczyx)

    def room(self):
        return self._holds


class TestOutOfMemory:
    """A full device is a reason to go on elsewhere, not to lose the study."""

    def crowded(self, model, tried=None, holds=None, failures=None, **options):
        """An ensemble on devices that hold and fail so much, by their names; what they were asked goes into `tried`."""

        def make(name):
            return Crowded(
                model, name, holds=(holds or {}).get(name, 8), failures=(failures or {}).get(name, 0), tried=tried
            )

        return Ensemble(model, make_engine=make, **options)

    def test_a_batch_is_its_members_one_by_one(self, model, inputs):
        """Up to the rounding of another order of sums."""
        single = Ensemble(model, mirrorings=8, device="cpu", precision="float32").predict(inputs)
        batched = Ensemble(model, mirrorings=8, device="cpu", precision="float32", batch=3).predict(inputs)
        np.testing.assert_allclose(batched.mean_zyx, single.mean_zyx, atol=1e-5)
        np.testing.assert_allclose(batched.spread_zyx, single.spread_zyx, atol=1e-5)
        assert batched.predictions == single.predictions

    def test_smaller_batches_first_then_the_next_device_then_the_end(self, model, inputs):
        """Eight at once, four, two, one; then elsewhere; then a clear failure."""
        tried = []
        ensemble = self.crowded(model, tried, {"gpu": 0}, folds=1, device="gpu", fallback=("host",), batch=8)
        assert ensemble.predict(inputs).predictions == 8
        assert tried[:5] == [("gpu", 8), ("gpu", 4), ("gpu", 2), ("gpu", 1), ("host", 8)]
        with pytest.raises(OutOfMemory, match="no memory for one prediction"):
            self.crowded(model, None, {"gpu": 0}, folds=1, device="gpu", fallback=(), batch=8).predict(inputs)

    def test_the_first_prediction_tells_how_many_fit(self, model, inputs):
        """One, and then as many as the engine has room for, whatever is left of a fold's eight."""
        tried = []
        self.crowded(model, tried, {"gpu": 3}, folds=2, device="gpu").predict(inputs)
        assert [count for _, count in tried] == [1, 3, 3, 1, 3, 3, 2]

    def test_goes_on_with_the_next_device(self, model, inputs):
        """All predictions are made, and the result says where."""
        expected = Ensemble(model, mirrorings=2, device="cpu", precision="float32").predict(inputs)
        ensemble = self.crowded(model, None, None, {"gpu": 1}, mirrorings=2, device="gpu", fallback=("gpu", "host"))
        found = ensemble.predict(inputs)
        assert found.predictions == 2 * FOLDS
        assert found.device == "host"
        np.testing.assert_allclose(found.mean_zyx, expected.mean_zyx, atol=1e-6)

    def test_the_first_device_is_tried_again_for_the_next_study(self, model, inputs):
        """What filled it may be gone."""
        tried = []
        ensemble = self.crowded(model, tried, None, {"gpu": 1}, folds=1, mirrorings=1, device="gpu", fallback=("host",))
        assert [ensemble.predict(inputs).device for _ in range(2)] == ["host", "gpu"]

    def test_no_device_left(self, model, inputs):
        """OutOfMemory, with advice."""
        with pytest.raises(OutOfMemory) as caught:
            self.crowded(model, None, {"gpu": 0}, device="gpu", fallback=()).predict(inputs)
        assert caught.value.problem.advice


class TestMirrorings:
    def test_are_all_there_are(self):
        """Every subset of the three axes, once."""
        every = {frozenset(chosen) for count in range(4) for chosen in combinations((2, 3, 4), count)}
        assert {frozenset(mirroring) for mirroring in MIRRORINGS} == every
        assert len(MIRRORINGS) == len(every)
