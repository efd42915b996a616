"""The terms of the loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from training.recipe import LossWeights
from training.sampling import Sample

#: Voxels that a lesion term is shared over at least, so that one 2 mm lesion does not own a step.
_LESION_FLOOR = 1000.0
_LESION_WEIGHT = 0.1  # what weighs less in the lesion term is normal: calm brain, vessels, dura, plexus
_OUTSIDE = 0.1  # weight of voxels outside the brain, where the network must learn to leave zero alone


def compute_loss(weights: LossWeights, prediction: Tensor, sample: Sample) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of the terms, and each term's own value.

    Parameters
    ----------
    prediction : (n, 1, z, y, x), float32
    """
    terms: dict[str, Tensor] = {}
    where = sample.brain.clamp_min(_OUTSIDE)
    error = prediction - sample.target
    if weights.l1:
        terms["l1"] = (error.abs() * where).mean()
    if weights.mse:
        terms["mse"] = error.square().mean()  # the paper's: the whole volume counts
    if weights.gradient:
        terms["gradient"] = gradient_error(error, sample.brain)
    if weights.ssim:
        terms["ssim"] = 1 - structural_similarity(prediction * sample.brain, sample.target * sample.brain)
    if weights.lesion:
        terms["lesion"] = (error.abs() * sample.weight).sum() / (sample.weight.sum() + _LESION_FLOOR)
    if weights.false_enhancement:
        terms["false_enhancement"] = false_enhancement(error, sample, weights.false_enhancement_threshold)
    if weights.difference:
        changed = ((sample.target - sample.before).abs() > weights.difference_threshold) & (sample.brain > 0.5)
        terms["difference"] = (error.abs() * changed).sum() / (changed.sum() + _LESION_FLOOR)
    if weights.cross_entropy:
        terms["cross_entropy"] = functional.binary_cross_entropy_with_logits(prediction, sample.target)
    if weights.dice:
        terms["dice"] = 1 - soft_dice(torch.sigmoid(prediction), sample.target)
    total = sum((getattr(weights, name) * term for name, term in terms.items()), torch.zeros(()))
    return total, {name: float(term.detach()) for name, term in terms.items()}


def false_enhancement(error: Tensor, sample: Sample, threshold: float) -> Tensor:
    """What is shown above the target over 3 voxels each way, beyond a threshold, where no lesion is.

    The mean over all voxels forgives a small blob in the wrong place, which costs a reader as much as a lesion missed
    does. Here such a blob weighs per voxel what a lesion's does in the lesion term.
    """
    excess = functional.avg_pool3d(error, 3, stride=1, padding=1)
    elsewhere = (sample.brain > 0.5) & (sample.weight < _LESION_WEIGHT)
    return (functional.relu(excess - threshold) * elsewhere).sum() / (sample.weight.sum() + _LESION_FLOOR)


def gradient_error(error: Tensor, brain: Tensor) -> Tensor:
    """Mean absolute difference of neighbours' errors: what blurs an edge is paid for on both its sides."""
    total = torch.zeros(())
    for axis in (2, 3, 4):
        inside = brain.narrow(axis, 1, brain.shape[axis] - 1)
        total = total + (torch.diff(error, dim=axis).abs() * inside).mean()
    return total / 3


def structural_similarity(a: Tensor, b: Tensor, *, edge: int = 7, stride: int = 3, peak: float = 1.0) -> Tensor:
    """Mean SSIM over uniform 3D windows; every third window, which a loss cannot tell from all of them."""

    def mean(volume: Tensor) -> Tensor:
        return functional.avg_pool3d(volume, edge, stride=stride)

    mean_a, mean_b = mean(a), mean(b)
    var_a = mean(a * a) - mean_a**2
    var_b = mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return similarity.mean()


def soft_dice(probability: Tensor, target: Tensor) -> Tensor:
    """Dice coefficient of a probability map."""
    overlap = (probability * target).sum()
    return (2 * overlap + 1) / (probability.sum() + target.sum() + 1)
