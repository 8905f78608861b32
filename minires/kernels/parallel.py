"""Compile a kernel once, keep it on disk, run it on all cores.

A kernel is a plain serial loop over a range: ``kernel(*arrays, start, stop)``. Numba turns it into machine code
that holds no interpreter lock, so a pool of Python threads runs it on several parts of the range at once. Each
thread has a fixed contiguous part; for one number of threads the results are the same bit for bit in every run.
(Numba's own ``parallel=True`` costs twice the compile time and hangs after a fork.)

Environment
-----------
MINIRES_NUM_THREADS : threads to use; without it NUMBA_NUM_THREADS or OMP_NUM_THREADS, else one per core.
NUMBA_CACHE_DIR : where compiled kernels are kept; without it the user's cache folder.
"""

import ctypes
import hashlib
import os
import queue
import sys
import tempfile
import threading
import time
from pathlib import Path

import numba
import numpy as np
from numba import types
from numba.core import event
from numba.extending import intrinsic

from minires.kernels.threads import threads_wanted

# Reassociation lets sums run in vector lanes. The flags that assume there is no NaN and no infinity stay off.
FASTMATH = {"contract", "reassoc", "arcp", "nsz"}


# -- compilation ----------------------------------------------------------------------------------------------


def _cache_candidates():
    if os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(os.environ["NUMBA_CACHE_DIR"]) / "minires"
    if os.environ.get("XDG_CACHE_HOME"):
        yield Path(os.environ["XDG_CACHE_HOME"]) / "minires" / "kernels"
    try:
        home = Path.home()
    except RuntimeError:  # no HOME and no entry for the user
        pass
    else:
        if sys.platform == "win32":
            yield Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local")) / "minires" / "kernels"
        elif sys.platform == "darwin":
            yield home / "Library" / "Caches" / "minires" / "kernels"
        else:
            yield home / ".cache" / "minires" / "kernels"
    yield Path(tempfile.gettempdir()) / f"minires-{os.getuid() if hasattr(os, 'getuid') else os.getlogin()}"


def _usable(folder):
    """Whether this user alone can write there: compiled code is read back, so it must be our own."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except OSError:
        return False


def _cache_folder():
    # Numba's cache notices a changed kernel but not a changed function that it calls: a folder per state of the source.
    source = hashlib.sha256(numba.__version__.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        source.update(file.read_bytes())
    for candidate in _cache_candidates():
        folder = candidate / source.hexdigest()[:16]
        if _usable(folder):
            return folder
    return None


CACHE_FOLDER = _cache_folder()  # None: nothing is writable, and kernels compile anew in every process


def _save_one_at_a_time(save, forget_all):
    """Two processes that fill one cache at once must not mix up their files; a full disk must not stop training."""

    def save_overload(signature, result):
        try:
            with open(CACHE_FOLDER / "lock", "a+b") as lock:
                _lock(lock)
                try:
                    save(signature, result)
                except OSError:
                    raise
                except Exception:  # the list of what is kept, which saving extends, is damaged: begin a new one
                    forget_all()
                    save(signature, result)
        except OSError:
            pass  # not kept; the next process compiles again

    return save_overload


def _load_or_compile(load):
    """A damaged cache file counts as absent."""

    def load_overload(signature, target):
        try:
            return load(signature, target)
        except Exception:
            return None

    return load_overload


try:
    import fcntl

    def _lock(file):
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
except ImportError:
    import msvcrt

    def _lock(file):
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)


_kernels = []


def compiled(function):
    """Decorator: machine code on the first call with given types, read from the disk afterwards."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(CACHE_FOLDER or "")
    try:
        cache = CACHE_FOLDER is not None
        kernel = numba.njit(nogil=True, cache=cache, error_model="numpy", fastmath=FASTMATH)(function)
    finally:
        numba.config.CACHE_DIR = before
    if CACHE_FOLDER is not None:
        cache = kernel._cache
        cache.save_overload = _save_one_at_a_time(cache.save_overload, cache.flush)
        cache.load_overload = _load_or_compile(cache.load_overload)
    _kernels.append(kernel)
    return kernel


def as_compiled(x):
    """x as kernels are compiled for it: C-contiguous and writable. (Numba compiles anew for every kind of array.)"""
    x = np.ascontiguousarray(x)
    return x if x.flags.writeable else x.copy()


class _SayOnce(event.Listener):
    """One line when kernels compile for the first time, so that nobody wonders what takes so long."""

    def __init__(self):
        self.said = False

    def on_start(self, happening):
        if not self.said and any(happening.data["dispatcher"] is kernel for kernel in _kernels):
            self.said = True
            where = f"kept in {CACHE_FOLDER.parent}" if CACHE_FOLDER else "not kept: no folder is writable"
            print(f"minires: compiling kernels for this processor, about 20 s, once ({where})", file=sys.stderr)

    def on_end(self, happening):
        pass


event.register("numba:compile", _SayOnce())


# -- threads --------------------------------------------------------------------------------------------------


_THREADS = threads_wanted()


def num_threads():
    """Number of threads every kernel uses."""
    return _THREADS


