"""Mean and spread of the predictions of several networks on several mirrorings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enhancement.errors import OutOfMemory, WeightsMismatch
from enhancement.network.architectures.residual_unet import ResidualUNet
from enhancement.network.weights import Model

Progress = Callable[[str, float], None]
Precision = Literal["bfloat16", "float32"]
Axes = tuple[int, ...]

_logger = logging.getLogger(__name__)
_AXES = (2, 3, 4)  # z, y, x of a (n, c, z, y, x) tensor
#: All subsets of the axes. The first n are the n mirrorings; left-right first, the brain's own symmetry.
MIRRORINGS: tuple[tuple[int, ...], ...] = tuple(
    subset for subset in ((), (4,), (3,), (3, 4), (2,), (2, 4), (2, 3), (2, 3, 4))
)
assert {frozenset(m) for m in MIRRORINGS} == {frozenset(c) for n in range(4) for c in combinations(_AXES, n)}


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
    """

    mean_zyx: NDArray[np.float32]
    spread_zyx: NDArray[np.float32]
    predictions: int
    device: str


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
        How many mirror images go through a network at once, halved whenever memory runs out; 0: one on a CPU, and on
        a GPU as many as its free memory holds.
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
    ) -> None:
        if mirrorings not in (1, 2, 4, 8):
            raise ValueError(f"mirrorings must be 1, 2, 4 or 8, found {mirrorings}")
        if folds < 1:
            raise ValueError(f"folds must be at least 1, found {folds}")
        self.model = model
        self.mirrorings = MIRRORINGS[:mirrorings]
        self.precision = precision
        self._devices = [choose_device(device), *(torch.device(name) for name in fallback)]
        self._networks = [_prepare(model.build(fold)) for fold in range(min(folds, len(model.folds)))]
        self._placed_on: torch.device | None = None
        self._batch = batch
        if threads:
            torch.set_num_threads(threads)

    @property
    def predictions(self) -> int:
        """Number of predictions that are averaged."""
        return len(self._networks) * len(self.mirrorings)

    def predict(self, inputs_czyx: NDArray[np.float32], progress: Progress | None = None) -> Prediction:
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
        multiple = 2 ** (self.model.manifest.network.levels - 1)
        padded, window = _pad(inputs_czyx, multiple)
        running = _RunningMoments(padded.shape[1:])
        places = [_Place(device, self._batch) for device in dict.fromkeys(self._devices)]
        for network in self._networks:
            waiting = list(self.mirrorings)
            while waiting:
                outputs = self._predict_some(network, padded, waiting, places)
                del waiting[: len(outputs)]
                for output in outputs:
                    running.add(output)
                    if progress is not None:
                        progress("predicting", running.count / self.predictions)
        mean, spread = running.result()
        return Prediction(mean[window].copy(), spread[window].copy(), running.count, str(places[0].device))

    def _predict_some(
        self, network: ResidualUNet, inputs: NDArray[np.float32], waiting: Sequence[Axes], places: list[_Place]
    ) -> Tensor:
        """The first few of the mirrorings, as many as there is memory for: smaller batches, then the next device."""
        while True:
            place = places[0]
            axes = waiting[: place.batch or 1]
            try:
                _check_room(network, inputs, place.device)
                self._place(place.device)
                with place.measuring(len(axes)):
                    return _forward(network, inputs, axes, place.device, self._data_type(place.device))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                place.give_back()
                if len(axes) > 1:
                    place.batch = len(axes) // 2
                    _logger.warning("no memory on %s for %d at once, trying %d", place.device, len(axes), place.batch)
                    continue
                if len(places) == 1:
                    what = f"no memory for one prediction of {inputs.shape[1:]} on {place.device}"
                    raise OutOfMemory(what) from None
                _logger.warning("no memory on %s, going on with %s", place.device, places[1].device)
                del places[0]

    def _place(self, device: torch.device) -> None:
        if self._placed_on != device:
            for network in self._networks:
                network.to(device)
            self._placed_on = device

    def _data_type(self, device: torch.device) -> torch.dtype:
        fits = self.precision == "bfloat16" and has_bfloat16(device)
        return torch.bfloat16 if fits else torch.float32


