"""What makes two runs the same run."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from enhancement.pipeline.fingerprint import fingerprint, settings_that_matter
from enhancement.recipes.offer import offered
from enhancement.settings import Role, parse_settings

UIDS = st.lists(st.integers(1, 10**9).map("1.2.{}".format), min_size=1, max_size=20)
ROLES: dict[Role, str | tuple[str, ...]] = {Role.T1: "1.1", Role.T1C: "1.2", Role.DWI: ("1.3", "1.4")}


def _print(
    uids: list[str],
    digest: str = "digest",
    section: dict[str, Any] | None = None,
    roles: dict[Role, str | tuple[str, ...]] = ROLES,
) -> str:
    settings = parse_settings(section or {})
    return fingerprint(uids, digest, settings_that_matter(settings, offered(settings).default, roles))


@given(uids=UIDS, seed=st.randoms())
def test_order_and_repetition_do_not_matter(uids: list[str], seed: Any) -> None:
    """Instances arrive in any order, and are sent twice; the parts of a diffusion series have none."""
    shuffled = [*uids, uids[0]]
    seed.shuffle(shuffled)
    assert _print(uids) == _print(shuffled, roles=ROLES | {Role.DWI: ("1.4", "1.3")})


@given(uids=UIDS)
def test_every_input_matters(uids: list[str]) -> None:
    """One instance more, another model, another setting of the method, T1 and T1c exchanged: another run."""
    prints = {
        _print(uids),
        _print([*uids, "1.3"]),
        _print(uids, "other"),
        _print(uids, section={"Model": {"Folds": 1}}),
        _print(uids, section={"Preprocessing": {"BiasField": False}}),
        _print(uids, section={"Output": {"StoreAdc": False}}),
        _print(uids, roles=ROLES | {Role.T1: "1.2", Role.T1C: "1.1"}),
    }
    assert len(prints) == 7


def test_operation_does_not_matter() -> None:
    """A longer queue or another device must not bring the archive's studies back."""
    other = {"Queue": {"MaxQueued": 5}, "Ledger": {"BusySeconds": 1}, "Model": {"Devices": ["cpu"]}, "Automatic": False}
    assert _print(["1.2"], section=other) == _print(["1.2"])


def test_what_was_stored_before_there_were_recipes_keeps_its_identity() -> None:
    """The fingerprint of t1c-pro by default settings, as the code before commit dadc374 computed it."""
    roles: dict[Role, str | tuple[str, ...]] = {**ROLES, Role.FLAIR: "1.5", Role.DWI: ("1.4", "1.3")}
    found = _print(["1.2.1", "1.2.2"], "0123456789abcdef" * 4, roles=roles)
    assert found == "8b6372db236ad3bd42c8f75e7ba7fbb7dd81a7a42c894fcf28dbcad2210c3eba"


def test_recipes_have_results_of_their_own() -> None:
    """The words of a recipe and its own settings count."""
    other = [{"Name": "t1c-pro", "SeriesDescription": "Other words"}]
    prints = {_print(["1.2"]), _print(["1.2"], section={"Recipes": other})}
    assert len(prints) == 2
