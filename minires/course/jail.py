"""What a submission's process may do. Every wall is the operating system's; ``walls()`` says which of them stand.

Everywhere but Windows: limits of memory, size of a file, number of processes and of open files (setrlimit), a folder
of its own as HOME. On Linux besides: no network, and no other process to be seen or killed (namespaces, by
``unshare``); no file to be read but Python's and the submission's own, none to be written but in its own folder
(Landlock); no memory that no process holds (seccomp); as root, a user id of its own without any privilege.
"""

import ctypes
import functools
import os
import platform
import shutil
import signal
import stat
import struct
import subprocess
import sys
import sysconfig
from contextlib import suppress
from pathlib import Path

try:
    import resource
except ImportError:  # Windows
    resource = None

LINUX = sys.platform.startswith("linux")
ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/proc", "/sys/devices/system")
MOST_FILES = 5000
PARENT_DEATH_SIGNAL, KEEP_CAPABILITIES, SECCOMP, CHILD_SUBREAPER, NO_NEW_PRIVILEGES = 1, 8, 22, 36, 38  # of prctl
READ, READ_AND_WRITE, OF_A_FILE = 0b1101, 0x4006, 0xC007  # Landlock's rights: execute 1, write 2, read 4, list 8, ...


def walls():
    """Return ({wall: whether it stands here}) for the report and the instructor."""
    return {
        "limits of memory, files and processes": resource is not None,
        "no network, other processes out of reach": bool(prefix()),
        "no other files": _landlock_version() > 0,
        "a user of its own": ROOT and _landlock_version() > 0,
    }


@functools.cache
def prefix():
    """The command that puts what follows into namespaces of its own, or nothing where that is not allowed."""
    if not LINUX or shutil.which("unshare") is None:
        return []
    user = [] if ROOT else ["--user", "--map-current-user"]
    command = ["unshare", *user, "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
    works = subprocess.run([*command, "true"], capture_output=True, timeout=20).returncode == 0
    return command if works else []


def environment(folder):
    """What the process sees of ours: nothing but its own folder. One thread, and kernels that need no compiling."""
    keep = ("SYSTEMROOT", "PATH", "LANG") if os.name == "nt" else ("LANG",)
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "NUMBA", "MINIRES")}
    home = {name: str(folder) for name in ("HOME", "TMPDIR", "TEMP", "NUMBA_CACHE_DIR")}
    own = {"PATH": os.defpath, "MINIRES_KERNELS": "reference", "PYTHONDONTWRITEBYTECODE": "1"}
    return own | {k: os.environ[k] for k in keep if k in os.environ} | threads | home


def hand_over(folder):
    """Give a folder to the user that the process will be; returns that user's number."""
    user = 2_000_000 + os.getpid() if ROOT and _landlock_version() > 0 else None
    if user is not None:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user, user, follow_symlinks=False)
    return user


# -- in the process itself ------------------------------------------------------------------------------------


def enter(folder, limits):
    """Close the doors behind this process, before any of the submission's code runs."""
    if resource is None:
        return
    own = _processes_of_user() if not ROOT and not prefix() else 0
    limit(
        AS=limits["memory_mb"] << 20,
        FSIZE=limits["file_mb"] << 20,
        NPROC=limits["processes"] + own,
        NOFILE=128,
        CORE=0,
        CPU=20 * limits["seconds"] + 60,
    )
    if limits.get("user"):
        _become(limits["user"])
    die_with_parent()  # once more: a change of user takes that back
    _prctl(NO_NEW_PRIVILEGES, 1)
    _forbid_system_v()
    if _landlock_version() > 0:
        _landlock(folder)


def limit(**bounds):
    """Set limits of this process, as far as the system knows and allows them."""
    for name, bound in bounds.items():
        number = getattr(resource, f"RLIMIT_{name}", None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
            with suppress(ValueError, OSError):  # macOS refuses some
                resource.setrlimit(number, (bound, bound))


def die_with_parent():
    """Be killed when the process that started this one ends, in whatever way (Linux)."""
    _prctl(PARENT_DEATH_SIGNAL, 9)


def adopt_orphans():
    """Be the parent of every process below this one whose own parent has ended (Linux)."""
    _prctl(CHILD_SUBREAPER, 1)


def _prctl(option, *values):
    if LINUX and _libc().prctl(option, *values, *[0] * (4 - len(values))):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


@functools.cache
def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _processes_of_user():
    try:
        mine = [path for path in Path("/proc").glob("[0-9]*") if path.stat().st_uid == os.getuid()]
        return sum(len(list(path.glob("task/*"))) for path in mine)
    except OSError:
        return 1000


def _become(user):
    """Change to a user without privileges but one: to pass folders closed to others, as Python's own may be.

    Which of them it reads, Landlock decides. Started programs do not inherit the privilege.
    """
    read_search, version = 1 << 2, 0x20080522
    _prctl(KEEP_CAPABILITIES, 1)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    wanted = (ctypes.c_uint32 * 6)(read_search, read_search, 0, 0, 0, 0)
    if _libc().capset((ctypes.c_uint32 * 2)(version, 0), wanted):
        raise OSError(ctypes.get_errno(), "capset")


def _forbid_system_v():
    """Refuse System V memory and messages: they outlive who made them, and /proc counts them to nobody (seccomp)."""
    machines = {"x86_64": (0xC000003E, 29, 68), "aarch64": (0xC00000B7, 194, 186)}  # the audit's name; shmget, msgget
    if not LINUX or platform.machine() not in machines:
        return
    architecture, *calls = machines[platform.machine()]
    load, equal, give, allow, refuse = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050001  # refuse: with errno 1, EPERM
    program = [(load, 0, 0, 4), (equal, 0, 4, architecture), (load, 0, 0, 0)]
    program += [(equal, 2, 0, calls[0]), (equal, 1, 0, calls[1]), (give, 0, 0, allow), (give, 0, 0, refuse)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    with suppress(OSError):  # a system without seccomp
        _prctl(SECCOMP, 2, struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code)))


