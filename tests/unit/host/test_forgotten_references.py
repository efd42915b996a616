"""References that plugin 4.0 forgets: given back where that is proven, never where it is not.

The plugin is stood in for by CPython's own PyObject_Call, which is how it calls us: keywords made for one request, each
value with one reference too many where the plugin forgets.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from enhancement.host import forgotten_references
from enhancement.host.forgotten_references import PROOFS, Returning, decref, is_measured

_call = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.py_object)(
    ("PyObject_Call", ctypes.pythonapi)
)
_forget = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("Py_IncRef", ctypes.pythonapi))

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.implementation.name != "cpython",
    reason="references are given back on CPython 3.11 only",
)


@pytest.fixture(autouse=True)
def unwatched() -> Iterator[None]:
    """Coverage and debuggers hold references of their own; with them nothing is given back."""
    trace, profile = sys.gettrace(), sys.getprofile()
    sys.settrace(None), sys.setprofile(None)
    yield
    sys.settrace(trace), sys.setprofile(profile)


class Text(str):
    """A text whose end can be watched."""


class Headers(dict[str, Any]):
    """Headers whose end can be watched."""


class Plugin:
    """Calls a REST callback as the real one does."""

    def __init__(self, let_go: Returning, *, forgets: bool = True) -> None:
        self._let_go = let_go
        self._forgets = forgets

    def ask(self, keep: list[Any] | None = None, **more: Any) -> dict[str, weakref.ref[Any]]:
        """One request from beginning to end; what of it is watched. `keep` takes one more reference to each value."""
        values: dict[str, Any] = {"method": Text("POST"), "headers": Headers(), "body": Text("b" * 100), **more}
        values["headers"]["host"] = Text("orthanc")
        watched = {name: weakref.ref(value) for name, value in values.items() if isinstance(value, Text | Headers)}
        watched["host"] = weakref.ref(values["headers"]["host"])
        if self._forgets:
            for value in [*values.values(), values["headers"]["host"]]:
                _forget(value)
            del value
        if keep is not None:
            keep += list(values.values())
        returning = self._let_go

        def requested(output: Any, uri: str, **request: Any) -> None:
            returning(request)

        _call(requested, (None, "/enhancement/status"), values)
        return watched


def _alive(watched: dict[str, weakref.ref[Any]]) -> set[str]:
    return {name for name, ref in watched.items() if ref() is not None}


def _proven(**options: Any) -> tuple[Returning, Plugin]:
    returning = Returning(decref())
    plugin = Plugin(returning, **options)
    for _ in range(PROOFS + 1):
        plugin.ask()
    return returning, plugin


class TestForgettingPlugin:
    def test_nothing_stays_of_a_request(self) -> None:
        """Every value ends with its request, as it would with a plugin that forgets nothing."""
        returning, plugin = _proven()
        assert returning.proven
        assert [_alive(plugin.ask()) for _ in range(20)] == [set()] * 20

    def test_nothing_is_given_back_before_the_proof(self) -> None:
        """The first requests are watched only."""
        plugin = Plugin(Returning(decref()))
        assert [len(_alive(plugin.ask())) for _ in range(PROOFS)] == [4] * PROOFS

    def test_value_that_somebody_else_holds(self) -> None:
        """It has one holder too many for us: it keeps all of its references."""
        _, plugin = _proven()
        keep: list[Any] = []
        plugin.ask(keep)
        assert [sys.getrefcount(value) for value in keep] == [4] * len(keep)  # keep, the plugin, and twice the counting

    @pytest.mark.parametrize("shared", ["", "x", b"", b"x", (), None, 1, True])
    def test_value_that_python_shares(self, shared: object) -> None:
        """Empty and one-letter texts are everybody's, and are left alone."""
        _, plugin = _proven()
        before = sys.getrefcount(shared)
        for _ in range(2000):
            plugin.ask(other=shared)
        # What the stand-in forgot is still forgotten. None is everybody's in all the process: whatever else ends in the
        # meantime lets go of some, once 24 of them, and given back there would be none of the 2000.
        assert sys.getrefcount(shared) > before + 1000

    def test_many_threads_at_once(self) -> None:
        """Orthanc answers on many threads; nothing of any request stays, and nothing is let go of twice."""
        _, plugin = _proven()
        left: list[set[str]] = []

        def ask() -> None:
            left.extend(_alive(plugin.ask()) for _ in range(300))

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(interval)
        gc.collect()
        assert len(left) == 2400
        assert set().union(*left) == set()

    def test_each_thread_is_judged_by_its_own_last_request(self) -> None:
        """A request that another thread is in the middle of proves nothing."""
        returning = Returning(decref())
        plugin = Plugin(returning)
        for _ in range(3 * PROOFS):
            thread = threading.Thread(target=lambda: [plugin.ask(), plugin.ask()])
            thread.start()
            thread.join()
        assert returning.proven

    @pytest.mark.parametrize("watch", [sys.settrace, sys.setprofile])
    def test_debugger(self, watch: Callable[[Any], None]) -> None:
        """Nothing is given back on a thread that is watched."""
        _, plugin = _proven()
        watch(lambda *_: None)
        try:
            left = _alive(plugin.ask())
        finally:
            watch(None)
        assert left == {"method", "headers", "body", "host"}


