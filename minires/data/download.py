"""One large file over a slow line: continued after a cut, and checked before anybody reads it.

The file is known by its size and SHA-256, not by its address. So a download begun at one server may go on at another,
and nothing received is thrown away before the checksum has been taken.
"""

import os
import re
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from functools import partial
from http.client import HTTPException, InvalidURL
from pathlib import Path
from queue import Empty, SimpleQueue

from tqdm import tqdm

from minires.files import locked, plain_file, set_aside, sync_folder, verify

CHUNK = 1 << 16
TRIES = 3  # then the person at the keyboard decides; a connection that brings LEAST bytes starts the count anew
LEAST = 1 << 14  # bytes, per connection and per ``timeout``; who sends fewer would keep us for days
PAUSE = 1.0  # seconds before the second try, twice as long before the third


class _Cut(Exception):
    """The connection broke or the server is busy; another try may help."""


class _Refused(Exception):
    """The server does not have the file; another try will not help."""


def fetch(url, path, *, size, sha256, advice="", timeout=30.0):
    """Download url to path, or go on with a download that was cut; return path. What is there already is only checked.

    Bytes go to ``path`` + ``.part``, which becomes ``path`` once ``size`` and ``sha256`` are right. Of several
    processes one downloads and the others wait for it. If nothing arrives, nothing is left: no empty file, no new
    folder. A connection that brings fewer than ``LEAST`` bytes in ``timeout`` seconds counts as broken; ``advice`` ends
    the message when the download fails.

    Raises
    ------
    ConnectionError
        When the server cannot be reached, breaks off, or offers something else. What has arrived is kept.
    ValueError
        When the checksum is wrong; the file is kept under another name. When the address is not of the web.
    """
    path = Path(path)
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"expected an address that begins with https://, got {url!r}. A local file needs no download.")
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        _make_writable(path.parent)
        waiting = f"minires: another process is downloading {path.name}; waiting for it"
        with locked(path.with_name(f"{path.name}.lock"), waiting):
            if path.exists():
                verify(path, size=size, sha256=sha256)
            else:
                part = path.with_name(f"{path.name}.part")
                try:
                    _complete(url, part, size, advice, timeout)
                    verify(part, size=size, sha256=sha256)
                except ValueError as error:
                    bad = f"It came from {url}, and is kept as {set_aside(part, 'bad').name}."
                    raise ValueError(f"{error} {bad} {advice}".rstrip()) from None
                finally:
                    if part.is_file() and not part.stat().st_size:
                        part.unlink()
                os.replace(part, path)
                sync_folder(path.parent)
    finally:
        for folder in made:
            with suppress(OSError):  # not empty
                folder.rmdir()
    return path


def _make_writable(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"cannot write to {folder} ({error.strerror}). Set MINIRES_DATA to a folder.") from None
    if not os.access(folder, os.W_OK):
        raise OSError(f"cannot write to {folder}. Set MINIRES_DATA to a folder.")


def _complete(url, part, size, advice, timeout):
    """Append to the file ``part`` until it has ``size`` bytes."""
    if part.is_file() and not part.is_symlink() and part.stat().st_size > size:
        set_aside(part, "bad")
    have = part.stat().st_size if part.is_file() else 0
    room = shutil.disk_usage(part.parent).free
    if room < size - have:
        wanted = f"expected room for {_mb(size - have)}, got {_mb(room)}"
        raise OSError(f"{part.parent}: {wanted}. Set MINIRES_DATA to another folder.")
    tries, before = 0, have  # before: the first byte of this connection
    # disable=None: shown on a terminal only
    bar = tqdm(total=size, initial=have, desc=part.stem, unit="B", unit_scale=True, disable=None)
    with bar, open(part, "ab", opener=partial(plain_file, "a file begun earlier")) as file:
        while have < size:
            try:
                for chunk in _receive(url, have, size, timeout):
                    have += file.write(chunk)
                    bar.update(len(chunk))
                if have < size:
                    raise _Cut("the server closed the connection")
            except (_Cut, _Refused, KeyboardInterrupt) as error:
                tries = 1 if have - before >= LEAST else tries + 1
                before = have
                if isinstance(error, _Cut) and tries < TRIES:
                    time.sleep(PAUSE * tries)
                    continue
                bar.close()
                kept = f"{have / size:.0%} of {part.stem} ({_mb(have)}) is kept" if have else "nothing has arrived yet"
                again = "The same command, run again, " + ("goes on from there." if have else "tries again.")
                if isinstance(error, KeyboardInterrupt):
                    print(f"minires: stopped; {kept}. {again}", file=sys.stderr)
                    raise
                raise ConnectionError(f"{url}: {_printable(error)}; {kept}. {again} {advice}".rstrip()) from None
        file.flush()
        os.fsync(file.fileno())


