"""The networks, one file an architecture; the dict says which of them a manifest's `network.kind` names."""

from enhancement.network.architectures.base import Architecture
from enhancement.network.architectures.residual_unet import RESIDUAL_UNET

ARCHITECTURES: dict[str, Architecture] = {
    "residual-unet": RESIDUAL_UNET,
}
