"""One large file over a slow line: continued after a cut, and checked before anybody reads it.

The file is known by its size and SHA-256, not by its address. So a download begun at one server may go on at another,
and nothing received is thrown away before the checksum has been taken.
"""

import hashlib
import os
import shutil
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

CHUNK = 1 << 16
TRIES = 3  # then the person at the keyboard decides; each new byte starts the count anew
PAUSE = 1.0  # seconds before the second try, twice as long before the third


class _Cut(Exception):
    """The connection broke or the server is busy; another try may help."""


class _Refused(Exception):
    """The server does not have the file; another try will not help."""


def fetch(url, path, *, size, sha256, advice="", timeout=30.0, progress=True):
    """Download url to path, or go on with a download that was cut; return path.

    Bytes go to ``path`` + ``.part``, which becomes ``path`` once size and checksum are right. Of several processes one
    downloads and the others wait for it.

    Parameters
    ----------
    url : str
        http or https.
    path : path
        Where the file shall be. What is there already is only checked.
    size : int
        Bytes of the whole file.
    sha256 : str
        Its checksum, 64 hexadecimal digits.
    advice : str
        What else a person can do; ends the message when the download fails.
    timeout : float, default 30
        Seconds without a byte after which the connection counts as broken.
    progress : bool, default True
        Show a bar, on a terminal.

    Raises
    ------
    ConnectionError
        When the server cannot be reached, breaks off, or offers something else. What has arrived is kept.
    ValueError
        When the checksum is wrong. The file is kept under another name.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.part")
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"expected an address that begins with https://, got {url!r}. A local file needs no download.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = open(f"{path}.lock", "ab")
    except OSError as error:
        raise OSError(f"cannot write to {path.parent} ({error.strerror}). Set MINIRES_DATA to a folder.") from None
    with lock, _alone(lock, path):
        if not path.exists():
            _complete(url, part, size, advice, timeout, progress)
            try:
                verify(part, size=size, sha256=sha256)
            except ValueError as error:
                bad = _set_aside(part)
                raise ValueError(f"{error} It came from {url}, and is kept as {bad.name}. {advice}".rstrip()) from None
            os.replace(part, path)
        else:
            verify(path, size=size, sha256=sha256)
    return path


def verify(path, *, size, sha256):
    """Raise ValueError, naming the fault, unless the file has this size and checksum."""
    got = Path(path).stat().st_size
    if got != size:
        what = "It is cut short" if got < size else "It is another file"
        raise ValueError(f"{path}: expected {size:,} bytes, got {got:,}. {what}; fetch it again.")
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise ValueError(f"{path}: expected SHA-256 {sha256}, got {digest}. Its bytes were altered; fetch it again.")


def _complete(url, part, size, advice, timeout, progress):
    """Append to the file ``part`` until it has ``size`` bytes."""
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        _set_aside(part)
        have = 0
    room = shutil.disk_usage(part.parent).free
    if room < size - have:
        raise OSError(
            f"{part.parent}: expected room for {_mb(size - have)}, got {_mb(room)}. Set MINIRES_DATA to another folder."
        )
    tries = 0
    bar = tqdm(
        total=size,
        initial=have,
        desc=part.stem,
        unit="B",
        unit_scale=True,
        disable=None if progress else True,  # None: shown on a terminal only
    )
    with bar, open(part, "ab") as file:
        while have < size:
            try:
                for chunk in _receive(url, have, size, timeout):
                    have += file.write(chunk)
                    bar.update(len(chunk))
                    tries = 0
                if have < size:
                    raise _Cut("the server closed the connection")
            except (_Cut, _Refused, KeyboardInterrupt) as error:
                tries += 1
                if isinstance(error, _Cut) and tries < TRIES:
                    time.sleep(PAUSE * tries)
                    continue
                bar.close()
                kept = f"{have / size:.0%} of {part.stem} ({_mb(have)}) is kept" if have else "nothing has arrived yet"
                again = "The same command, run again, " + ("goes on from there." if have else "tries again.")
                if isinstance(error, KeyboardInterrupt):
                    print(f"minires: stopped; {kept}. {again}", file=sys.stderr)
                    raise
                raise ConnectionError(f"{url}: {error}; {kept}. {again} {advice}".rstrip()) from None
        file.flush()
        os.fsync(file.fileno())


def _receive(url, have, size, timeout):
    """Yield the bytes of the file from number ``have`` on, as they arrive."""
    headers = {"User-Agent": "minires"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as response:
            skip, total = _offer(response, have)
            if total not in (None, size) or response.headers.get_content_type() == "text/html":
                offer = f"{total or 0:,} bytes of {response.headers.get_content_type()}"
                raise _Refused(f"expected a file of {size:,} bytes, got an offer of {offer}")
            while have < size and (chunk := response.read1(CHUNK)):
                new = chunk[skip : skip + size - have]
                skip = max(0, skip - len(chunk))
                have += len(new)
                if new:
                    yield new
    except urllib.error.HTTPError as error:
        if error.code == 416:
            raise _Refused(f"its file has fewer bytes than the {have:,} that are here") from None
        if error.code < 500 and error.code not in (408, 429):
            raise _Refused(f"the server answers {error.code} {error.reason}") from None
        raise _Cut(f"the server answers {error.code} {error.reason}") from None
    except urllib.error.URLError as error:
        raise _Cut(str(error.reason)) from None
    except (OSError, HTTPException) as error:
        raise _Cut(str(error) or type(error).__name__) from None


def _offer(response, have):
    """(number of bytes to skip, size of the whole file or None) of the server's answer."""
    length = response.headers.get("Content-Length")
    if response.status != 206:  # a server without Range sends all of it again
        return have, int(length) if length else None
    first, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if first.split("-")[0] != str(have):
        raise _Cut(f"asked for the bytes from {have} on, the server sends {first or 'others'}")
    return 0, int(total) if total.isdigit() else None


@contextmanager
def _alone(lock, path):
    """Wait until no other process holds the lock."""
    if not _try_lock(lock):
        print(f"minires: another process is downloading {path.name}; waiting for it", file=sys.stderr)
        while not _try_lock(lock):
            time.sleep(0.2)
    yield


try:
    import fcntl

    def _try_lock(file):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # released when the file is closed
        except BlockingIOError:
            return False
        except OSError:  # a file system without locks; the checksum remains
            return True
        return True
except ImportError:
    import msvcrt

    def _try_lock(file):
        try:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True


def _set_aside(part):
    for number in range(1, 1000):
        bad = part.with_name(f"{part.stem}.bad{number}")
        if not bad.exists():
            return part.rename(bad)
    raise OSError(f"{part.parent}: too many damaged files {part.stem}.bad*; delete them.")


def _mb(size):
    return f"{size / 1e6:,.0f} MB"
