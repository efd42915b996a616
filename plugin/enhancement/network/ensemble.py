"""Mean and spread of the predictions of several networks on several mirrorings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from enhancement.errors import OutOfMemory, WeightsMismatch
from enhancement.network.residual_unet import ResidualUNet
from enhancement.network.weights import Model

Progress = Callable[[str, float], None]
Precision = Literal["bfloat16", "float32"]

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
        Devices to go on with, in this order, when memory runs out. The predictions made so far are kept.
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
        devices = list(dict.fromkeys(self._devices))
        for network, axes in self._members():
            output = self._predict_one(network, padded, axes, devices)
            running.add(output)
            if progress is not None:
                progress("predicting", running.count / self.predictions)
        mean, spread = running.result()
        return Prediction(mean[window].copy(), spread[window].copy(), running.count, str(devices[0]))

    def _members(self) -> Iterator[tuple[ResidualUNet, tuple[int, ...]]]:
        for network in self._networks:
            for axes in self.mirrorings:
                yield network, axes

    def _predict_one(
        self, network: ResidualUNet, inputs: NDArray[np.float32], axes: tuple[int, ...], devices: list[torch.device]
    ) -> Tensor:
        while True:
            try:
                self._place(devices[0])
                return _forward(network, inputs, axes, devices[0], self._data_type(devices[0]))
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                if devices[0].type == "cuda":
                    torch.cuda.empty_cache()
                if len(devices) == 1:
                    raise OutOfMemory(f"no memory for one prediction of {inputs.shape[1:]} on {devices[0]}") from None
                _logger.warning("no memory on %s, going on with %s", devices[0], devices[1])
                del devices[0]

    def _place(self, device: torch.device) -> None:
        if self._placed_on != device:
            for network in self._networks:
                network.to(device)
            self._placed_on = device

    def _data_type(self, device: torch.device) -> torch.dtype:
        fits = self.precision == "bfloat16" and has_bfloat16(device)
        return torch.bfloat16 if fits else torch.float32


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
    axes: tuple[int, ...],
    device: torch.device,
    data_type: torch.dtype,
) -> Tensor:
    with torch.inference_mode():
        x = torch.from_numpy(inputs)[None].to(device)
        x = torch.flip(x, axes).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=data_type is torch.bfloat16):
            y = network(x)
        if network.head == "logit":
            y = torch.sigmoid(y)
        return torch.flip(y, axes)[0, 0]


def _pad(inputs: NDArray[np.float32], multiple: int) -> tuple[NDArray[np.float32], tuple[slice, ...]]:
    widths = [(0, 0)] + [(0, -size % multiple) for size in inputs.shape[1:]]
    window = tuple(slice(0, size) for size in inputs.shape[1:])
    return np.ascontiguousarray(np.pad(inputs, widths), dtype=np.float32), window


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)  # the CPU allocator and oneDNN raise a plain RuntimeError
    return "not enough memory" in text or "can't allocate memory" in text or "could not create a memory" in text
