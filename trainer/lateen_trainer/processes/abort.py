"""Keeps a death by abort() from hiding why the process really ends.

When process 0 is killed, jax's coordination service goes with it, and jax's client in every other process
calls abort() about 0.2 s later (LOG(FATAL) in xla's CoordinationServiceAgent; a Python callback for it
cannot be given: jaxlib cannot convert its argument). Our own watching thread usually leaves first, but must
not have to win a race. Python's signal handlers cannot help: they run later, in the main thread. So a C
handler, made with ctypes, runs in the very thread that called abort() and holds it there.
"""

import ctypes
import faulthandler
import signal
from collections.abc import Callable

HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)


class AbortGuard:
    """Calls `on_abort` when the process is about to abort; the abort goes on if that returns.

    Args:
        on_abort: called without arguments in the aborting thread, with Python's lock held.
    """

    def __init__(self, on_abort: Callable[[], None]):
        self._on_abort = on_abort
        self._handler = HANDLER(self._handle)  # kept, or C would call freed memory
        self._signal = ctypes.CDLL(None).signal
        self._signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
        self._signal.restype = ctypes.c_void_p

    def install(self) -> None:
        """From now on `on_abort` is called, to the end of the process."""
        self._signal(signal.SIGABRT, ctypes.cast(self._handler, ctypes.c_void_p))

    def _handle(self, _: int) -> None:
        self._on_abort()
        faulthandler.dump_traceback(file=2, all_threads=True)
