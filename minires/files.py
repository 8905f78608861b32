"""Files on the user's disk: written whole or not at all, by one process at a time, in a folder found in one way."""

import hashlib
import os
import stat
import sys
import time
import zipfile
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

SMALL, SHRINKS = 64 << 20, 32  # bytes that an .npz may always hold; how many times larger than itself else


def cache_folder(*parts):
    """Return the folder where this system keeps what a program can make or fetch again; None for a user without a home.

    >>> cache_folder("kernels").parts[-2:]
    ('minires', 'kernels')
    """
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and no entry for the user
        home = None
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif home is None:
        return None
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    else:
        base = home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"
    return base.joinpath("minires", *parts)


def previous(path):
    """Where ``written_safely(path, keep_previous=True)`` keeps the file that was there before."""
    return path.with_name(path.name + ".previous")


@contextmanager
def written_safely(path, keep_previous=False):
    """Open a new file for bytes that takes the place of ``path`` once it is complete and on the disk, never before.

    Until then it is called ``<name>.new``. A kill leaves the old file or the new one at ``path``; with
    ``keep_previous`` there is a moment between the two when the old one is at ``previous(path)`` alone.
    """
    path = Path(path)
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)  # left by a kill
    with open(new, "xb") as file:  # x: made here; a link that somebody put there is not followed
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()  # Windows renames no open file
            if keep_previous and path.exists():
                os.replace(path, previous(path))
            os.replace(new, path)
        except BaseException as error:
            with suppress(OSError):  # of a full disk: closing would write what is left
                file.close()
            with suppress(OSError):
                new.unlink()
            if isinstance(error, OSError) and error.filename is None:  # of write: the system knows a number
                error.filename = str(path)
            raise
    sync_folder(path.parent)


def sync_folder(folder):
    """Have the names in a folder on the disk: a file that was made or renamed is there once they are."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            with suppress(OSError):  # a file system that cannot
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_npz(path):
    """Return {name: array} of an ``.npz`` file, every byte compared with its checksum. Nothing is unpickled.

    A stranger's file of 2 MB may claim to hold 2 GB, or two arrays of one name: that is seen before anything is read.
    What is wrong with it is an exception of any kind, since zipfile and NumPy raise a dozen.
    """
    with zipfile.ZipFile(path) as file:
        names = [member.filename.removesuffix(".npy") for member in file.infolist()]
        one_per_name(names)
        claimed = sum(member.file_size for member in file.infolist())
        if claimed > max(SMALL, SHRINKS * path.stat().st_size):
            raise ValueError(f"claims to hold {claimed:,} bytes, more than weights can be packed into so few")
        damaged = file.testzip()
        if damaged:
            raise ValueError(f"checksum of {damaged} is wrong")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names}


def one_per_name(names):
    """Raise ValueError when a name comes twice."""
    twins = [name for name, count in Counter(names).items() if count > 1]
    if twins:
        raise ValueError(f"expected one array per name, got several of {', '.join(twins[:5])}")


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path, *, sha256, size=None, again="fetch it again"):
    """Raise ValueError, naming the fault, unless the file has this checksum and, if given, size."""
    got = Path(path).stat().st_size
    if size is not None and got != size:
        what = "It is cut short" if got < size else "It is another file"
        raise ValueError(f"{path}: expected {size:,} bytes, got {got:,}. {what}; {again}.")
    digest = sha256_of(path)
    if digest != sha256:
        raise ValueError(f"{path}: expected SHA-256 {sha256}, got {digest}. Its bytes were altered; {again}.")


def set_aside(path, why):
    """Rename a file to ``<name>.<why>``, or ``<name>.<why>2`` and so on if that is taken; return the new path."""
    return path.rename(_free(path, why))


def copy_aside(path, why):
    """Leave a file where it is and make a copy as ``set_aside`` would name it; return the path of the copy."""
    aside = _free(path, why)
    with written_safely(aside) as file:
        file.write(path.read_bytes())
    return aside


def _free(path, why):
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.{why}{number if number > 1 else ''}")
        if not os.path.lexists(aside):
            return aside
    raise OSError(f"{path.parent}: too many files {path.name}.{why}*. Delete them.")


@contextmanager
def locked(path, waiting=None):
    """Be the only process, or thread, inside a ``with`` of this path. The system forgets the lock of one that died.

    ``path`` is an empty file, made for it and removed afterwards; its folder must exist. With ``waiting`` wait while
    another holds the lock, and say this first (nothing if it is empty); without it that is a BlockingIOError. OSError:
    the file cannot be made, or there is something else of that name: a link, a folder, a pipe.
    """
    while True:
        descriptor = plain_file("an empty file that serves as a lock", path, os.O_RDWR | os.O_CREAT)
        taken = _try_lock(descriptor)
        if taken and _still_at(path, descriptor):  # else the one who held it has removed it: try again
            break
        os.close(descriptor)
        if not taken:
            if waiting is None:
                raise BlockingIOError(f"{path}: another process holds this lock.")
            if waiting:
                print(waiting, file=sys.stderr)
            waiting = ""
            time.sleep(0.1)
    try:
        yield
    finally:
        if os.name == "posix":  # elsewhere an open file cannot be removed; it stays, unlocked
            with suppress(OSError):
                os.unlink(path)
        os.close(descriptor)


def plain_file(wanted, path, flags):
    """``os.open``, but it follows no link and waits for no other end of a pipe: ``wanted`` says what it must be."""
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    wrong = OSError(f"{path}: expected {wanted}, got a folder, a link or the like. Remove it.")
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError:
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise wrong from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise wrong
    return descriptor


def _still_at(path, descriptor):
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False


try:
    import fcntl

    def _try_lock(descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the file is closed
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks
            pass
        return True
except ImportError:
    import msvcrt

    def _try_lock(descriptor):
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
