"""The terms of the choosing network's loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from choosing.drawing import Cubes
from choosing.recipe import Terms

#: Units of the inputs times this are about z-scores.
_Z = 12.0
_OUTSIDE = 0.05  # weight of voxels outside the brain, where the network must learn to answer nothing


def compute_loss(terms: Terms, output: Tensor, cubes: Cubes) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the terms, and each term's own value.

    * cross_entropy, dice: where disease is. Diseased voxels weigh more, those of small lesions most.
    * noise, gradient: what remains of the noise, in z-scores, and in the differences of neighbours, where edges live.
    * dimming: what the T1c less its noise lies below the noise-free T1c over 3 voxels each way, in lesions.
    * enhancement: error of what the agent added, in z-scores.

    Parameters
    ----------
    terms : Terms
    output : (n, 3, z, y, x), float32
        Of `HalfResolutionNet`.
    cubes : Cubes
    """
    logit, noise, added = output.unbind(1)
    clean, enhancement, disease, weight, brain = cubes.answers.unbind(1)
    counts = brain.clamp_min(_OUTSIDE)
    lesion = counts * (1 + terms.lesion * weight)
    error = (cubes.inputs[:, -1] - noise - clean) * _Z
    found = {
        "cross_entropy": cross_entropy(logit, disease, weight, counts, terms),
        "dice": 1 - soft_dice(torch.sigmoid(logit) * brain, disease),
        "noise": (
            functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=0.1) * lesion
        ).mean(),
        "gradient": gradient_error(error * brain),
        "dimming": dimming(error, weight),
        "enhancement": (
            functional.smooth_l1_loss(added * _Z, enhancement * _Z, reduction="none", beta=0.1) * lesion
        ).mean(),
    }
    total = sum((getattr(terms, name) * value for name, value in found.items()), torch.zeros(()))
    return total, {name: float(value.detach()) for name, value in found.items()}


def cross_entropy(logit: Tensor, disease: Tensor, weight: Tensor, counts: Tensor, terms: Terms) -> Tensor:
    """Cross-entropy, of which a diseased voxel counts `positive` times its lesion's weight."""
    each = functional.binary_cross_entropy_with_logits(logit, disease, reduction="none")
    if terms.focus:
        each = each * (1 - torch.exp(-each)) ** terms.focus
    return (each * (counts + terms.positive * weight)).mean()


def soft_dice(probability: Tensor, disease: Tensor) -> Tensor:
    """Dice coefficient of a probability map, over the batch."""
    overlap = (probability * disease).sum()
    return (2 * overlap + 10) / (probability.sum() + disease.sum() + 10)


def gradient_error(error: Tensor) -> Tensor:
    """Mean absolute difference of neighbours' errors: what blurs an edge is paid for on both its sides."""
    return torch.stack([torch.diff(error, dim=axis).abs().mean() for axis in (1, 2, 3)]).mean()


def dimming(error: Tensor, weight: Tensor) -> Tensor:
    """How far lesions lie below their noise-free selves, on the mean over 3 voxels each way."""
    mean = functional.avg_pool3d(error[:, None], 3, stride=1, padding=1)[:, 0]
    return (functional.relu(-mean) * weight).sum() / (weight.sum() + 100)
