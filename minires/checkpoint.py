"""What a run leaves on disk, written so that a kill at any moment leaves it whole.

A **checkpoint** is an ``.npz`` file of arrays and one JSON text: parameters, running statistics, momentum, schedule,
random generators and how far training has come. Training resumed from it goes on bit for bit as if it had never
stopped. Nothing in it is pickled, so a file from a stranger can be opened.

A **run** is a folder with ``run.json`` (what was run, on what, when), ``log.jsonl`` (how it went, a line at a time)
and ``checkpoint.npz`` (where to go on from).
"""

import json
import os
import platform
import signal
import sys
import threading
import time
import zipfile
from contextlib import ExitStack, contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from minires import kernels
from minires.files import locked, previous, set_aside, written_safely
from minires.kernels.machine.cores import num_threads
from minires.version import VERSION

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint or run folder that cannot be used; the message says why, and what to do."""


# -- checkpoints ----------------------------------------------------------------------------------------------


def save_checkpoint(path, net, optimizer=None, schedule=None, rng=None, inputs=None, **progress):
    """Write everything that training needs to go on.

    The file is written beside its place, synced to the disk and only then renamed, so ``path`` is always either the
    old checkpoint or the new one. The one before stays as ``<name>.previous``.

    Parameters
    ----------
    path : str or Path
        ``checkpoint.npz``, say; its folder must exist.
    net : Layer
        Its parameters, buffers, and the random generators that layers such as Dropout hold.
    optimizer : SGD, optional
        Its settings and momentum.
    schedule : Schedule, optional
        What it has observed.
    rng : numpy.random.Generator, optional
        Or its ``bit_generator.state``, when an earlier one is to be saved.
    inputs : dict, optional
        How images become x, and what the outputs mean, for ``load_inputs``: "normalisation", the arrays (shift, scale)
        of x = (image - shift) * scale, and "classes", their names.
    **progress : numbers, texts, lists and dicts of them
        Whatever else: ``step=1200, epoch=3``. ``load_checkpoint`` returns them.
    """
    arrays = {f"net/{name}": array for name, array in net.state_dict().items()}
    about = {
        "format": FORMAT,
        "generators": {name: rng.bit_generator.state for name, rng in _generators(net)},
        "rng": rng.bit_generator.state if isinstance(rng, np.random.Generator) else rng,
        "schedule": schedule and schedule.state_dict(),
        "progress": progress,
    }
    if optimizer is not None:
        state = optimizer.state_dict()
        arrays |= {f"velocity/{i}": v for i, v in enumerate(state["velocity"]) if v is not None}
        about["optimizer"] = state | {"velocity": [v is not None for v in state["velocity"]]}
    if inputs is not None:
        arrays["inputs/shift"], arrays["inputs/scale"] = inputs["normalisation"]
        about["classes"] = list(inputs["classes"])
    text = json.dumps(about, default=lambda array: array.tolist())  # some generators keep their state in an array
    path = Path(path)
    try:
        with written_safely(path, keep_previous=True) as file:
            np.savez(file, about=text, **arrays)
    except OSError as error:
        raise CheckpointError(
            f"{path}: could not be written ({error.strerror or error}). The checkpoint before it is unharmed; "
            "make room or choose another folder, and go on from there."
        ) from None


def load_checkpoint(path, net, optimizer=None, schedule=None, rng=None):
    """Put a checkpoint back into objects made as they were when it was saved; return the progress.

    All of the file is read and checked before anything is changed. Objects left out are left alone.

    Returns
    -------
    dict
        The keywords given to ``save_checkpoint``.

    Raises
    ------
    CheckpointError
        When the file is missing, cut short, altered, not a checkpoint, or of another network or optimizer.
    """
    path = Path(path)
    arrays, about = _read(path)
    weights = {name.removeprefix("net/"): array for name, array in arrays.items() if name.startswith("net/")}
    velocity = None
    try:
        if optimizer is not None:
            velocity = about.get("optimizer") or _missing("optimizer")
            velocity = velocity | {
                "velocity": [arrays[f"velocity/{i}"] if there else None for i, there in enumerate(velocity["velocity"])]
            }
            velocity.setdefault("steps", about["progress"].get("step", 0))  # files of old versions have no steps
            optimizer.check_state_dict(velocity)
        if schedule is not None and (about["schedule"] or {}).keys() != schedule.state_dict().keys():
            raise ValueError(f"its schedule is of another kind than {schedule}")
        generators = dict(_generators(net))
        if generators.keys() != about["generators"].keys():
            raise ValueError(f"its random layers are {_names(about['generators'])}, the net's {_names(generators)}")
        pairs = [(generators[name], state) for name, state in about["generators"].items()]
        if rng is not None:
            pairs.append((rng, about["rng"] or _missing("random generator")))
        for generator, state in pairs:
            if state["bit_generator"] != generator.bit_generator.state["bit_generator"]:
                raise ValueError(f"its random generator is {state['bit_generator']}, expected {generator}")
        net.load_state_dict(weights)  # the last that can fail, and it writes all or nothing
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: does not fit. {error.args[0]}") from None
    if optimizer is not None:
        optimizer.load_state_dict(velocity)
    if schedule is not None:
        schedule.load_state_dict(about["schedule"] or {})
    for generator, state in pairs:
        generator.bit_generator.state = state
    return about["progress"]


def load_inputs(path):
    """Return ``inputs`` as given to ``save_checkpoint``, or None if nothing was."""
    arrays, about = _read(Path(path))
    if "classes" not in about:
        return None
    return {"normalisation": (arrays["inputs/shift"], arrays["inputs/scale"]), "classes": about["classes"]}


def _read(path):
    try:
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()  # compares every byte with its checksum
            if damaged:
                raise zipfile.BadZipFile(f"checksum of {damaged} is wrong")
            names = file.namelist()
        if "about.npy" not in names:
            raise CheckpointError(
                f"{path}: not a checkpoint of minires; it holds {_names(names)}. "
                "For weights of another project use minires.weights."
            )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file. Is it the right folder?") from None
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, NumPy and json raise a dozen kinds for a damaged file
        raise CheckpointError(
            f"{path}: damaged or cut short ({error}). Restore it from a copy, such as {previous(path).name}, "
            "or delete it and start again."
        ) from None
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected format {FORMAT}, got {about.get('format')}. Is minires up to date?")
    return arrays, about


def _generators(net):
    """Yield (path, Generator) of the random layers."""
    for path, layer in net.named_layers():
        for name, value in vars(layer).items():
            if isinstance(value, np.random.Generator):
                yield f"{path}.{name}" if path else name, value


def _missing(what):
    raise ValueError(f"it was saved without the {what}. Leave the {what} out, or save it too.")


def _names(names, most=3):
    names = list(names)
    return (", ".join(names[:most]) + (" ..." if len(names) > most else "")) or "nothing"


# -- run folders ----------------------------------------------------------------------------------------------


class Run:
    """The folder of one training run, for ``train(..., run=Run("runs/resnet-20"))``.

    Called again with the same folder and the same configuration, training goes on where the latest checkpoint stands;
    with another configuration it is refused.

    Parameters
    ----------
    folder : str or Path
        Made if needed.
    config : dict, optional
        What identifies the run and is not known to ``train``: network, depth, data, seed. Compared when a run is
        resumed.
    deviations : list of str
        How the run departs from the paper it follows. Written down, not compared.
    save_every : float, default 120
        Seconds between checkpoints; there is one at each test as well.

    Attributes
    ----------
    lines : list of dicts
        The log.
    """

    def __init__(self, folder, config=None, deviations=(), save_every=120):
        self.folder = Path(folder)
        self.config, self.deviations, self.save_every = dict(config or {}), list(deviations), save_every
        self.log_path, self.json_path = self.folder / "log.jsonl", self.folder / "run.json"
        self.checkpoint_path = self.folder / "checkpoint.npz"
        self.lines = []
        self.stop_asked = False
        self._about = {}

    @contextmanager
    def open(self, config):
        """Own the folder while the ``with`` lasts: one process at a time, and Ctrl-C waits for the end of a step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with owned(self.folder), self._signals_wait():
            self._about = self._checked({**self.config, **config})
            try:
                yield self
            except BaseException as error:
                self._end(f"{type(error).__name__}: {error}")
                raise
            self._end("finished")

    def restore(self, **objects):
        """Load the latest whole checkpoint into ``net=, optimizer=, ...``; return the progress, {} if there is none."""
        path, before, progress = self.checkpoint_path, previous(self.checkpoint_path), {}
        try:
            if path.exists() or before.exists():
                progress = load_checkpoint(path, **objects)
        except CheckpointError as error:
            if not before.exists():
                raise
            progress = load_checkpoint(before, **objects)
            if path.exists():
                damaged = set_aside(path, "damaged")
                print(f"minires: {error} Kept as {damaged.name}; going on from {before.name}.", file=sys.stderr)
        # Lines after the checkpoint belong to steps that will be done again.
        self.lines = [line for line in read_log(self.log_path) if line["step"] <= progress.get("step", -1)]
        return progress

    def begin(self, step):
        """Note that training sets in at this step."""
        with written_safely(self.log_path) as file:
            file.writelines(json.dumps(line).encode() + b"\n" for line in self.lines)
        self._about["status"] = "running"
        self._about["sessions"].append({"started": _now(), "from_step": step, **machine()})
        self._write_json()
        self._saved = self._began = time.monotonic()

    def log(self, line):
        """Append one line, a dict, to the log."""
        self.lines.append(line)
        with open(self.log_path, "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")

    def save_due(self):
        """Whether the latest checkpoint is ``save_every`` seconds old."""
        return time.monotonic() - self._saved >= self.save_every

    def save(self, **objects):
        """Write a checkpoint, after the log that belongs to it."""
        if self.log_path.exists():
            with open(self.log_path, "rb+") as file:
                os.fsync(file.fileno())
        save_checkpoint(self.checkpoint_path, **objects)
        self._saved = time.monotonic()

    def _checked(self, config):
        config = json.loads(json.dumps(config))  # as it will be read back: tuples are lists
        if not self.json_path.exists():
            if self.checkpoint_path.exists() or self.log_path.exists():
                raise CheckpointError(f"{self.folder}: holds a run but no run.json to say which. Use another folder.")
            return {"config": config, "deviations": self.deviations, "status": "new", "sessions": []}
        about = read_run_json(self.folder)
        for key in {**about["config"], **config}:
            there, here = about["config"].get(key, "nothing"), config.get(key, "nothing")
            if there != here:
                raise CheckpointError(
                    f"{self.folder}: holds a run with {key} = {there}, this one has {key} = {here}. "
                    "Choose another folder, or delete this one."
                )
        return about

    def _end(self, status):
        if self._about.get("status") == "running":
            self._about["status"] = status
            session = self._about["sessions"][-1]
            session["ended"], session["seconds"] = _now(), round(time.monotonic() - self._began, 1)
            self._write_json()

    def _write_json(self):
        with written_safely(self.json_path) as file:
            file.write(json.dumps(self._about, indent=1).encode() + b"\n")

    @contextmanager
    def _signals_wait(self):
        self.stop_asked = False
        if threading.current_thread() is not threading.main_thread():  # only the main thread may catch signals
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def ask(number, frame):
            self.stop_asked = True
            signal.signal(number, before[number])
            print("\nminires: saving after this step; once more stops at once.", file=sys.stderr)

        try:
            for number in before:
                signal.signal(number, ask)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def read_log(path):
    """Return the lines of a ``log.jsonl`` as dicts, up to the first that is incomplete; [] if there is no file."""
    lines = []
    if Path(path).exists():
        for text in Path(path).read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:  # the process was killed while it wrote
                break
    return lines


def read_run_json(folder):
    """Return the ``run.json`` of a run folder as a dict."""
    path = Path(folder) / "run.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file. Is {folder} the folder of a run?") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON ({error}). Delete the folder to start the run anew.") from None


@contextmanager
def owned(folder):
    """Refuse a folder that another process is writing to."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / ".lock"))
        except BlockingIOError:
            raise CheckpointError(
                f"{folder}: another process is at work there. Wait for it, or choose another folder."
            ) from None
        yield


def machine():
    """What results and times may depend on: processor, threads, kernels and versions."""
    return {
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": num_threads(),
        "kernels": kernels.chosen,
        "platform": platform.platform(),
        "versions": {
            "python": platform.python_version(),
            "minires": VERSION,
            **{name: metadata.version(name) for name in ("numpy", "numba")},
        },
    }


def _cpu_name():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _now():
    return datetime.now().astimezone().isoformat(timespec="seconds")
