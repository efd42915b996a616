"""The coarse search keeps what only its finer level can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from enhancement.errors import RegistrationFailed
from enhancement.imaging.registration.search import walk_to_best

WRONG = np.array([np.radians(30.0), 0.0, 0.0, 40.0, 0.0, 0.0])


class Hill:
    """A walker on one peak, as wide as told."""

    def __init__(self, top: NDArray[np.float64], height: float, width: float) -> None:
        self.top, self.height, self.width = top, height, width

    def score(self, pose: NDArray[np.float64]) -> float:
        return float(self.height * np.exp(-(np.linalg.norm(pose - self.top) ** 2) / self.width**2))

    def climb(
        self, pose: NDArray[np.float64], _steps: Sequence[tuple[float, float]]
    ) -> tuple[float, NDArray[np.float64]]:
        reached = self.top if np.linalg.norm(pose - self.top) < self.width else pose
        return self.score(reached), reached


def test_a_wrong_pose_that_wins_on_blurred_heads_loses_on_sharp_ones() -> None:
    """As happened to a head that had hardly moved: blurred 0.18 against 0.15, sharp 0.15 against 0.33."""
    starts = [np.zeros(6), WRONG + 3.0, WRONG - 3.0]
    rough, fine = Hill(WRONG, 0.18, 100.0), Hill(np.array([0.02, 0, 0, 2.0, -1.0, 1.0]), 0.33, 10.0)
    assert walk_to_best(rough, fine, starts).tolist() == fine.top.tolist()  # type: ignore[arg-type]


def test_where_nothing_overlaps_it_says_so() -> None:
    nowhere = Hill(np.zeros(6), 0.0, 1.0)
    with pytest.raises(RegistrationFailed):
        walk_to_best(nowhere, nowhere, [np.zeros(6)])  # type: ignore[arg-type]
