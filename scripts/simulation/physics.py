"""Signal equations of the sequences, and what gadolinium does to relaxation.

Every function broadcasts over NumPy arrays. Times are in milliseconds, rates in 1/s only where the
name says so, concentrations in mM. Signals are *mixed* per voxel elsewhere; relaxation times never are.

Sources: Haacke et al., Magnetic Resonance Imaging (2014), chapters 18 and 24 (spoiled gradient echo);
Mugler and Brookeman, MRM 15:152 (1990) for the magnetisation-prepared train; Hajnal et al., J Comput
Assist Tomogr 16:841 (1992) for FLAIR; Stejskal and Tanner (1965) for diffusion weighting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.floating]
SequenceKind = Literal["spgr", "mprage", "se", "flair", "dwi"]


@dataclass(frozen=True)
class Sequence:
    """One pulse sequence.

    Attributes
    ----------
    kind
        ``spgr``, ``mprage`` (any inversion-prepared gradient-echo train), ``se``, ``flair`` or ``dwi``.
    tr_ms, te_ms, ti_ms : ms
        For ``mprage`` the TR is that of one readout within the train, TI the inversion-to-centre time.
    flip_deg : degrees
    readouts
        Number of readouts per inversion (``mprage`` only).
    recovery_ms : ms
        Dead time after the train (``mprage`` only).
    b_value : s/mm2
    inversion_efficiency : 0..1
    blood : 0..1
        Share of moving blood's signal that is kept: about 0.1 in black-blood sequences.
    """

    kind: SequenceKind
    tr_ms: float
    te_ms: float
    flip_deg: float = 90.0
    ti_ms: float = 0.0
    readouts: int = 160
    recovery_ms: float = 500.0
    b_value: float = 0.0
    inversion_efficiency: float = 0.96
    blood: float = 1.0


@dataclass(frozen=True)
class Tissue:
    """What a compartment does in the magnet: T1, T2, T2* in ms, proton density 0..1, ADC in mm2/s."""

    t1_ms: float
    t2_ms: float
    t2s_ms: float
    pd: float
    adc_mm2_s: float


@dataclass(frozen=True)
class Agent:
    """Relaxivities of a contrast agent, L/(mmol s)."""

    name: str
    r1: float
    r2: float
    r2s: float


@dataclass(frozen=True)
class Flow:
    """How a compartment of moving blood departs from still blood.

    Attributes
    ----------
    fresh : 0..1
        Share of the spins that no pulse has reached yet: bright in gradient echoes, with agent and without.
    washout_ms : ms
        A spin echo keeps exp(-TE / washout) of the signal: what is left between its pulses.
    """

    fresh: float
    washout_ms: float


def relaxed(t0_ms: ArrayLike, relaxivity: float, concentration_mm: ArrayLike) -> Array:
    """Relaxation time in ms after adding an agent: 1/T = 1/T0 + r C."""
    rate_per_ms = 1.0 / np.asarray(t0_ms) + relaxivity * np.asarray(concentration_mm) * 1e-3
    return np.asarray(1.0 / rate_per_ms)


def spoiled_gradient_echo(t1_ms: ArrayLike, tr_ms: float, flip_rad: ArrayLike) -> Array:
    """Longitudinal part of the spoiled gradient-echo signal: sin a (1 - E1) / (1 - E1 cos a)."""
    e1 = np.exp(-tr_ms / np.asarray(t1_ms))
    flip = np.asarray(flip_rad)
    return np.asarray(np.sin(flip) * (1 - e1) / (1 - e1 * np.cos(flip)))


def inversion_prepared_train(t1_ms: ArrayLike, sequence: Sequence, flip_rad: ArrayLike) -> Array:
    """Signal magnitude at the centre of an inversion-prepared gradient-echo train in its steady state.

    The magnetisation before each inversion is the fixed point of a linear map: invert, recover for
    ``TI - N/2 TR``, N readouts, recover for ``recovery_ms``. Solved in closed form.
    """
    t1 = np.asarray(t1_ms)
    flip = np.asarray(flip_rad)
    half = sequence.readouts // 2
    wait = max(sequence.ti_ms - half * sequence.tr_ms, 5.0)
    e_wait, e_end, e1 = (np.exp(-t / t1) for t in (wait, sequence.recovery_ms, sequence.tr_ms))
    decay = e1 * np.cos(flip)
    steady = (1 - e1) / (1 - decay)
    whole = decay ** (2 * half)
    # m_next = gain * m + offset for one full cycle.
    gain = -sequence.inversion_efficiency * e_wait * whole * e_end
    offset = ((1 - e_wait - steady) * whole + steady) * e_end + 1 - e_end
    before = offset / (1 - gain)
    first = 1 - (1 + sequence.inversion_efficiency * before) * e_wait
    centre = steady + (first - steady) * decay**half
    return np.asarray(np.abs(centre) * np.sin(flip))


def spin_echo(t1_ms: ArrayLike, tr_ms: float, te_ms: float, flip_rad: ArrayLike) -> Array:
    """Longitudinal part of a spin echo with a nominal 180 degree refocusing pulse."""
    t1 = np.asarray(t1_ms)
    recovery = 1 - 2 * np.exp(-(tr_ms - te_ms / 2) / t1) + np.exp(-tr_ms / t1)
    return np.asarray(np.abs(np.sin(flip_rad) * recovery))


def fluid_attenuated(t1_ms: ArrayLike, sequence: Sequence) -> Array:
    """Longitudinal part of FLAIR; the echo train is taken to fill 3 effective echo times."""
    t1 = np.asarray(t1_ms)
    q = sequence.inversion_efficiency
    last = min(3 * sequence.te_ms, 0.5 * sequence.tr_ms)
    tail = q * np.exp(-(sequence.tr_ms - last) / t1)
    return np.asarray(np.abs(1 - (1 + q) * np.exp(-sequence.ti_ms / t1) + tail))


def signal(
    sequence: Sequence,
    tissue: Tissue,
    *,
    agent: Agent | None = None,
    concentration_mm: ArrayLike = 0.0,
    b1: ArrayLike = 1.0,
    t1_factor: ArrayLike = 1.0,
    flow: Flow | None = None,
) -> Array:
    """Magnitude of one compartment, relative to M0 = 1.

    Parameters
    ----------
    concentration_mm : broadcastable, mM
        Concentration of the agent in this compartment (tissue average).
    b1 : broadcastable
        Transmit field relative to nominal; scales every flip angle.
    t1_factor : broadcastable
        Local factor on the T1 without agent (texture).
    flow
        Of moving blood.
    """
    t1: Array = np.asarray(t1_factor) * tissue.t1_ms
    r2: Array = np.asarray(1.0 / tissue.t2_ms)
    r2s: Array = np.asarray(1.0 / tissue.t2s_ms)
    if agent is not None:
        concentration = np.asarray(concentration_mm)
        t1 = relaxed(t1, agent.r1, concentration)
        r2 = r2 + agent.r2 * concentration * 1e-3
        r2s = r2s + agent.r2s * concentration * 1e-3
    flip = np.deg2rad(sequence.flip_deg) * np.asarray(b1)
    longitudinal: Array = _longitudinal(sequence, t1, flip)
    if sequence.kind in ("spgr", "mprage"):
        if flow is not None:
            longitudinal = flow.fresh * np.sin(flip) + (1 - flow.fresh) * longitudinal
        decay = sequence.te_ms * r2s
    else:
        washed = 0.0 if flow is None else sequence.te_ms / flow.washout_ms
        decay = sequence.te_ms * r2 + sequence.b_value * tissue.adc_mm2_s + washed
    kept = 1.0 if flow is None else sequence.blood
    return np.asarray(tissue.pd * kept * longitudinal * np.exp(-decay))


def _longitudinal(sequence: Sequence, t1: Array, flip: Array) -> Array:
    """Magnetisation that the readout meets, of 1."""
    if sequence.kind == "spgr":
        return spoiled_gradient_echo(t1, sequence.tr_ms, flip)
    if sequence.kind == "mprage":
        return inversion_prepared_train(t1, sequence, flip)
    if sequence.kind == "se":
        return spin_echo(t1, sequence.tr_ms, sequence.te_ms, flip)
    if sequence.kind == "flair":
        return fluid_attenuated(t1, sequence)
    return np.asarray(1 - np.exp(-sequence.tr_ms / t1))


def plasma_concentration(dose_mmol_kg: float, minutes: float) -> float:
    """Gadolinium in plasma, mM, some minutes after a bolus (biexponential of Weinmann, 1984)."""
    return float(dose_mmol_kg * (3.99 * np.exp(-0.144 * minutes) + 4.78 * np.exp(-0.0111 * minutes)))
