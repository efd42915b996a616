"""Gives back the memory that Python plugin 4.0 forgets with every REST request.

Before 4.1 the plugin never lets go of a request's method, headers, arguments and body. Measured: 1 KB with every
request and all of every body, for as long as Orthanc runs.

Giving back what was not forgotten would free memory that is still in use, and end Orthanc. Nothing is therefore given
back unless all of this holds:

* The plugin is 4.0, by the functions that it has, on a plain CPython 3.11. Nothing else was measured.
* It has been seen to forget, in this very process. After each of the first requests had ended, its headers still had
  exactly one reference too many. If one of them had another number, nothing is ever given back.
* The value at hand has exactly the number of references that it must have inside the call.
* No debugger or profiler watches this thread. They hold references of their own.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

LetGo = Callable[[Any], object]
Request = Mapping[str, Any]

PROOFS = 8
# Orthanc answers HTTP on fifty threads by default. More than so many requests are not kept for judging.
WATCHED = 256

# Inside the call a value is held by the keywords as our function sees them, and besides: by the keywords as the plugin
# made them, by the call's own stack, and, in vain, by the plugin.
_HOLDERS_IN_CALL = 3
# A header's value is held by the headers alone and, in vain, by the plugin.
_HOLDERS_IN_VALUE = 1


def is_measured(sdk: Any) -> bool:
    """Whether plugin and Python are those that this was measured on."""
    plugin = hasattr(sdk, "RegisterReceivedInstanceCallback") and not hasattr(
        sdk, "RegisterStorageCommitmentScpCallback"
    )
    python = sys.implementation.name == "cpython" and sys.version_info[:2] == (3, 11)
    return plugin and python and not hasattr(sys, "gettotalrefcount")


def decref() -> LetGo:
    """Py_DecRef, with the GIL held.

    A function object of our own: the one of `ctypes.pythonapi` is everybody's, and with argument types that another
    library gave it, a text would be passed as the address of its letters.
    """
    prototype = ctypes.PYFUNCTYPE(None, ctypes.py_object)
    return prototype(("Py_DecRef", ctypes.pythonapi))


class Returning:
    """Gives back what the plugin forgot of a request, once it is proven that it forgets.

    The plugin's callback calls it with the keywords of each request, before anything else touches them. A value that
    somebody else holds as well would have one reference too many, and would stay.
    """

    def __init__(self, let_go: LetGo) -> None:
        self._let_go = let_go
        self._refuted = False
        self._proofs = 0
        # Of each HTTP thread, the headers of its last request; nothing else in Python keeps them.
        self._watched: dict[int, Request] = {}

    @property
    def proven(self) -> bool:
        """Whether references are given back from now on."""
        return not self._refuted and self._proofs >= PROOFS

    def __call__(self, request: Request) -> None:
        if self._refuted or sys.gettrace() is not None or sys.getprofile() is not None:
            return
        if not self.proven:
            self._watch(request)
            return
        for name in ("headers", "get"):
            self._give_back(request.get(name, {}), _HOLDERS_IN_VALUE)
        self._give_back(request, _HOLDERS_IN_CALL)

    def _watch(self, request: Request) -> None:
        # The plugin answers a request on one thread, so the one before on this thread is over: its keywords are gone.
        thread = threading.get_ident()
        ended = self._watched.pop(thread, None)
        if ended is not None:
            self._judge(_references(ended, "headers") - _references_of_one_holder())
        if not self._refuted and len(self._watched) < WATCHED and "headers" in request:
            self._watched[thread] = {"headers": request["headers"]}

    def _judge(self, forgotten: int) -> None:
        self._refuted = self._refuted or forgotten != 1
        self._proofs += 1
        if self._refuted or self._proofs >= PROOFS:
            self._watched = {}

    def _give_back(self, holder: Request, others: int) -> None:
        """Let go of each value that has exactly `others` references besides its holder's.

        That leaves out what Python shares (empty and one-letter texts), and what anybody else holds.
        """
        expected = _references_of_one_holder() + others
        for key in holder:
            if _references(holder, key) == expected:
                self._let_go(holder[key])


def _references(holder: Request, key: str) -> int:
    return sys.getrefcount(holder[key])


def _references_of_one_holder() -> int:
    """What `_references` says of a value that only its holder holds; counting adds some of its own."""
    return _references({"": object()}, "")
