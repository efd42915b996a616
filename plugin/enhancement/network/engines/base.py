"""What computes a network: a batch of volumes in, a batch of volumes out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """The networks of one model on one device."""

    @property
    def device(self) -> str:
        """Where it computes, such as "cpu" or "cuda:0"."""
        ...

    def predict(self, fold: int, batch_nczyx: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one network on every volume of a batch.

        Parameters
        ----------
        fold : int
            Which of the networks.
        batch_nczyx : (n, c, z, y, x), float32 in [0, 1]
            Every axis of a volume a multiple of `Model.multiple`.

        Returns
        -------
        (n, z, y, x), float32
            For a "logit" head the probability. For the head "answers" (n, 3, z, y, x): probability, noise, enhancement.

        Raises
        ------
        MemoryError
            If the device has no room for the batch. What the try held is given back.
        """
        ...

    def room(self) -> int:
        """How many volumes fit at once, by what the last prediction took; at least 1."""
        ...
