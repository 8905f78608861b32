"""Compile a kernel once and keep it on disk.

A kernel is a plain serial loop that Numba turns into machine code. (Its own ``parallel=True`` costs twice the compile
time and hangs after a fork; threads come from kernels/machine/threads.py.)

Environment
-----------
NUMBA_CACHE_DIR : where compiled kernels are kept; without it the user's cache folder.
"""

import contextlib
import hashlib
import io
import os
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
from numba.core import event
from numba.core.caching import IndexDataCacheFile

from minires.files import cache_folder, locked

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set")

# Reassociation lets sums run in vector lanes. The flags that assume there is no NaN and no infinity stay off.
FASTMATH = {"contract", "reassoc", "arcp", "nsz"}


def _cache_candidates():
    if os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(os.environ["NUMBA_CACHE_DIR"]) / "minires"
    usual = cache_folder("kernels")
    if usual:
        yield usual
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
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        source.update(file.read_bytes())
    for candidate in _cache_candidates():
        folder = candidate / source.hexdigest()[:16]
        if _usable(folder):
            return folder
    return None


CACHE_FOLDER = _cache_folder()  # None: nothing is writable, and kernels compile anew in every process


class _CheckedFiles(IndexDataCacheFile):
    """Numba's files of one kernel, each followed by its hash: a flipped bit in machine code would be run."""

    @contextlib.contextmanager
    def _open_for_write(self, path):
        with super()._open_for_write(path) as file:
            content = io.BytesIO()
            yield content
            file.write(content.getvalue() + hashlib.sha256(content.getvalue()).digest())

    def _load_index(self):
        _check(self._index_path)
        return super()._load_index()

    def _load_data(self, name):
        _check(self._data_path(name))
        return super()._load_data(name)


def _check(path):
    with contextlib.suppress(FileNotFoundError):
        content = Path(path).read_bytes()
        if hashlib.sha256(content[:-32]).digest() != content[-32:]:
            raise ValueError(f"{path}: damaged")


def _save_one_at_a_time(save, forget_all):
    """Two processes that fill one cache at once must not mix up their files; a full disk must not stop training."""

    def save_overload(signature, result):
        # A file that cannot be written is not kept; the next process compiles again.
        with contextlib.suppress(OSError), locked(CACHE_FOLDER / "lock", waiting=""):
            try:
                save(signature, result)
            except OSError:
                raise
            except Exception:  # the list of what is kept, which saving extends, is damaged: begin a new one
                forget_all()
                save(signature, result)

    return save_overload


def _load_or_compile(load):
    """A damaged cache file counts as absent."""

    def load_overload(signature, target):
        with contextlib.suppress(Exception):
            return load(signature, target)

    return load_overload


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
        cache._cache_file.__class__ = _CheckedFiles
        cache.save_overload = _save_one_at_a_time(cache.save_overload, cache.flush)
        cache.load_overload = _load_or_compile(cache.load_overload)
    _kernels.append(kernel)
    return kernel


def as_compiled(x):
    """x as kernels are compiled for it: C-contiguous and writable. (Numba compiles anew for every kind of array.)"""
    if type(x) is np.ndarray and x.flags.carray:
        return x
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
            more = CACHE_FOLDER is not None and any(CACHE_FOLDER.rglob("*.nbc"))  # from an earlier process
            what = "those for what was not computed before, some seconds" if more else "about 20 s"
            print(f"minires: compiling kernels for this processor, {what}, once ({where})", file=sys.stderr)

    def on_end(self, happening):
        pass


event.register("numba:compile", _SayOnce())
