"""The process of Orthanc: loaded in it a second time, begun anew, or ended under a step of native code.

A reload (``/tools/reset``, SIGHUP) ends Orthanc and starts it again within one process. Python is finalised, its
threads and its native libraries are not: numpy and torch cannot be loaded a second time (measured: "NoneType is not
callable" for ever, or signal 11). A stop looks the same to a plugin until the process ends. So nothing here is decided
before it is known: the second load is what tells a reload, and the process then begins anew, as the same process.

Only the standard library is imported.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from contextlib import suppress

# It survives in the process, as nothing of Python does. A child has another number.
LOADED_VARIABLE = "CONTRAST_ENHANCEMENT_LOADED"
_STANDARD_ERROR = 2


def is_loaded_again() -> bool:
    """Whether this process has loaded us before; notes that it has now."""
    number = str(os.getpid())
    again = os.environ.get(LOADED_VARIABLE) == number
    os.environ[LOADED_VARIABLE] = number
    return again


def begin_anew() -> None:
    """Replace this process by a fresh one of the same program, command line, number and environment; never returns.

    While Orthanc loads its plugins it has no door open and no index either, so nothing is lost that a reload keeps.

    Raises
    ------
    OSError
        If the program is no longer where it was, or /proc is not there.
    """
    with open("/proc/self/cmdline", "rb") as file:
        command = file.read().rstrip(b"\0").split(b"\0")
    program = os.readlink("/proc/self/exe")
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the one that lists them is closed by now
            if int(name) > _STANDARD_ERROR:
                os.set_inheritable(int(name), False)
    environment = {name: value for name, value in os.environ.items() if name != LOADED_VARIABLE}
    os.execve(program, command, environment)


class _Action(ctypes.Structure):
    """struct sigaction of glibc, on x86-64 and on 64-bit ARM."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


def leave_threads_behind() -> None:
    """Let Python be finalised, and Orthanc end or reload, under a thread that is in native code.

    Python ends a thread that comes back to it after that by unwinding it through the native code, which aborts
    (measured: SIGABRT in place of exit status 0). The thread that aborts is therefore halted, alone and for good. At a
    real end, destructors of libraries that the thread still uses are left out; the exit status is Orthanc's own.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    halted = _Action(handler=ctypes.cast(libc.pause, ctypes.c_void_p))
    libc.sigfillset(ctypes.byref(halted, _Action.mask.offset))
    libc.sigaction(int(signal.SIGABRT), ctypes.byref(halted), None)
    libc.on_exit(libc._exit, None)  # the last to be registered is the first to be called
    _keep_python_mapped()
    gc.freeze()  # Python's end would search everything for garbage, for seconds


def _keep_python_mapped() -> None:
    """The thread returns to Python's library; Orthanc unloads it with its plugin."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        library = next((line.split()[-1] for line in maps if "/libpython3." in line), None)
    if library is not None:
        ctypes.CDLL(library, mode=os.RTLD_NODELETE | os.RTLD_NOW)
