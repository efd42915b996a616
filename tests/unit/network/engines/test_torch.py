"""Torch as the engine: what counts as a full device, and that one is not even tried."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from enhancement.network.architectures.residual_unet import ResidualUNet
from enhancement.network.engines import torch as module
from enhancement.network.engines.torch import TorchEngine, is_out_of_memory
from enhancement.network.manifest import Fold, InputChannel, Manifest, NetworkShape, OutputScale
from enhancement.network.weights import Model

BATCH = np.zeros((2, 1, 4, 4, 4), dtype=np.float32)


@pytest.fixture
def engine() -> TorchEngine:
    """One small network with a "logit" head."""
    network = ResidualUNet(1, 2, levels=1, convolutions=1, head="logit")
    shape = NetworkShape(in_channels=1, channels=2, levels=1, convolutions=1, head="logit")
    channels = (InputChannel(role="HEAD", z_min=0, z_max=1),)
    manifest = Manifest(
        name="test",
        version="1",
        recipe="test",
        network=shape,
        inputs=channels,
        output=OutputScale(),
        folds=(Fold(file="x.safetensors", sha256="0" * 64),),
    )
    return TorchEngine(Model(manifest, (network.state_dict(),)), 1, device="cpu")


def test_a_logit_head_gives_probabilities(engine: TorchEngine) -> None:
    """One volume for each of the batch, in (0, 1)."""
    found = engine.predict(0, BATCH)
    assert found.shape == (2, 4, 4, 4)
    assert found.dtype == np.float32
    assert 0 < found.min() <= found.max() < 1


def test_a_cpu_is_given_one_volume_at_once(engine: TorchEngine) -> None:
    """More at once are no faster there, and take more memory."""
    assert engine.room() == 1


def test_a_device_without_room_is_not_tried(engine: TorchEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free is asked before the volume is sent there."""
    monkeypatch.setattr(module, "free_bytes", lambda device: 100)
    with pytest.raises(MemoryError, match="are needed at least"):
        engine.predict(0, BATCH)


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("could not create a memory object"), True),
        (RuntimeError("expected scalar type Float"), False),
    ],
)
def test_what_counts_as_a_full_device(error: Exception, full: bool) -> None:
    """The CPU's allocator and oneDNN raise a plain RuntimeError."""
    assert is_out_of_memory(error) is full
