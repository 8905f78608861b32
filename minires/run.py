"""The folder of a training run, written so that a kill at any moment leaves it whole, and nothing in it is ever lost.

``run.json`` says what was run, on what and when; ``log.jsonl`` how it went, a line at a time; ``checkpoint.npz`` where
to go on from.
"""

import json
import os
import signal
import sys
import threading
import time
import zlib
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import datetime

from minires.checkpoint import CheckpointError, Damaged, as_json, load_checkpoint, read_progress, save_checkpoint
from minires.checks import instance, path_of, real, shown
from minires.files import copy_aside, locked, previous, set_aside, written_safely
from minires.layer_state import counters, not_saved, set_counters
from minires.machine import machine


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
        self.folder, self.save_every = path_of("Run folder", folder), real("Run", "save_every", save_every, least=0)
        instance("Run", "config", config, (dict, type(None)), "a dict")
        instance("Run", "deviations", deviations, (list, tuple), "a list of str")
        self.config, self.deviations = json.loads(as_json("Run", "config", config or {})), list(deviations)
        self.log_path, self.json_path = self.folder / "log.jsonl", self.folder / "run.json"
        self.checkpoint_path = self.folder / "checkpoint.npz"
        self.lines = []
        self.stop_asked = False
        self._about = {}
        self._made = {}
        self._session = None  # of this process, from begin on
        self._unaccounted = False  # whether the log holds more than its lines up to the checkpoint and what is redone

    @contextmanager
    def open(self, config, notes=(), may_grow=()):
        """Own the folder while the ``with`` lasts: one process at a time, and Ctrl-C waits for the end of a step.

        Parameters
        ----------
        config : dict
            Compared with that of the run that is found there.
        notes : list of str
            Further facts for run.json, not compared.
        may_grow : names of numbers in ``config``
            They may be larger than in the run that is found there, which is then continued.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with owned(self.folder), self._signals_wait():
                self._session = None
                self._about = self._checked({**self.config, **config}, list(notes), may_grow)
                try:
                    yield self
                except BaseException as error:
                    with suppress(OSError):  # what went wrong first is what to tell
                        self._end(f"{type(error).__name__}: {error}")
                    raise
                self._end("finished")
        except OSError as error:
            if error.filename is None or str(error.filename).startswith(str(self.folder)):
                raise _unusable(self.folder, error) from None
            raise

    def restore(self, check=None, **objects):
        """Load the latest whole checkpoint into ``net=, optimizer=, ...``; return the progress, {} if there is none.

        ``check`` is that of ``load_checkpoint``.
        """
        progress, net = {}, objects["net"]
        self._made = counters(net, settings=True)  # to know the counters among the settings by
        if self._checkpoints():
            progress = self._load(objects, check)
        elif self._about.get("status") == "finished":
            raise CheckpointError(
                f"{self.folder}: a finished run, but its {self.checkpoint_path.name} is gone. Put it back, or choose "
                "another folder to train anew."
            )
        run, step = progress.pop("run", {}), progress.get("step", -1)
        kept = run.get("lines", 0)
        if run.get("changed"):
            set_counters(net, run["changed"])
        lines, rest = _parse(self.log_path.read_bytes() if self.log_path.exists() else b"")

        def damaged_at(i, line):  # what the checkpoint does not count, and is not of steps after it, is none of ours
            return type(line.get("step")) is not int or (0 < kept <= i and line["step"] <= step)

        good = next((i for i, line in enumerate(lines) if damaged_at(i, line)), len(lines))
        # Lines after the checkpoint belong to steps that will be done again.
        self.lines = [line for line in lines[:good] if line["step"] <= step]
        cut_by_a_kill = rest.startswith(b"{") and b"\n" not in rest
        damaged = good < len(lines) or bool(rest) and not cut_by_a_kill
        self._unaccounted = damaged or (bool(lines) and not progress)
        if damaged:
            _say(f"{self.log_path}: damaged after line {good}; the rest of it is left out.")
        if len(self.lines) < kept:
            _say(f"{self.log_path}: {kept - len(self.lines)} of the {kept} lines up to step {step} are missing.")
        elif run.get("crc") not in (None, zlib.crc32(_text(self.lines[:kept]))):
            _say(f"{self.log_path}: changed since step {step}. Restore the {kept} lines up to there from a copy.")
        held = not_saved(net)
        if held:
            _say(f"a checkpoint does not hold {', '.join(held)}; if it changes, a resumed run is not the same.")
        return progress

    def begin(self, step):
        """Note that training sets in at this step."""
        session = {"started": _now(), "from_step": step, **machine()}
        self._about |= {"status": "running", "sessions": [*self._about["sessions"], session]}
        self._write_json()  # before the log: a log without it would belong to nobody
        self._session, self._saved, self._began = session, time.monotonic(), time.monotonic()
        text = _text(self.lines)
        if self.log_path.exists() and self.log_path.read_bytes() == text:
            return
        if self._unaccounted:
            _say(f"the log as it was is kept as {copy_aside(self.log_path, 'before').name}.")
        with written_safely(self.log_path) as file:
            file.write(text)

    def log(self, line):
        """Append one line, a dict, to the log."""
        self.lines.append(line)
        with open(self.log_path, "ab") as file:
            file.write(_text([line]))

    def save_due(self):
        """Whether the latest checkpoint is ``save_every`` seconds old."""
        return time.monotonic() - self._saved >= self.save_every

    def save(self, **objects):
        """Write a checkpoint, after the log that belongs to it."""
        if self.log_path.exists():
            with open(self.log_path, "rb+") as file:
                os.fsync(file.fileno())
        plain = counters(objects["net"], settings=True)
        changed = {path: value for path, value in plain.items() if value != self._made.get(path, value)}
        run = {"config": self._about.get("config", {}), "lines": len(self.lines), "changed": changed}
        run["crc"] = zlib.crc32(_text(self.lines))
        save_checkpoint(self.checkpoint_path, **objects, run=run)
        self._saved = time.monotonic()

    def _load(self, objects, check):
        def fits(progress):
            run = progress.get("run", {})
            sound = isinstance(run, dict) and type(run.get("lines", 0)) is int
            if not sound or not isinstance(run.get("changed", {}), dict):
                raise ValueError(f"what it says of its run is damaged: {shown(run)}")
            if check is not None:
                check({name: value for name, value in progress.items() if name != "run"})

        objects["check"] = fits
        path, *before = self._checkpoints()
        try:
            return load_checkpoint(path, **objects)
        except Damaged as error:
            if not before:
                raise
            try:
                progress = load_checkpoint(*before, **objects)
            except Damaged:
                raise CheckpointError(
                    f"{self.folder}: {path.name} and {before[0].name} are both damaged or cut short. Restore one from "
                    "a copy, or choose another folder."
                ) from None
            damaged = set_aside(path, "damaged")  # or the next checkpoint would take the place of the good one
            _say(f"{error} Kept as {damaged.name}; going on from {before[0].name}.")
            return progress

    def _checkpoints(self):
        """The checkpoint and the one before it, as far as they are there."""
        return [path for path in (self.checkpoint_path, previous(self.checkpoint_path)) if path.exists()]

    def _checked(self, config, notes, may_grow):
        config = json.loads(json.dumps(config))  # as it will be read back: tuples are lists
        about = self._found()
        if about is None:
            new = {"config": config, "deviations": self.deviations, "notes": notes}
            return new | {"status": "new", "sessions": []}
        found = about["config"]
        if "rule" in config:
            found.setdefault("rule", "SGD")  # the only one there was before it was written down
        for key in {**found, **config}:
            there, here = found.get(key, "nothing"), config.get(key, "nothing")
            if key in may_grow and type(there) is int and here > there:
                found[key] = here
            elif there != here:
                raise CheckpointError(
                    f"{self.folder}: holds a run with {key} = {there}, this one has {key} = {here}. "
                    "Choose another folder, or delete this one."
                )
        return about

    def _found(self):
        """What run.json says; if it is damaged or gone, as much as the checkpoint knows; None if nothing was begun."""
        why = ""
        if self.json_path.exists():
            try:
                return read_run_json(self.folder)
            except Damaged as error:
                why = error
        paths, config = self._checkpoints(), None
        for path in paths:
            with suppress(CheckpointError, KeyError, TypeError):
                config = config or dict(read_progress(path)["run"]["config"])
        if config is None and (paths or not why and read_log(self.log_path)):
            raise CheckpointError(f"{self.folder}: holds a run but no run.json to say which. Use another folder.")
        if why:
            _say(f"{why} Kept as {copy_aside(self.json_path, 'damaged').name}; begun anew.")
        return config and {"config": config, "deviations": self.deviations, "status": "unknown", "sessions": []}

    def _end(self, status):
        if self._session is not None:
            self._session |= {"ended": _now(), "seconds": round(time.monotonic() - self._began, 1)}
        elif status != "finished" or self._about.get("status") in ("new", "finished"):
            return  # else it was killed after its last checkpoint: there was nothing left to do
        self._about["status"] = status
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


class Unrecorded:
    """Stands in where no run folder is given: the log stays in memory, and nothing is saved."""

    stop_asked = False

    def __init__(self):
        self.lines = []

    def open(self, config, notes, may_grow):
        return nullcontext()

    def restore(self, check, **parts):
        return {}

    def begin(self, step):
        pass

    def log(self, line):
        self.lines.append(line)

    def save_due(self):
        return False

    def save(self, **parts):
        pass


def read_log(path):
    """Return the lines of a ``log.jsonl`` as dicts, up to the first that is none; [] if there is no file."""
    path = path_of("read_log path", path)
    return _parse(path.read_bytes())[0] if path.exists() else []


def _parse(text):
    """(the lines as dicts, up to the first that is incomplete or damaged; the bytes from there on)."""
    lines, rest = [], text
    while rest:
        first, _, after = rest.partition(b"\n")
        try:
            line = json.loads(first.decode())
        except (ValueError, RecursionError):  # not JSON, or not UTF-8; or lists in lists in lists
            break
        if not isinstance(line, dict):
            break
        lines.append(line)
        rest = after
    return lines, rest


def _text(lines):
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def read_run_json(folder):
    """Return the ``run.json`` of a run folder as a dict; "config" and "sessions" are there."""
    path = path_of("read_run_json folder", folder) / "run.json"
    try:
        about = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file. Is {folder} the folder of a run?") from None
    except OSError as error:
        raise CheckpointError(f"{path}: could not be read ({error.strerror or error}).") from None
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path}: not JSON ({error}).") from None
    fits = isinstance(about, dict) and isinstance(about.get("config"), dict)
    if not fits or not all(isinstance(about.setdefault(name, []), list) for name in ("sessions", "deviations")):
        raise Damaged(f'{path}: expected {{"config": {{...}}, ...}}. Did minires write it?')
    return about


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
        except OSError as error:
            raise _unusable(folder / ".lock", error) from None
        yield


def _unusable(path, error):
    """An error of the system in one line that says what is safe."""
    return CheckpointError(
        f"{error.filename or path}: could not be read or written ({error.strerror or error}). What was saved before is "
        "unharmed; make room or choose another folder, and go on from there."
    )


def _say(text):
    print(f"minires: {text}", file=sys.stderr)


def _now():
    return datetime.now().astimezone().isoformat(timespec="seconds")
