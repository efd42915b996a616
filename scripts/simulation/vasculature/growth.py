"""Trees that grow from trunks towards points of the brain's surface, within the fluid that covers it.

Every terminal is joined to the trunks by the path of least cost through a random medium: first-passage percolation
(Hammersley and Welsh 1965), which Baish et al. (Microvasc Res 51:327, 1996) and others use for vessels. As in space
colonisation (Runions et al. 2005, 2007) terminals pull the tree to where none is yet, and paths that meet go on as
one. Unlike it, no branch can leave the sulci, and a whole head takes a second in place of minutes: space
colonisation in steps of 1 mm with 3,000 terminals needs hundreds of searches of the nearest node, and obstacles
stop it in the sulci. Radii follow Murray's law (J Gen Physiol 9:835, 1926): the cube of a radius is the sum of the
cubes of its branches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from simulation.vasculature.painting import Tubes

Points = NDArray[np.float64]
Ids = NDArray[np.int64]
_OFFSETS = [(z, y, x) for z in (-1, 0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) != (0, 0, 0)]


@dataclass(frozen=True)
class Space:
    """Voxels in which a tree may grow, and which are neighbours (compressed rows).

    Attributes
    ----------
    points : (n, 3)
        Voxel coordinates of the nodes.
    start : (n + 1,)
        Where each node's neighbours begin.
    neighbour, length : (m,)
        Node numbers and distances in voxels.
    """

    points: Points
    start: NDArray[np.int32]
    neighbour: NDArray[np.int32]
    length: NDArray[np.float32]


@dataclass(frozen=True)
class Tree:
    """A grown forest.

    Attributes
    ----------
    points : (n, 3)
        Smoothed positions of its nodes.
    parent : (n,) int
        Index of the next node towards the trunk; a root is its own.
    flow : (n,) int
        Number of terminals beyond.
    """

    points: Points
    parent: Ids
    flow: Ids


def build_space(habitat: NDArray[np.bool_]) -> Space:
    """Nodes and neighbours (26) of a mask; voxels at the edge of the grid are no nodes."""
    inner = np.zeros_like(habitat)
    inner[1:-1, 1:-1, 1:-1] = habitat[1:-1, 1:-1, 1:-1]
    flat = np.flatnonzero(inner)
    ids = np.full(habitat.size, -1, np.int32)
    ids[flat] = np.arange(len(flat), dtype=np.int32)
    shift = np.array(_OFFSETS) @ np.array([habitat.shape[1] * habitat.shape[2], habitat.shape[2], 1])
    table = ids[flat[:, None] + shift[None]]
    linked = table >= 0
    start = np.r_[0, np.cumsum(linked.sum(1))].astype(np.int32)
    reach = np.sqrt((np.array(_OFFSETS) ** 2).sum(1)).astype(np.float32)
    length = np.broadcast_to(reach, table.shape)[linked]
    points = np.stack(np.unravel_index(flat, habitat.shape), axis=1).astype(float)
    return Space(points, start, table[linked], length)


def nearest_nodes(space: Space, points: Points, reach_mm: float) -> Ids:
    """Nodes next to points, each once; points without a node within reach have none."""
    gap, index = cKDTree(space.points).query(points, distance_upper_bound=reach_mm)
    return np.unique(index[np.isfinite(gap)]).astype(np.int64)


def grow(space: Space, cost: NDArray[np.floating], roots: Ids, terminals: Ids) -> Tree:
    """The forest of cheapest paths from terminals to roots.

    Parameters
    ----------
    cost : (n,)
        Of each node, positive.
    roots, terminals
        Node numbers; terminals that can't be reached are left out.
    """
    count = len(space.points)
    own = np.repeat(np.asarray(cost, np.float32), np.diff(space.start))
    weight = space.length * (own + np.asarray(cost, np.float32)[space.neighbour]) / 2
    graph = csr_matrix((weight, space.neighbour, space.start), (count, count))
    reached, parent, _ = dijkstra(graph, indices=roots, return_predecessors=True, min_only=True)
    terminals = terminals[np.isfinite(reached[terminals])]
    parent = np.where(parent < 0, np.arange(len(parent)), parent).astype(np.int64)
    flow = _accumulate(parent, terminals)
    used = np.nonzero(flow)[0]
    renumber = np.zeros(len(parent), np.int64)
    renumber[used] = np.arange(len(used))
    tree = Tree(space.points[used], renumber[parent[used]], flow[used])
    return Tree(_relax(tree), tree.parent, tree.flow)


def _accumulate(parent: Ids, terminals: Ids) -> Ids:
    """Terminals beyond each node: all walk to the trunk at once, those that arrive stop."""
    flow = np.zeros(len(parent), np.int64)
    walker = terminals
    while len(walker):
        np.add.at(flow, walker, 1)
        following = parent[walker]
        walker = following[following != walker]
    return flow


def _relax(tree: Tree, rounds: int = 4) -> Points:
    """Smooth the courses: each node moves between its parent and its largest branch."""
    count = len(tree.parent)
    child = np.arange(count)
    order = np.argsort(tree.flow, kind="stable")
    moving = order[tree.parent[order] != order]
    child[tree.parent[moving]] = moving  # the largest comes last and stays
    ends = (tree.parent == np.arange(count)) | (child == np.arange(count))
    points = tree.points.copy()
    for _ in range(rounds):
        middle = (points[tree.parent] + points[child]) / 2
        points = np.where(ends[:, None], points, 0.4 * points + 0.6 * middle)
    return points


def murray_radii(flow: NDArray[np.integer], terminal_mm: float, exponent: float = 3.0) -> NDArray[np.float64]:
    """Radius in mm of a vessel that supplies this many terminals of one radius."""
    return np.asarray(terminal_mm * np.asarray(flow, float) ** (1 / exponent))


def tubes_of(tree: Tree, radii: NDArray[np.floating], roots_at: Points | None = None) -> Tubes:
    """Balls along every segment of a tree, and from its roots to the nearest points of the trunks."""
    start, end, radius = tree.points, tree.points[tree.parent], np.asarray(radii, float)
    if roots_at is not None and len(roots_at):
        root = tree.parent == np.arange(len(tree.parent))
        gap, index = cKDTree(roots_at).query(start[root])
        near = gap < 12
        start = np.concatenate([start, start[root][near]])
        end = np.concatenate([end, roots_at[index[near]]])
        radius = np.concatenate([radius, radius[root][near]])
    steps = np.maximum(np.ceil(np.linalg.norm(end - start, axis=1) / 0.6).astype(int), 1)
    which = np.repeat(np.arange(len(start)), steps)
    share = (np.arange(len(which)) - np.repeat(np.cumsum(steps) - steps, steps)) / steps[which]
    return Tubes(start[which] + share[:, None] * (end - start)[which], radius[which])
