"""The residual 3D U-Net of Bône et al. (ISBI 2021), with two heads.

Five levels of residual blocks, stride-2 convolutions down, transposed convolutions up, concatenated skips,
LeakyReLU 0.2 and no normalisation layer. Where the paper's figure is not readable the choices are: two
convolutions a block, channels doubled by the step down, a 1x1x1 projection where a block changes channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from enhancement.network.architectures.base import Architecture
from enhancement.network.manifest import NetworkShape

Head = Literal["sigmoid", "residual", "gain", "logit"]
SLOPE = 0.2
#: The "gain" head adds at most this many times the measured difference of T1c and T1.
LARGEST_GAIN = 4.0
#: Inputs in [0, 1] times the one less the other are about z-scores again.
_UNIT, _OFFSET = 12.0, 3.0
#: Slope of the sigmoid at outputs of 0.02 and 0.98.
_LEAST_SLOPE = 0.02


class ResidualBlock(nn.Module):
    """`convolutions` 3x3x3 convolutions with a short skip around them."""

    def __init__(self, in_channels: int, channels: int, convolutions: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv3d(in_channels if i == 0 else channels, channels, 3, padding=1) for i in range(convolutions)
        )
        self.projection = nn.Conv3d(in_channels, channels, 1) if in_channels != channels else nn.Identity()
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor) -> Tensor:  # (n, in, z, y, x) -> (n, channels, z, y, x)
        y = x
        last = len(self.convolutions) - 1
        for index, convolution in enumerate(self.convolutions):
            y = convolution(y)
            if index < last:
                y = self.activation(y)
        skip: Tensor = self.projection(x)
        return nn.functional.leaky_relu(y + skip, SLOPE)


class _LivingSigmoid(torch.autograd.Function):
    """The sigmoid, with a slope that training never sees below `_LEAST_SLOPE`.

    Where the output is zero for good, the true slope is zero too, and no error brings the network back. That happens to
    the paper's recipe in mid-training, not only at its start: at a constant 1e-3 two of three networks died within
    500 steps, and one at 950 steps with its gradients clipped to their usual size.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        output = torch.sigmoid(logits)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        output: Tensor = ctx.saved_tensors[0]
        return gradient * (output * (1 - output)).clamp_min(_LEAST_SLOPE)


def _living_sigmoid(logits: Tensor) -> Tensor:
    output: Tensor = _LivingSigmoid.apply(logits)  # type: ignore[no-untyped-call]
    return output


