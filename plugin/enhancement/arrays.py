"""What arrays are called; all are (z, y, x) unless their name says otherwise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Intensities of one series, or a result of the networks.
Volume = NDArray[np.float32]
#: True inside.
Mask = NDArray[np.bool_]
