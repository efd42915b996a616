"""Mean and spread of the predictions of several networks on several mirrorings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from enhancement.arrays import Volume
from enhancement.errors import OutOfMemory, WeightsMismatch
from enhancement.network.engines.base import Engine
from enhancement.network.engines.torch import Precision, TorchEngine, set_threads
from enhancement.network.weights import Model
from enhancement.progress import Progress

Axes = tuple[int, ...]
#: A device's name to what computes there.
MakeEngine = Callable[[str], Engine]

_logger = logging.getLogger(__name__)
#: All subsets of the axes z, y, x of a (n, c, z, y, x) array. The first n are the n mirrorings; left-right first, the
#: brain's own symmetry.
MIRRORINGS: tuple[Axes, ...] = ((), (4,), (3,), (3, 4), (2,), (2, 4), (2, 3), (2, 3, 4))


@dataclass(frozen=True)
class Prediction:
    """Voxel-wise mean and standard deviation over the predictions, in the network's unit scale.

    For a "logit" head that scale is the probability.

    Attributes
    ----------
    mean_zyx : (z, y, x), float32
    spread_zyx : (z, y, x), float32
        Sample standard deviation; zero where there was one prediction only.
    predictions : int
        How many were averaged.
    device : str
        Where the last of them ran.
    answers_czyx : (3, z, y, x), float32, optional
        Of networks with several answers: mean probability, noise and enhancement; `mean_zyx` is then the probability,
        and `spread_zyx` that of probability times enhancement.
    """

    mean_zyx: Volume
    spread_zyx: Volume
    predictions: int
    device: str
    answers_czyx: Volume | None = None


class Ensemble:
    """Networks that are ready to predict.

    Parameters
    ----------
    model : Model
        A verified model folder.
    device : str
        "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...
    folds : int
        How many of the model's networks to use, from the first on; more than there are means all.
    mirrorings : {1, 2, 4, 8}
        How many mirror images each network sees.
    precision : {"bfloat16", "float32"}
        bfloat16 where the processor has it in hardware, else float32.
    threads : int
        CPU threads of this process' torch; 0 leaves them as they are.
    fallback : sequence of str
        Devices to go on with, in this order, when memory runs out for a single prediction too. The predictions made
        so far are kept.
    batch : int
        How many mirror images go through a network at once, halved whenever memory runs out; 0: as many as the
        engine has room for.
    make_engine : callable, optional
        What computes on a device; torch by default.
    """

    def __init__(
        self,
        model: Model,
        *,
        device: str = "auto",
        folds: int = 5,
        mirrorings: int = 8,
        precision: Precision = "bfloat16",
        threads: int = 0,
        fallback: Sequence[str] = ("cpu",),
        batch: int = 0,
        make_engine: MakeEngine | None = None,
    ) -> None:
        if mirrorings not in (1, 2, 4, 8):
            raise ValueError(f"mirrorings must be 1, 2, 4 or 8, found {mirrorings}")
        if folds < 1:
            raise ValueError(f"folds must be at least 1, found {folds}")
        self.model = model
        self.mirrorings = tuple(axes for axes in MIRRORINGS if model.mirrored.issuperset(axes))[:mirrorings]
        self._folds = min(folds, len(model.folds))
        self._make_engine = make_engine or (
            lambda name: TorchEngine(model, self._folds, device=name, precision=precision)
        )
        self._devices = (device, *fallback)
        self._engines = [self._make_engine(device)]
        self._batch = batch
        set_threads(threads)

    @property
    def predictions(self) -> int:
        """Number of predictions that are averaged."""
        return self._folds * len(self.mirrorings)

    def predict(self, inputs_czyx: Volume, progress: Progress | None = None) -> Prediction:
        """Average the predictions of every network on every mirroring.

        Parameters
        ----------
        inputs_czyx : (c, z, y, x), float32 in [0, 1]
            In the order of the manifest; a missing input is all zeros. Any size: it is padded as the network needs.
        progress : callable, optional
            Called with ("predicting", fraction done) after each prediction; what it raises stops the work there.

        Raises
        ------
        WeightsMismatch
            If the number of inputs is not the model's.
        OutOfMemory
            If no device has room for one prediction.
        """
        expected = self.model.manifest.network.in_channels
        if inputs_czyx.ndim != 4 or inputs_czyx.shape[0] != expected:
            raise WeightsMismatch(f"the model needs {expected} input volumes, found an array of {inputs_czyx.shape}")
        padded, window = _pad(inputs_czyx, self.model.multiple)
        several = self.model.manifest.network.head == "answers"
        running = _RunningMoments((3, *padded.shape[1:]) if several else padded.shape[1:])
        shown = _RunningMoments(padded.shape[1:])
        places = _Places(self._each_engine(), self._batch)
        for fold in range(self._folds):
            waiting = list(self.mirrorings)
            while waiting:
                outputs = _predict_some(fold, padded, waiting, places)
                del waiting[: len(outputs)]
                for output in outputs:
                    running.add(output)
                    if several:
                        shown.add(output[0] * output[2])
                    if progress is not None:
                        progress("predicting", running.count / self.predictions)
        mean, spread = running.result()
        device = places.engine.device
        if several:
            answers, (_, spread) = mean[(slice(None), *window)].copy(), shown.result()
            return Prediction(answers[0], spread[window].copy(), running.count, device, answers)
        return Prediction(mean[window].copy(), spread[window].copy(), running.count, device)

    def _each_engine(self) -> Iterator[Engine]:
        """The engine of each device in turn, made when it is first needed; no device twice."""
        told: set[str] = set()
        for index, name in enumerate(self._devices):
            if index == len(self._engines):
                self._engines.append(self._make_engine(name))
            engine = self._engines[index]
            if engine.device not in told:
                told.add(engine.device)
                yield engine


class _Places:
    """The engine in use, those to go on with, and how many predictions it is given at once; 0 until it has told."""

    def __init__(self, engines: Iterator[Engine], batch: int) -> None:
        self._engines = engines
        self._asked = batch
        self.engine, self.batch = next(engines), batch

    def learn(self) -> None:
        """From the first prediction there: how many fit."""
        if not self.batch:
            self.batch = min(max(self.engine.room(), 1), len(MIRRORINGS))

    def go_on(self) -> bool:
        """Turn to the next device; False if there is none."""
        following = next(self._engines, None)
        if following is None:
            return False
        self.engine, self.batch = following, self._asked
        return True


def _predict_some(fold: int, inputs: Volume, waiting: Sequence[Axes], places: _Places) -> list[Volume]:
    """The first few of the mirrorings, as many as there is memory for: smaller batches, then the next device."""
    while True:
        axes = waiting[: places.batch or 1]
        device = places.engine.device
        try:
            outputs = places.engine.predict(fold, np.stack([_mirrored(inputs, some, first_axis=1) for some in axes]))
        except MemoryError:
            if len(axes) > 1:
                places.batch = len(axes) // 2
                _logger.warning("no memory on %s for %d at once, trying %d", device, len(axes), places.batch)
            elif places.go_on():
                _logger.warning("no memory on %s, going on with %s", device, places.engine.device)
            else:
                raise OutOfMemory(f"no memory for one prediction of {inputs.shape[1:]} on {device}") from None
            continue
        places.learn()
        first_axis = outputs.ndim - 4
        return [_mirrored(output, some, first_axis=first_axis) for output, some in zip(outputs, axes, strict=True)]


def _mirrored(volume: Volume, axes: Axes, *, first_axis: int) -> Volume:
    """The volume, whose axis z is `first_axis`, turned about axes that are counted as in `MIRRORINGS`."""
    return np.flip(volume, tuple(axis - 2 + first_axis for axis in axes))


class _RunningMoments:
    """Welford's mean and variance, so that no more than two volumes are held."""

    def __init__(self, shape_zyx: tuple[int, ...]) -> None:
        self.count = 0
        self._mean = np.zeros(shape_zyx, dtype=np.float32)
        self._squares = np.zeros(shape_zyx, dtype=np.float32)

    def add(self, volume: Volume) -> None:
        self.count += 1
        delta = volume - self._mean
        self._mean += delta / np.float32(self.count)
        self._squares += delta * (volume - self._mean)

    def result(self) -> tuple[Volume, Volume]:
        spread = np.sqrt(np.maximum(self._squares / np.float32(max(self.count - 1, 1)), 0))
        return self._mean, spread


def _pad(inputs: Volume, multiple: int) -> tuple[Volume, tuple[slice, ...]]:
    widths = [(0, 0)] + [(0, -size % multiple) for size in inputs.shape[1:]]
    window = tuple(slice(0, size) for size in inputs.shape[1:])
    return np.ascontiguousarray(np.pad(inputs, widths), dtype=np.float32), window