class ResidualUNet(nn.Module):
    """A 3D U-Net of residual blocks.

    Parameters
    ----------
    in_channels : int
        Number of input volumes.
    channels : int
        Channels at full resolution (8, 16 or 32); doubled at each level down.
    levels : int
        Resolutions, the full one included. Every axis must be a multiple of 2 ** (levels - 1).
    convolutions : int
        3x3x3 convolutions in a block.
    head : {"sigmoid", "residual", "gain", "logit"}
        "sigmoid": the paper's, in (0, 1). "residual": the last input channel plus the network's output, unbounded,
        so that an untrained network returns the T1c. "gain": the same, plus a gain in [0, LARGEST_GAIN] times what the
        last channel (T1C) exceeds the first (T1), so that amplifying means choosing where, and sharpness is the
        input's. "logit": the bare last layer.

    Notes
    -----
    G. Bône et al., "From dose reduction to contrast maximization", ISBI 2021 and Invest Radiol 2022.
    """

    def __init__(
        self,
        in_channels: int = 4,
        channels: int = 16,
        *,
        levels: int = 5,
        convolutions: int = 2,
        head: Head = "sigmoid",
    ) -> None:
        super().__init__()
        self.head = head
        self.levels = levels
        seen = in_channels + 1 if head == "gain" else in_channels  # and the difference of T1C and T1
        widths = [channels * 2**level for level in range(levels)]
        self.encoders = nn.ModuleList(
            ResidualBlock(seen if level == 0 else width, width, convolutions) for level, width in enumerate(widths)
        )
        self.downs = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.ups = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoders = nn.ModuleList(ResidualBlock(2 * a, a, convolutions) for a in widths[:-1])
        self.last = nn.Conv3d(channels, 2 if head == "gain" else 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map volumes to one volume.

        Parameters
        ----------
        x : (n, in_channels, z, y, x), float32 in [0, 1]

        Returns
        -------
        (n, 1, z, y, x), float32
            The head runs in float32: an 8-bit mantissa would quantise the T1c that "residual" passes through.
        """
        y = self._standardised(x)
        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            y = encoder(y if level == 0 else self.downs[level - 1](y))
            skips.append(y)
        for level in reversed(range(self.levels - 1)):
            y = self.decoders[level](torch.cat((self.ups[level](y), skips[level]), dim=1))
        output: Tensor = self.last(y).float()
        if self.head == "sigmoid":
            return _living_sigmoid(output)
        if self.head == "residual":
            return x[:, -1:].float() + output / _UNIT
        if self.head == "gain":
            t1c = x[:, -1:].float()
            excess = torch.relu(t1c - x[:, :1].float())
            gain = LARGEST_GAIN * torch.sigmoid(output[:, :1])
            return t1c + gain * excess + output[:, 1:] / _UNIT
        return output

    def _standardised(self, x: Tensor) -> Tensor:
        """Undo, roughly, the mapping of z-scores to [0, 1].

        There noise is a hundredth and the offset is 0.2: the gradient of the offset drowns that of everything
        fine, and 1,500 steps taught no network to remove noise. A head for the brain extractor has no such offset.
        """
        if self.head == "logit":
            return x
        z = x * _UNIT - _OFFSET
        if self.head == "gain":
            z = torch.cat((z, (x[:, -1:] - x[:, :1]) * _UNIT), dim=1)
        return z.contiguous(memory_format=torch.channels_last_3d)


def initialise_body(network: nn.Module, downs: Iterable[nn.Module], ups: Iterable[nn.Module]) -> None:
    """Draw the weights of residual blocks and of the ways down and up, from torch's global random state."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ResidualBlock):
                module.convolutions[-1].weight.mul_(0.3)  # type: ignore[operator]
        for down in downs:
            nn.init.normal_(down.weight, std=(8 * down.in_channels) ** -0.5)  # type: ignore[operator,arg-type]
        for up in ups:  # each voxel is fed once: the fan-in is the channels, not 8 times as many
            nn.init.normal_(up.weight, std=up.in_channels**-0.5)  # type: ignore[operator,arg-type]


def initialise(network: ResidualUNet, *, mean_target: float = 0.5) -> None:
    """Start a network so that it cannot die.

    He initialisation for LeakyReLU, the second half of each block scaled down so that blocks start near
    the identity. The steps down and up have no activation behind them, so they start with gain 1: with He's gain of
    sqrt(2) each, what comes through the bottleneck starts 13 times as large as the skips, and fine detail is
    learned late. The last layer has moderate weights, and a sigmoid's bias starts at the logit of the target's mean:
    one that starts far from it saturates at zero in many seeds and never comes back.

    Parameters
    ----------
    network : ResidualUNet
        Changed in place, from torch's global random state.
    mean_target : float
        Mean of the target in (0, 1); used by the sigmoid and logit heads.
    """
    initialise_body(network, network.downs, network.ups)
    # Not smaller: behind a last layer of 1e-3 the body gets no gradient to speak of, and 1,500 steps taught it nothing.
    nn.init.normal_(network.last.weight, std=0.1)
    bias = 0.0 if network.head == "residual" else math.log(mean_target / (1 - mean_target))
    nn.init.constant_(network.last.bias, bias)  # type: ignore[arg-type]
    if network.head == "gain":
        with torch.no_grad():
            network.last.bias.copy_(torch.tensor([-2.0, 0.0]))  # type: ignore[union-attr]


def _build(shape: NetworkShape) -> ResidualUNet:
    if shape.options:
        raise ValueError(f"a residual U-Net has no options, found {', '.join(sorted(shape.options))}")
    if shape.head == "answers":
        raise ValueError("a residual U-Net gives one answer, found the head answers")
    return ResidualUNet(
        shape.in_channels, shape.channels, levels=shape.levels, convolutions=shape.convolutions, head=shape.head
    )


def _multiple(shape: NetworkShape) -> int:
    return int(2 ** (shape.levels - 1))


RESIDUAL_UNET = Architecture(build=_build, multiple=_multiple)
