"""What enhances near the brain's edge, and what a mask keeps of it."""

from __future__ import annotations

import numpy as np

from evaluation.edge_study import edge_of, edge_table


def test_the_edge_is_three_millimetres_deep() -> None:
    brain = np.zeros((15, 15, 15), bool)
    brain[2:13, 2:13, 2:13] = True
    deep = brain & ~edge_of(brain)
    assert np.argwhere(deep).min() == 5
    assert np.argwhere(deep).max() == 9


def test_shares_are_of_all_heads_together() -> None:
    """A head with little at its edge counts for little."""
    few = {"there": 10, "used": 10, "network": 0, "template": 10}
    many = {"there": 90, "used": 81, "network": 90, "template": 45}
    measured = {"used": 0.95, "network": 0.9, "template": 0.8}
    table = edge_table([{"enhancing": counts, "lesion": counts, "dice": measured} for counts in (few, many)])
    assert "| enhancing | 100 | 91.0% | 90.0% | 55.0% |" in table
    assert "| Dice, mean | | 0.950 | 0.900 | 0.800 |" in table


def test_no_heads() -> None:
    assert "--edges" in edge_table([])
