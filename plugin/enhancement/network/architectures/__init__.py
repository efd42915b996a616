"""The networks, one file an architecture; the dict says which of them a manifest's `network.kind` names."""

from enhancement.network.architectures.base import Architecture
from enhancement.network.architectures.half_resolution import HALF_RESOLUTION
from enhancement.network.architectures.residual_unet import RESIDUAL_UNET

ARCHITECTURES: dict[str, Architecture] = {
    "half-resolution": HALF_RESOLUTION,
    "residual-unet": RESIDUAL_UNET,
}