# Waking a sleeping thread takes 30 us, and a training step makes hundreds of calls. So a worker that has finished
# watches for its next call for a moment before it falls asleep, and so does the caller who waits for it. Both watch
# in machine code that does not hold the interpreter lock, which is therefore free for whoever has work.
SENT, HANDLED = 0, 1  # the counters in a worker's mailbox
MOMENT = 400_000  # looks: about 100 us
UNLOCKING = 50_000  # looks: about 12 us


@intrinsic
def _look(typingctx, mailbox, index):
    """mailbox[index] as it is in memory now; an ordinary read in a loop may be done once, before it."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        return builder.load_atomic(builder.gep(array.data, [args[1]]), "acquire", 8)

    return types.int64(mailbox, types.intp), codegen


@intrinsic
def _note(typingctx, mailbox, index, value):
    """mailbox[index] = value, after everything this thread has written before."""

    def codegen(context, builder, signature, args):
        array = context.make_array(signature.args[0])(context, builder, args[0])
        builder.store_atomic(args[2], builder.gep(array.data, [args[1]]), "release", 8)
        return context.get_dummy_value()

    return types.void(mailbox, types.intp, types.int64), codegen


class _Worker:
    def __init__(self, number):
        self.number = number
        self.calls = queue.SimpleQueue()
        self.mailbox = np.zeros(2, np.int64)
        self.error = None
        self.asleep = False
        self.allowed = None  # the cores it was allowed before it was sent to one
        self.thread = threading.Thread(target=self._work, name="minires", daemon=True)
        self.thread.start()

    def _work(self):
        handled = 0
        while True:
            _report_and_watch(self.mailbox, handled)
            self.asleep = True
            kernel, arguments = self.calls.get()  # sleeps here when no call came within the moment
            self.asleep = False
            if self.allowed:
                os.sched_setaffinity(0, self.allowed)
                self.allowed = None
            try:
                kernel(*arguments)
            except BaseException as error:  # the caller raises it
                self.error = error
            handled += 1

    def send(self, kernel, arguments):
        if self.asleep and not self.allowed:
            self.allowed = _send_beside(self.thread.native_id, self.number)
        self.calls.put((kernel, arguments))
        self.mailbox[SENT] += 1

    def wait(self):
        while not _finished(self.mailbox):
            time.sleep(0)  # let others run, then look again
        error, self.error = self.error, None
        if error is not None:
            raise error


_workers = []  # the calling thread works as well, so there is one less than threads
_one_caller = threading.RLock()


def _forget_workers():  # threads do not survive a fork: the child starts its own
    global _one_caller
    _workers.clear()
    _one_caller = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


# Linux often wakes a thread on the very core that called it, where it waits for milliseconds while another core idles.
# So a sleeper is sent to a core of its own first. Once awake, it sets itself free to run anywhere, as before.
try:
    _current_core = ctypes.CDLL(None).sched_getcpu
except (AttributeError, OSError, TypeError):  # not Linux

    def _send_beside(thread, number):
        pass
else:

    def _send_beside(thread, number):
        """Bind a sleeping thread to the core that is ``number + 1`` after the caller's; return all that are allowed."""
        try:
            allowed = os.sched_getaffinity(0)
            here = _current_core()
            others = sorted(allowed - {here}, key=lambda core: (core < here, core))
            if others:
                os.sched_setaffinity(thread, {others[number % len(others)]})
                return allowed
        except OSError:
            pass  # not allowed to: it wakes wherever it does


SMALL = 16_384  # numbers: what one thread handles before a second has woken up


def over_threads(kernel, size, *arguments, work=SMALL):
    """Call ``kernel(*arguments, start, stop)`` on contiguous parts of range(size), one per thread.

    ``work``, where given, says how many numbers the whole call goes through: a small call stays on this thread.
    """
    _run(kernel, size, arguments, _THREADS if work >= SMALL else 1, with_part=False)


def over_parts(kernel, size, *arguments):
    """Call ``kernel(*arguments, part, start, stop)``: for sums, of which each thread keeps its own in row ``part``."""
    _run(kernel, size, arguments, _THREADS, with_part=True)


def _run(kernel, size, arguments, threads, with_part):
    parts = max(1, min(threads, size))
    calls = []
    for part in range(parts):
        ends = (size * part // parts, size * (part + 1) // parts)
        calls.append((*arguments, part, *ends) if with_part else (*arguments, *ends))
    with _one_caller:
        while len(_workers) < parts - 1:
            _workers.append(_Worker(len(_workers)))
        helping = _workers[: parts - 1]
        try:
            for worker, call in zip(helping, calls[1:]):
                worker.send(kernel, call)
            kernel(*calls[0])
            for worker in helping:
                worker.wait()
        except BaseException:  # an interrupt may have come between any two lines: start afresh with new workers
            _workers.clear()
            raise


@compiled
def _report_and_watch(mailbox, handled):
    _note(mailbox, HANDLED, handled)
    for _ in range(MOMENT):
        if _look(mailbox, SENT) != handled:
            break
    # The caller announces a call while it still holds the interpreter lock, and lets go when it has begun its own part.
    # Whoever asks for the lock before is put to sleep, and wakes late.
    for _ in range(UNLOCKING):
        _look(mailbox, SENT)


@compiled
def _finished(mailbox):
    for _ in range(MOMENT):
        if _look(mailbox, HANDLED) == _look(mailbox, SENT):
            return True
    return False
