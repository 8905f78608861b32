"""What results and times may depend on: processor, threads, kernels, versions and the state of the source."""

import os
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from minires import kernels
from minires.kernels.machine.cores import num_threads
from minires.version import VERSION


def machine():
    """Return it as a dict of numbers and texts. ``commit`` is None where the package does not lie in a git checkout."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": num_threads(),
        "kernels": kernels.chosen,
        "platform": platform.platform(),
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            "minires": VERSION,
            **{name: installed(name) for name in ("numpy", "numba")},
        },
    }


def installed(name):
    """The version of an installed package, None where there is none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name():
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return platform.processor() or platform.machine()


def _commit():
    """The commit of the source, with "-dirty" if files were changed since; None if git does not know the package."""

    def git(*arguments):
        command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # a virtual environment may lie in another checkout
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None
