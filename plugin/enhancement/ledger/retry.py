"""How long a job waits before its next attempt: twice as long after each failure, up to a limit, with jitter."""

from __future__ import annotations

from tenacity import RetryCallState, Retrying, wait_exponential, wait_random

from enhancement.settings import QueueSettings


def backoff_s(failures: int, settings: QueueSettings) -> float:
    """Seconds to wait after the `failures`-th failure (1 is the first).

    Doubles from `retry_initial_seconds` up to `retry_max_seconds`; jitter of at most half the first wait keeps jobs
    that failed together from coming back together.
    """
    initial = settings.retry_initial_seconds
    strategy = wait_exponential(multiplier=initial, max=settings.retry_max_seconds) + wait_random(0, initial / 2)
    state = RetryCallState(retry_object=Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = max(1, failures)
    return float(strategy(state))


def crash_backoff_s(crashes: int, settings: QueueSettings) -> float:
    """Seconds to wait after the process died `crashes` times over one job.

    The first time costs nothing: power fails, machines are restarted. Whoever comes back for more may be the cause,
    and must not bring the archive down again at once.
    """
    return 0.0 if crashes <= 1 else backoff_s(crashes - 1, settings)