def _printable(error):
    """What a server says, without its control characters and not longer than a line or two."""
    return "".join(c if c.isprintable() else "?" for c in str(error)[:200])


class _WebOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request, file, code, message, headers, url):
        if not url.lower().startswith(("http://", "https://")):
            raise _Refused(f"the server sends us on to {url}, which is not on the web")
        file.close()  # or urllib reads all that comes with it, however much
        return super().redirect_request(request, file, code, message, headers, url)


def _receive(url, have, size, timeout):
    """Yield the bytes of the file from number ``have`` on, as they arrive."""
    headers = {"User-Agent": "minires"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = urllib.request.Request(url, headers=headers)
        opener = urllib.request.build_opener(_WebOnly)
        response = _within(4 * timeout, partial(opener.open, request, timeout=timeout))
        skip, total = _offer(response, have)
        if total not in (None, size) or response.headers.get_content_type() == "text/html":
            offer = f"{total or 0:,} bytes of {response.headers.get_content_type()}"
            raise _Refused(f"expected a file of {size:,} bytes, got an offer of {offer}")
        since, got = time.monotonic(), 0
        while have < size and (chunk := _within(4 * timeout, partial(response.read1, CHUNK))):
            got += len(chunk)
            if time.monotonic() - since > timeout:
                if got < LEAST:
                    raise _Cut(f"{got:,} bytes in {timeout:g} s are too few")
                since, got = time.monotonic(), 0
            new = chunk[skip : skip + size - have]
            skip = max(0, skip - len(chunk))
            have += len(new)
            if new:
                yield new
        response.close()  # only here: where another thread still reads, this would wait for it
    except urllib.error.HTTPError as error:
        what = f"the server answers {error.code} {error.reason}"
        if error.code == 416:
            what = f"its file has fewer bytes than the {have:,} that are here"
        raise (_Cut if error.code >= 500 or error.code in (408, 429) else _Refused)(what) from None
    except urllib.error.URLError as error:
        raise _Cut(str(error.reason)) from None
    except (InvalidURL, ValueError) as error:  # of the address, or of one that the server sends us on to
        raise _Refused(f"not an address ({error})") from None
    except (OSError, HTTPException) as error:
        raise _Cut(str(error) or type(error).__name__) from None


def _within(seconds, work):
    """Return what ``work()`` returns; _Cut when that takes longer.

    The timeout of a socket begins anew with each byte, and a head or the size of a chunk may come in as many as a
    server likes. So a thread waits for it, which is left to itself: nothing ends it but the server.
    """
    done = SimpleQueue()

    def wait():
        try:
            done.put((work(), None))
        except Exception as error:
            done.put((None, error))

    threading.Thread(target=wait, daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except Empty:
        raise _Cut(f"no answer in {seconds:g} s") from None
    if error is not None:
        raise error
    return result


def _offer(response, have):
    """(number of bytes to skip, size of the whole file or None) of the server's answer."""
    if response.status != 206:  # a server without Range sends all of it again
        return have, _number(response.headers.get("Content-Length", ""))
    first, _, total = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
    if first.split("-")[0] != str(have):
        raise _Cut(f"asked for the bytes from {have} on, the server sends {first or 'others'}")
    return 0, _number(total)


def _number(text):
    """The size that a server announces; None if it is no number."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text.strip()) else None


def _mb(size):
    return f"{size / 1e6:,.0f} MB"