@functools.cache
def _landlock_version():
    if not LINUX:
        return 0
    return max(0, _libc().syscall(444, None, ctypes.c_size_t(0), 1))


def _readable():
    """What every submission may read: the system's libraries, Python's, NumPy and this package."""
    python = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), str(Path(__file__).parents[1])}
    libraries = {str(Path(module.__file__).parents[1]) for name in ("numpy",) if (module := sys.modules.get(name))}
    return [*SYSTEM, *sorted(python | libraries)]


def exposed(folders):
    """Say of each folder that lies where every submission may read, as with a virtual environment around it."""
    places, folders = ([Path(os.path.realpath(path)) for path in paths] for paths in (_readable(), folders))
    around = {folder: [place for place in places if place in (folder, *folder.parents)] for folder in folders}
    return [f"{one} can be read by submissions, as it lies in {found[0]}" for one, found in around.items() if found]


def _landlock(folder):
    """Let this process and its children see only what is listed (Linux 5.13; documentation: userspace-api/landlock)."""
    libc, version = _libc(), _landlock_version()
    handled = (1 << (13, 14, 15, 15, 16)[min(version, 5) - 1]) - 1  # all rights that this version knows
    network, scopes = (0b11 if version >= 4 else 0), (0b11 if version >= 6 else 0)
    attributes = (ctypes.c_uint64 * 3)(handled, network, scopes)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = libc.syscall(444, attributes, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    rules = [(path, READ) for path in _readable()]
    rules += [(path, READ_AND_WRITE) for path in ("/dev/null", "/dev/zero", "/dev/urandom")] + [(folder, handled)]
    for path, rights in rules:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= OF_A_FILE
        rule = (rights & handled).to_bytes(8, "little") + descriptor.to_bytes(4, "little")
        failed = libc.syscall(445, ruleset, 1, rule, 0)
        os.close(descriptor)
        if failed:
            raise OSError(ctypes.get_errno(), f"landlock_add_rule for {path}")
    if libc.syscall(446, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)


# -- from outside ---------------------------------------------------------------------------------------------


def family(root):
    """All processes below this one; with ``adopt_orphans()`` none of them gets away (Linux)."""
    found = set()
    with suppress(OSError):
        for thread in Path(f"/proc/{root}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                found |= {child} | family(child)
    return found


def kill(process, root):
    """Kill a process, its group, and all that is below another, until there is nobody new."""
    waiting, dead = {process.pid}, set()
    while waiting:
        for pid in waiting:
            for end in (getattr(os, "killpg", os.kill), os.kill):
                with suppress(OSError):
                    end(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
        dead |= waiting
        waiting = family(root) - dead


def remove(folder):
    """Remove a folder, however deep: rm needs neither recursion nor an open file for each level."""
    if not shutil.which("rm"):
        return shutil.rmtree(folder, ignore_errors=True)
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwx"], ["rm", "-rf"]):  # the second for folders that are closed
        if os.path.lexists(folder):
            subprocess.run([*command, "--", str(folder)], stderr=subprocess.DEVNULL)


def excess(root, folder, limits):
    """What the folder, and the processes below ``root`` together, hold too much of, in words, or ""."""
    sizes, memory = {}, 0
    try:
        for count, entry in enumerate(entries(folder)):
            if count > MOST_FILES:
                return f"made more than {MOST_FILES} files"
            with suppress(OSError):
                sizes[entry.path] = entry.stat(follow_symlinks=False).st_size
    except OSError as error:
        return f"made a folder that cannot be looked into ({error.strerror})"
    for member in family(root):
        with suppress(OSError, IndexError):
            memory += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        sizes |= _nameless(member)
    if sum(sizes.values()) > limits["disk_mb"] << 20:
        return f"wrote more than {limits['disk_mb']} MB"
    return f"took more than {limits['memory_mb']} MB of memory" if memory > limits["memory_mb"] << 20 else ""


def entries(folder):
    """Everything below a folder, without recursion: a tree may be deeper than Python's stack."""
    folders = [folder]
    while folders:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folders.pop()) as found:  # gone meanwhile
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                yield entry


def _nameless(pid):
    """{file: bytes} of the files that a process holds open though no folder has them, as unlink and memfd leave."""
    sizes = {}
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as descriptors:
        for descriptor in descriptors:
            with suppress(OSError):
                file = os.stat(descriptor.path)
                if stat.S_ISREG(file.st_mode) and file.st_nlink == 0:
                    sizes[file.st_dev, file.st_ino] = 512 * file.st_blocks
    return sizes


def processor_seconds(root):
    """The time that all processes below this one have had of a processor (Linux)."""
    ticks = 0
    for member in family(root):
        with suppress(OSError, IndexError):
            ticks += sum(map(int, Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK") if LINUX else 0
