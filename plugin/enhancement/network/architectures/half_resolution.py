"""A U-Net that sees far at half resolution and answers at full resolution, with a head for each question.

A strided convolution halves the resolution at once. The body works there, with four times the channels that the same
time would buy at full resolution. A thin last stage brings its answer to full resolution beside the inputs themselves,
so that a lesion of 2 mm is not lost on the way. The coordinates of the atlas are inputs: a sinus, a plexus and the falx
are known by their place.

One trunk answers three questions (where disease is, what noise is, how much the agent added), because the trunk is
nine tenths of the time and all three need to know the anatomy.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from enhancement.network.architectures.base import Architecture
from enhancement.network.architectures.residual_unet import ResidualBlock, initialise_body
from enhancement.network.manifest import NetworkShape

#: Outputs, in this order.
OUTPUTS = ("disease", "noise", "enhancement")
#: Inputs in [0, 1] times the one less the other are about z-scores again.
_UNIT, _OFFSET = 12.0, 3.0
#: Coordinates given for each voxel: z, y, and the distance from the midline.
COORDINATES = 3


class HalfResolutionNet(nn.Module):
    """Half-resolution U-Net with a full-resolution last stage and three outputs.

    Parameters
    ----------
    in_channels : int
        Number of measured volumes; the first is the T1, the last the T1c.
    channels : int
        Channels at half resolution; doubled at each level down.
    levels : int
        Resolutions of the body. Every axis must be a multiple of 2 ** levels.
    fine : int
        Channels at full resolution.
    coordinates : bool
        Whether the network is told where each voxel lies.
    """

    def __init__(
        self,
        in_channels: int = 4,
        channels: int = 32,
        *,
        levels: int = 4,
        fine: int = 16,
        coordinates: bool = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.levels, self.knows_place = in_channels, levels, coordinates
        seen = in_channels + 1  # and the difference of T1c and T1
        widths = [channels * 2**level for level in range(levels)]
        self.stem = nn.Conv3d(seen + COORDINATES * coordinates, channels, 2, stride=2)
        self.encoders = nn.ModuleList(ResidualBlock(width, width, 2) for width in widths)
        self.downs = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.ups = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoders = nn.ModuleList(ResidualBlock(2 * a, a, 2) for a in widths[:-1])
        self.finer = nn.ConvTranspose3d(channels, fine - seen, 2, stride=2)  # as many as make `fine` with the inputs
        self.fine = ResidualBlock(fine, fine, 2)
        self.last = nn.Conv3d(fine, len(OUTPUTS), 1)

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """Answer for each voxel.

        Parameters
        ----------
        x : (n, in_channels, z, y, x), in [0, 1]
        places : (n, 3, z, y, x), optional
            `atlas_places` of the same voxels; by default `x` is the whole grid of the atlas.

        Returns
        -------
        (n, 3, z, y, x), float32
            The logit of "this is enhancing disease"; what noise added to the T1c; what the agent added beyond calm
            tissue (0 or more). The latter two are in units of the input's scale.
        """
        measured = torch.cat((x * _UNIT - _OFFSET, (x[:, -1:] - x[:, :1]) * _UNIT), dim=1)
        y = measured
        if self.knows_place:
            if places is None:
                places = atlas_places(x.shape[2:], x.device).expand(len(x), -1, -1, -1, -1)
            y = torch.cat((measured, places.to(measured.dtype)), dim=1)
        output: Tensor = self.last(self._fine(self._body(_last(y)), measured)).float()
        disease, noise, enhancement = output.unbind(1)
        return torch.stack((disease, noise / _UNIT, nn.functional.softplus(enhancement) / _UNIT), dim=1)

    def _body(self, y: Tensor) -> Tensor:
        """(n, seen, z, y, x) -> (n, channels, z / 2, y / 2, x / 2)."""
        skips: list[Tensor] = []
        for level, encoder in enumerate(self.encoders):
            y = encoder(self.stem(y) if level == 0 else self.downs[level - 1](y))
            skips.append(y)
        for level in reversed(range(self.levels - 1)):
            y = self.decoders[level](torch.cat((self.ups[level](y), skips[level]), dim=1))
        return y

    def _fine(self, y: Tensor, measured: Tensor) -> Tensor:
        """(n, channels, z / 2, ...) beside the inputs -> (n, fine, z, y, x)."""
        finer = self.finer(y)
        fine: Tensor = self.fine(torch.cat((finer, _last(measured).to(finer.dtype)), dim=1))
        return fine


def atlas_places(shape_zyx: tuple[int, ...] | torch.Size, device: torch.device | str = "cpu") -> Tensor:
    """Where each voxel of the atlas' grid lies: z and y in [-1, 1], and the distance from the midline in [-1, 1].

    Left and right are not told apart: the brain is all but symmetric, and mirrored images keep their coordinates.

    Returns
    -------
    (1, 3, z, y, x), float32
    """
    z, y, x = (torch.linspace(-1, 1, size, device=device) for size in shape_zyx)
    axes = torch.meshgrid(z, y, 2 * x.abs() - 1, indexing="ij")
    return torch.stack(axes)[None]


def initialise(network: HalfResolutionNet, *, disease: float = 0.002) -> None:
    """Start a network so that it learns from the first steps on.

    He initialisation for LeakyReLU; the second half of each block is scaled down, steps up and down start with gain 1
    (as in `residual_unet.initialise`). The first output starts at the odds of disease, the others at nothing. A
    network that started at even odds spent its first 250 steps on learning that disease is rare.

    Parameters
    ----------
    network : HalfResolutionNet
        Changed in place, from torch's global random state.
    disease : float
        Share of the voxels that are diseased.
    """
    initialise_body(network, network.downs, (*network.ups, network.finer))
    with torch.no_grad():
        nn.init.normal_(network.last.weight, std=0.05)
        start = [math.log(disease / (1 - disease)), 0.0, -3.0]
        network.last.bias.copy_(torch.tensor(start))  # type: ignore[union-attr]


def _last(volume: Tensor) -> Tensor:
    return volume.contiguous(memory_format=torch.channels_last_3d)


def _build(shape: NetworkShape) -> HalfResolutionNet:
    if shape.head != "answers":
        raise ValueError(f"half-resolution has the head answers, found {shape.head}")
    return HalfResolutionNet(
        shape.in_channels,
        shape.channels,
        levels=shape.levels,
        fine=int(shape.options.get("fine", 16)),
        coordinates=bool(shape.options.get("coordinates", True)),
    )


def _mirrored(shape: NetworkShape) -> frozenset[int]:
    """Left and right alone where the network knows its place: up is another place than down."""
    return frozenset((4,)) if shape.options.get("coordinates", True) else frozenset((2, 3, 4))


HALF_RESOLUTION = Architecture(build=_build, multiple=lambda shape: int(2**shape.levels), mirrored=_mirrored)
