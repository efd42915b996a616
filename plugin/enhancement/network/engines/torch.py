"""Torch as the engine: on a CPU or a GPU, in bfloat16 where the hardware has it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from enhancement.network.weights import Model

Precision = Literal["bfloat16", "float32"]

#: Of a GPU's free memory; the allocator's pieces never fit exactly.
_USABLE = 0.75


class TorchEngine:
    """The networks of one model, moved to their device by the first prediction.

    Parameters
    ----------
    model : Model
        A verified model folder.
    folds : int
        How many of its networks.
    device : str
        "auto" (a GPU where there is one), "cpu", "cuda", "cuda:1", ...
    precision : {"bfloat16", "float32"}
        bfloat16 where the processor has it in hardware, else float32.
    """

    def __init__(self, model: Model, folds: int, *, device: str = "auto", precision: Precision = "bfloat16") -> None:
        self._place = choose_device(device)
        self._networks = [
            model.build(fold).to(memory_format=torch.channels_last_3d).requires_grad_(False)  # type: ignore[call-overload]
            for fold in range(folds)
        ]
        self._shape = model.manifest.network
        self._half = precision == "bfloat16" and has_bfloat16(self._place)
        self._placed = False
        self._taken = 0

    @property
    def device(self) -> str:
        return str(self._place)

    def predict(self, fold: int, batch_nczyx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one network on a batch; see `Engine`."""
        try:
            self._check_room(batch_nczyx.shape[2:])
            self._move()
            before = self._begin_measuring()
            found = self._forward(fold, batch_nczyx)
            self._end_measuring(before, len(batch_nczyx))
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if self._place.type == "cuda":
                torch.cuda.empty_cache()
            raise MemoryError(str(error)) from None
        return found

    def room(self) -> int:
        """One on a CPU; on a GPU as many as its free memory holds."""
        free = free_bytes(self._place)
        return 1 if free is None else max(int(_USABLE * free) // max(self._taken, 1), 1)

    def _forward(self, fold: int, batch_nczyx: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            x = torch.from_numpy(batch_nczyx).to(self._place)
            x = x.contiguous(memory_format=torch.channels_last_3d)
            with torch.autocast(self._place.type, dtype=torch.bfloat16, enabled=self._half):
                y = self._networks[fold](x)
            if self._shape.head in ("logit", "answers"):
                y[:, :1] = torch.sigmoid(y[:, :1])
            answers = y if self._shape.head == "answers" else y[:, 0]
            return np.asarray(answers.float().cpu().numpy())

    def _move(self) -> None:
        if not self._placed:
            for network in self._networks:
                network.to(self._place)
            self._placed = True

    def _check_room(self, shape_zyx: tuple[int, ...]) -> None:
        """Do not begin where one prediction cannot end: two of the widest layer's activations exist at once."""
        free = free_bytes(self._place)
        needed = 2 * self._shape.channels * int(np.prod(shape_zyx)) * torch.bfloat16.itemsize
        if free is not None and free < needed:
            raise MemoryError(f"{needed >> 20} MB are needed at least, {free >> 20} MB are free")

    def _begin_measuring(self) -> int:
        if self._place.type != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats(self._place)
        return int(torch.cuda.memory_allocated(self._place))

    def _end_measuring(self, before: int, volumes: int) -> None:
        if self._place.type == "cuda":
            self._taken = (torch.cuda.max_memory_allocated(self._place) - before) // volumes


def free_bytes(device: torch.device) -> int | None:
    """What a GPU can still give this process; None where that cannot be asked (the service looks after the host)."""
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached


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


def set_threads(threads: int) -> None:
    """Set the CPU threads of this process' torch; 0 leaves them as they are."""
    if threads:
        torch.set_num_threads(threads)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is what torch says; the CPU allocator and oneDNN raise a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return "not enough memory" in text or "can't allocate memory" in text or "could not create a memory" in text
