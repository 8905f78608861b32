"""Files on the user's disk: written whole or not at all, by one process at a time, in a folder found in one way."""

import os
import stat
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path


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
        except BaseException:
            file.close()
            new.unlink(missing_ok=True)
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

    Parameters
    ----------
    path : path
        An empty file, made for it and removed afterwards; its folder must exist.
    waiting : str, optional
        Wait while another holds the lock, and say this first (say nothing if it is empty).

    Raises
    ------
    BlockingIOError
        Without ``waiting``, when another holds the lock.
    OSError
        When the file cannot be made, or when there is something else of that name: a link, a folder, a pipe.
    """
    said = False
    while True:
        descriptor = _open_plain(path)
        try:
            taken = _try_lock(descriptor)
            if taken and _still_at(path, descriptor):  # else the one who held it has removed it: try again
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if taken:
            continue
        if waiting is None:
            raise BlockingIOError(f"{path}: another process holds this lock.")
        if waiting and not said:
            print(waiting, file=sys.stderr)
            said = True
        time.sleep(0.1)
    try:
        yield
    finally:
        if os.name == "posix":  # elsewhere an open file cannot be removed; it stays, unlocked
            with suppress(OSError):
                os.unlink(path)
        os.close(descriptor)


def _open_plain(path):
    """Open the file, made if needed, without following a link or waiting for the other end of a pipe."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError:
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise OSError(_not_plain(path)) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(_not_plain(path))
    return descriptor


def _not_plain(path):
    return f"{path}: expected an empty file that serves as a lock, got a folder, a link or the like. Remove it."


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
