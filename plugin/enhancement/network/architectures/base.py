"""What a kind of network has to say of itself, so that a manifest can name it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from enhancement.network.manifest import NetworkShape


@dataclass(frozen=True)
class Architecture:
    """One kind of network.

    Attributes
    ----------
    build : callable
        The shape of a manifest to an untrained network, which maps (n, in_channels, z, y, x) in [0, 1] to
        (n, 1, z, y, x), both float32; logits where the shape's head is "logit". With the head "answers" it maps to
        (n, 3, z, y, x): the logit of disease, noise, enhancement. Raises ValueError for a shape that this kind cannot
        have.
    multiple : callable
        The shape of a manifest to the number that every axis of the input must be a multiple of.
    mirrored : callable
        The shape of a manifest to the axes of (n, c, z, y, x) along which an image may be mirrored; by default all.
    """

    build: Callable[[NetworkShape], nn.Module]
    multiple: Callable[[NetworkShape], int]
    mirrored: Callable[[NetworkShape], frozenset[int]] = lambda _: frozenset((2, 3, 4))
