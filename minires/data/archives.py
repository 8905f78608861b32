"""The files in a folder, a .tar.gz or a .zip: read by name, one after another, and never unpacked onto the disk.

An archive may be hostile. So the size of a member is looked at before a byte of it is read, links and names that lead
out of the archive are not followed, and what lies beside the wanted members is skipped, up to a limit.
"""

import gzip
import io
import tarfile
import zipfile
import zlib

BLOCK = 512  # bytes; a tar file is made of these
ASIDE = 64 << 20  # bytes in an archive beside the wanted ones: lists of classes, a page of HTML, ...
WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE)
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)


def names_of(name):
    """The names that a file may have: its own, one ending in .gz, or with a dot, as some programs unpack MNIST."""
    return [n + end for n in dict.fromkeys((name, name.replace("-idx", ".idx"))) for end in ("", ".gz")]


def file_in(folder, name):
    """Return the path of the file in a folder, or None."""
    return next((folder / n for n in names_of(name) if (folder / n).is_file()), None)


def files_in(place, folder, most):
    """Return {name: bytes} of the files in a folder, a ``.tar``, ``.tar.gz`` or ``.zip``.

    In an archive they lie in ``folder``, "*" for anywhere. ``most`` has the wanted names, and how many bytes each file
    may have. ValueError or FileNotFoundError: a file is missing or too large, or the archive damaged.
    """
    found, paths = {}, {}
    if place.is_dir():
        for name in most:
            path = file_in(place, name)
            if path is None:
                raise FileNotFoundError(f"no {place / name}: expected {', '.join(most)} there. Unpack them again.")
            with open(path, "rb") as file:
                found[name] = _content(file.read, str(path), most[name])
        return found
    wanted = {n: name for name in most for n in names_of(name)}
    try:
        for path, read in _members(place, ASIDE + sum(most.values())):
            head, _, last = path.removeprefix("./").rpartition("/")
            anywhere = folder == "*" and not path.startswith("/") and ".." not in path.split("/")
            name = wanted.get(last) if anywhere or head == folder else None
            if paths.get(name) == path:
                raise ValueError(f"{place}: expected one {path}, got two. Is it the official archive?")
            if name is not None and name not in found:
                paths[name], found[name] = path, _content(read, f"{place}, {path}", most[name])
    except DAMAGED as error:
        raise ValueError(f"{place}: not a whole {'.zip' if _is_zip(place) else '.tar.gz'} archive ({error}).") from None
    lost = [name if folder == "*" else f"{folder}/{name}" for name in most if name not in found]
    if lost:
        raise ValueError(f"{place}: expected {', '.join(lost)} in it, found none. Is it the official archive?")
    return found


def first_name(place):
    """Return the path of the first file in an archive, "" if there is none. No more than the head is read."""
    try:
        return next((path for path, _ in _members(place, 16 * ASIDE)), "").removeprefix("./")
    except DAMAGED:
        return ""


def _content(read, path, most):
    """All bytes that a function reads, gunzipped if the name says so."""
    data = read(most + 1)
    try:
        if path.endswith(".gz"):
            with gzip.open(io.BytesIO(data)) as file:
                data = file.read(most + 1)
    except (zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged or cut short ({error}).") from None
    if len(data) > most:
        raise ValueError(f"{path}: expected up to {most:,} bytes, got more. Is it the official file?")
    return data


def _members(place, most):
    """Yield (path, function that reads so many bytes) of the files in an archive."""
    return _zip_members(place) if _is_zip(place) else _tar_members(place, most)


def _is_zip(place):
    return _magic(place) == b"PK"


def _magic(place):
    with open(place, "rb") as file:
        return file.read(2)


def _zip_members(place):
    with zipfile.ZipFile(place) as archive:
        for member in archive.infolist():
            if not member.is_dir():
                with archive.open(member) as file:
                    yield member.filename, file.read


def _tar_members(place, most):
    """The regular files as they stream past; ``most`` bytes in all.

    Python's ``tarfile`` is asked about single blocks only. By itself it reads names and headers of any length.
    """
    with (gzip.open if _magic(place) == b"\x1f\x8b" else open)(place, "rb") as stream:
        while (block := stream.read(BLOCK)).count(0) < BLOCK:  # zeros: the end
            member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            size, begin = 0 if member.type in WITHOUT_DATA else member.size, stream.tell()
            most -= BLOCK + size
            if size < 0 or most < 0:
                raise ValueError(f"{place}: a member claims {size:,} bytes, too many. Is it the official archive?")
            if member.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
                yield member.name, lambda count, size=size: stream.read(min(count, size))
            stream.seek(begin + size + -size % BLOCK)
        stream.seek(ASIDE, io.SEEK_CUR)  # gzip compares its checksum at the end
        if stream.read(1):
            raise ValueError(f"{place}: goes on behind its end. Is it the official archive?")