class TestMendedPlugin:
    def test_takes_nothing_from_it(self) -> None:
        """A distribution may have mended 4.0 without another name for it."""
        returning, plugin = _proven(forgets=False)
        keep: list[Any] = []
        plugin.ask(keep)
        assert not returning.proven
        assert [sys.getrefcount(value) for value in keep] == [3] * len(keep)

    def test_takes_nothing_when_a_holder_too_many_looks_like_a_forgotten_reference(self) -> None:
        """Counting alone would be deceived here: inside the call the numbers are those of a plugin that forgets."""
        returning = Returning(decref())
        plugin = Plugin(returning, forgets=False)
        plugin.ask()
        plugin.ask()
        for _ in range(2 * PROOFS):
            keep: list[Any] = []
            plugin.ask(keep)
            assert [sys.getrefcount(value) for value in keep] == [3] * len(keep)
        assert not returning.proven

    def test_one_request_that_forgot_nothing_settles_it(self) -> None:
        """However many others did, before or after."""
        returning = Returning(decref())
        forgetting, mended = Plugin(returning), Plugin(returning, forgets=False)
        for _ in range(PROOFS // 2):
            forgetting.ask()
        mended.ask()
        for _ in range(3 * PROOFS):
            forgetting.ask()
        assert not returning.proven
        assert len(_alive(forgetting.ask())) == 4

    def test_two_references_too_many_settle_it_too(self) -> None:
        """That is not what was measured."""
        returning = Returning(decref())
        plugin = Plugin(returning)
        keep: list[Any] = []
        plugin.ask(keep)
        for _ in range(3 * PROOFS):
            plugin.ask()
        assert not returning.proven


class TestGuard:
    def test_only_the_plugin_that_was_measured(self) -> None:
        """By the functions of each version: 3.4, 4.0, 4.1."""
        names = ("RegisterRestCallback", "RegisterReceivedInstanceCallback", "RegisterStorageCommitmentScpCallback")
        versions = [types.SimpleNamespace(**dict.fromkeys(names[:count])) for count in (1, 2, 3)]
        assert [is_measured(version) for version in versions] == [False, True, False]

    @pytest.mark.parametrize(
        "change", [{"version_info": (3, 12, 1)}, {"implementation": types.SimpleNamespace(name="x")}]
    )
    def test_only_the_python_that_was_measured(self, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]) -> None:
        """Another one counts, or calls, in another way."""
        sdk = types.SimpleNamespace(RegisterReceivedInstanceCallback=None)
        assert is_measured(sdk)
        for name, value in change.items():
            monkeypatch.setattr(forgotten_references.sys, name, value)
        assert not is_measured(sdk)

    def test_not_a_debug_build(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It keeps books of its own on references."""
        monkeypatch.setattr(forgotten_references.sys, "gettotalrefcount", lambda: 0, raising=False)
        assert not is_measured(types.SimpleNamespace(RegisterReceivedInstanceCallback=None))

    def test_others_use_of_the_same_function(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another library gives ctypes.pythonapi.Py_DecRef other argument types: ours keeps its own."""
        let_go = decref()
        monkeypatch.setattr(ctypes.pythonapi.Py_DecRef, "argtypes", [ctypes.c_void_p])
        value = Text("value")
        _forget(value)
        let_go(value)
        assert sys.getrefcount(value) == 2
