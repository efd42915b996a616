"""The cubic B-spline: smooth weights of four neighbours, which add up to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cubic_bspline(t: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of four neighbouring nodes, and their derivatives.

    Parameters
    ----------
    t : (n,), in [0, 1)
        The place between the second and the third node, in steps between nodes.

    Returns
    -------
    weights : (4, n)
        Of each node; 1 in all.
    derivatives : (4, n)
        Of each weight by `t`; 0 in all.

    Examples
    --------
    >>> weights, derivatives = cubic_bspline(np.array([0.0, 0.5]))
    >>> weights.sum(0), np.abs(derivatives.sum(0)).round(12)
    (array([1., 1.]), array([0., 0.]))
    """
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    derivatives = [-((1 - t) ** 2), 3 * t**2 - 4 * t, -3 * t**2 + 2 * t + 1, t**2]
    return np.stack(weights) / 6.0, np.stack(derivatives) / 2.0
