"""What makes two runs the same run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from enhancement.service.fingerprint import fingerprint
from enhancement.settings import Settings, parse_settings

UIDS = st.lists(st.integers(1, 10**9).map("1.2.{}".format), min_size=1, max_size=20)


@given(uids=UIDS, seed=st.randoms())
def test_order_and_repetition_do_not_matter(uids: list[str], seed: object) -> None:
    """Instances arrive in any order, and are sent twice."""
    shuffled = [*uids, uids[0]]
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    assert fingerprint(uids, "digest", Settings()) == fingerprint(shuffled, "digest", Settings())


@given(uids=UIDS)
def test_every_input_matters(uids: list[str]) -> None:
    """One instance more, another model, another setting of the method: another run."""
    prints = {
        fingerprint(uids, "digest", Settings()),
        fingerprint([*uids, "1.3"], "digest", Settings()),
        fingerprint(uids, "other", Settings()),
        fingerprint(uids, "digest", parse_settings({"Model": {"Folds": 1}})),
        fingerprint(uids, "digest", parse_settings({"Preprocessing": {"BiasField": False}})),
        fingerprint(uids, "digest", parse_settings({"Output": {"StoreAdc": False}})),
    }
    assert len(prints) == 6


def test_operation_does_not_matter() -> None:
    """A longer queue or another device must not bring the archive's studies back."""
    other = parse_settings(
        {"Queue": {"MaxQueued": 5}, "Ledger": {"BusySeconds": 1}, "Model": {"Devices": ["cpu"]}, "Automatic": False}
    )
    assert fingerprint(["1.2"], "digest", other) == fingerprint(["1.2"], "digest", Settings())