class _Place:
    """A device, and how many predictions it is given at once; 0 until the first one there was measured."""

    def __init__(self, device: torch.device, batch: int) -> None:
        self.device = device
        self.batch = batch or (0 if device.type == "cuda" else 1)

    @contextmanager
    def measuring(self, predictions: int) -> Iterator[None]:
        """Learn from the first prediction on a GPU what one takes, and so how many fit."""
        before = 0
        if not self.batch:
            before = torch.cuda.memory_allocated(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        yield
        if not self.batch:
            taken = (torch.cuda.max_memory_allocated(self.device) - before) // predictions
            # A quarter stays free: the allocator's pieces never fit exactly.
            fitting = int(0.75 * (free_bytes(self.device) or 0)) // max(taken, 1)
            self.batch = min(max(fitting, 1), len(MIRRORINGS))

    def give_back(self) -> None:
        """What the failed try left in the allocator's cache."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def free_bytes(device: torch.device) -> int | None:
    """What a GPU can still give this process; None where that cannot be asked (the service looks after the host)."""
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached


def _check_room(network: ResidualUNet, inputs: NDArray[np.float32], device: torch.device) -> None:
    """Do not begin where one prediction cannot end: two of the widest layer's activations exist at once."""
    free = free_bytes(device)
    needed = 2 * network.last.in_channels * int(np.prod(inputs.shape[1:])) * torch.bfloat16.itemsize
    if free is not None and free < needed:
        raise torch.OutOfMemoryError(f"{needed >> 20} MB are needed at least, {free >> 20} MB are free")


class _RunningMoments:
    """Welford's mean and variance, so that no more than two volumes are held."""

    def __init__(self, shape_zyx: tuple[int, ...]) -> None:
        self.count = 0
        self._mean = torch.zeros(shape_zyx)
        self._squares = torch.zeros(shape_zyx)

    def add(self, volume: Tensor) -> None:
        volume = volume.to(self._mean.device)
        self.count += 1
        delta = volume - self._mean
        self._mean += delta / self.count
        self._squares += delta * (volume - self._mean)

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        spread = (self._squares / max(self.count - 1, 1)).clamp_min_(0).sqrt_()
        return self._mean.numpy(), spread.numpy()


def choose_device(name: str) -> torch.device:
    """Turn a setting into a device; "auto" is the first GPU, else the CPU."""
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 runs in hardware there; emulated it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _prepare(network: ResidualUNet) -> ResidualUNet:
    return network.to(memory_format=torch.channels_last_3d).requires_grad_(False)  # type: ignore[call-overload,no-any-return]


def _forward(
    network: ResidualUNet,
    inputs: NDArray[np.float32],
    mirrorings: Sequence[Axes],
    device: torch.device,
    data_type: torch.dtype,
) -> Tensor:
    """(n, z, y, x): one prediction for each of the n mirrorings, turned back."""
    with torch.inference_mode():
        x = torch.from_numpy(inputs)[None].to(device)
        x = torch.cat([torch.flip(x, axes) for axes in mirrorings])
        x = x.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=data_type is torch.bfloat16):
            y = network(x)
        if network.head == "logit":
            y = torch.sigmoid(y)
        return torch.stack([torch.flip(y[i : i + 1], axes)[0, 0] for i, axes in enumerate(mirrorings)])


def _pad(inputs: NDArray[np.float32], multiple: int) -> tuple[NDArray[np.float32], tuple[slice, ...]]:
    widths = [(0, 0)] + [(0, -size % multiple) for size in inputs.shape[1:]]
    window = tuple(slice(0, size) for size in inputs.shape[1:])
    return np.ascontiguousarray(np.pad(inputs, widths), dtype=np.float32), window


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)  # the CPU allocator and oneDNN raise a plain RuntimeError
    return "not enough memory" in text or "can't allocate memory" in text or "could not create a memory" in text
