"""The tests' side of the pipe: a submission as a namespace whose functions, classes and layers live elsewhere."""

import builtins
import copy
import json
import queue
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np

from minires.course import jail, wire
from minires.layer import Layer

BOOT = "import sys, json; a = json.loads(sys.argv[1]); sys.path[:0] = a.pop('path'); "
BOOT += "from minires.course import worker; worker.main(**a)"
START_SECONDS = 60


class SubmissionError(AssertionError):
    """The submission stopped, took too long, or sent nonsense: its test fails, and nothing else does."""


class Session:
    """One process with one submission in it; a new one is started when it has died.

    Parameters
    ----------
    origin : path
        Holds the submission's files. Each process gets a copy beside it, the only place that it may write to.
    limits : dict
        seconds (per test), memory_mb, file_mb, disk_mb, processes.
    """

    def __init__(self, origin, limits):
        self.origin, self.limits, self.process = Path(origin), limits, None
        self.starts = self.lost = self.in_vain = 0
        self.why = ""
        self.task, self.lost_in, self.verdict = "", Counter(), ""
        self.begin_test()

    def begin_test(self, task=None):
        self.task = self.task if task is None else task
        self.deadline = time.monotonic() + self.limits["seconds"]
        self.used = jail.processor_seconds(self.pids) if self.process else 0

    def is_late(self):
        """Whether this test has had its time: of the processor, or where that was kept waiting, three times as much."""
        late = time.monotonic() - self.deadline
        if late <= 0:
            return False
        used = jail.processor_seconds(self.pids) - self.used if jail.LINUX else self.limits["seconds"]
        return used >= self.limits["seconds"] or late > 2 * self.limits["seconds"]

    # -- the process ------------------------------------------------------------------------------------------

    def start(self):
        if self.in_vain >= 2:
            raise SubmissionError(f"left out, because the file could not be loaded twice: {self.why}")
        self.starts += 1
        self.folder = self.origin.with_name(f"work{self.starts}")
        shutil.copytree(self.origin, self.folder)
        self.limits["user"] = jail.hand_over(self.folder)
        path = [str(Path(__file__).parents[2]), str(Path(np.__file__).parents[1])]
        arguments = {"path": path, "folder": str(self.folder), "limits": self.limits}
        command = [*jail.prefix(), sys.executable, "-I", "-X", "utf8", "-c", BOOT, json.dumps(arguments)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env=jail.environment(self.folder),
            start_new_session=True,
            preexec_fn=jail.die_with_parent if jail.LINUX else None,
        )
        self.mirrors, self.roots, self.dropped = wire.Mirrors("p", keep=False), weakref.WeakValueDictionary(), []
        self.turn, self.functions, self.modules, self.objects = 0, [], {}, weakref.WeakValueDictionary()
        self.inbox = queue.Queue(maxsize=2)
        threading.Thread(target=_read, args=(self.process.stdout, self.inbox), daemon=True).start()
        self.pids, self.verdict = [self.process.pid], ""
        self.used, self.deadline = 0, time.monotonic() + START_SECONDS
        threading.Thread(target=self.watch, args=(self.process,), daemon=True).start()
        self.wait()
        self.pids = list(jail.family(self.pids))
        self.begin_test()

    def stop(self):
        """Kill the process, all that it started, and every process in its group."""
        if self.process is None:
            return
        process, self.process = self.process, None
        jail.kill(self.pids)
        jail.remove(self.folder)
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(queue.Empty):
            while True:  # the reader must not wait for room in the inbox for ever
                self.inbox.get_nowait()

    def watch(self, process):
        """Runs in a thread while a process lives, whatever the tests do meanwhile: kill it when it takes too much."""
        while self.process is process:
            why = f"took longer than {self.limits['seconds']} seconds" if self.is_late() else ""
            why = why or jail.excess(self.pids, self.folder, self.limits)
            if why and self.process is process:
                self.verdict = f"{why}, and was stopped."
                jail.kill(self.pids)
                return
            time.sleep(0.25)

    def fail(self, why):
        self.lost += 1
        self.lost_in[self.task] += 1
        self.stop()
        self.why = self.verdict or why
        raise SubmissionError(self.why)

    def wait(self):
        """The next message, or SubmissionError."""
        message = nothing = object()
        while message is nothing:
            with suppress(queue.Empty):
                message = self.inbox.get(timeout=0.25)
            if self.verdict:
                self.fail(self.verdict)
        if isinstance(message, Exception):
            self.fail(f"sent {message}, and was stopped.")
        if message is None:
            self.fail("its process ended in the middle of a call.")
        return message

    # -- messages ---------------------------------------------------------------------------------------------

    def module(self, name):
        if self.lost_in[self.task] >= 2:
            raise SubmissionError("left out, because two tests of this task had to be stopped before.")
        if self.process is None:
            self.start()
        if name not in self.modules:
            before = self.lost
            try:
                self.modules[name] = self.ask("import", name=name)
                self.in_vain = 0
            finally:
                self.in_vain += self.lost > before
        return self.modules[name]

    def ask(self, do, target=None, **more):
        """Send one request, serve the functions it calls back, and return the result or raise its error."""
        if self.process is None:
            raise SubmissionError("its process has been stopped.")
        may_write = target is not None and target.handle in self.roots
        self.send({"do": do, "target": target and target.handle, **more})
        while True:
            try:
                header = self.take(self.wait(), may_write)
                if "call" not in header:
                    break
                function, args = self.functions[header["call"]], self.decode(header["args"])
            except SubmissionError:
                raise
            except Exception as error:
                self.fail(f"sent what the protocol does not know ({type(error).__name__}), and was stopped.")
            try:
                value = function(*args)  # it has a name here, so that its arrays live until they are sent
                self.send({"result": self.encode(value)})
            except SubmissionError:
                raise
            except Exception as error:
                self.send({"error": f"{type(error).__name__}: {error}"[:1000]})
        if "error" in header:
            _raise(header)
        try:
            return self.decode(header["result"])
        except Exception as error:
            self.fail(f"sent what the protocol does not know ({type(error).__name__}), and was stopped.")

    def send(self, header):
        trees = [[handle, self.mirrors.tree(root)] for handle, root in list(self.roots.items())]
        header |= {"trees": trees, "members": self.mirrors.members()}
        header["arrays"], bodies = self.mirrors.changes()
        header["released"], self.mirrors.released = self.mirrors.released, []
        header["dropped"], self.dropped = self.dropped, []
        self.turn += 1
        header["turn"] = self.turn
        try:
            wire.send(self.process.stdin, header, bodies)  # who does not read is late, and then this ends
        except OSError:
            self.fail("its process is gone.")

    def take(self, message, may_write):
        header, body = dict(message[0]), message[1]  # a copy, as the reading thread keeps the header till the next one
        if header["turn"] != self.turn:
            self.fail("sent an answer that nobody had asked for, and was stopped.")
        given = {key for key, *_ in header["arrays"] if key[0] == "p"} - self._own_arrays()
        if given and not may_write:
            raise SubmissionError("writes into an array that it was given. Make a new one.")
        header["alive"] = self.mirrors.apply(header["arrays"], body)
        for key, kind, data, grad in header["members"]:
            if key in self.mirrors.things:
                self.mirrors.member(key, kind, data, grad)
        for handle, tree in header["trees"]:
            if handle in self.roots:
                self.mirrors.put_tree(self.roots[handle], tree, Mirror)
        return header

    def _own_arrays(self):
        """Keys of the arrays that Parameters and Buffers hold: those may change."""
        return {key for member in self.mirrors.members() for key in member[2:]}

    def encode(self, value):
        return self.mirrors.encode(value, self._encode_other)

    def _encode_other(self, value):
        if isinstance(value, Mirror) and value._remote is not None:
            return {"layer": value._remote.handle}
        if isinstance(value, Remote):
            return {"object": value._remote.handle}
        if callable(value) and not isinstance(value, (type, Layer)):
            self.functions.append(value)
            return {"call": len(self.functions) - 1}
        raise TypeError(f"a {type(value).__name__} cannot be handed to a submission.")

    def decode(self, form):
        return self.mirrors.decode(form, self._decode_other)

    def _decode_other(self, kind, value):
        if kind == "layer":
            handle, tree, text = value
            root = self.roots.get(handle)
            if root is None:
                root = self.roots[handle] = Mirror(_Handle(self, handle), str(text))
            self.mirrors.put_tree(root, tree, Mirror)
            return root
        handle, name, is_callable = value
        remote = self.objects.get(handle)
        if remote is None:
            remote = self.objects[handle] = (Function if is_callable else Remote)(_Handle(self, handle), str(name))
        return remote


class _Handle:
    """What an object of the submission is known by; told to the other side when nobody needs it any more."""

    def __init__(self, session, handle):
        self.session, self.handle, self.process = session, handle, session.process

    def ask(self, do, **more):
        if self.session.process is not self.process:
            raise SubmissionError("its process has been stopped.")
        return self.session.ask(do, self, **more)

    def call(self, name, args, kwargs):
        return self.ask("call", name=name, args=self.session.encode(args), kwargs=self.session.encode(kwargs))

    def __del__(self):
        if self.session.process is self.process:
            self.session.dropped.append(self.handle)


class Remote:
    """Any other object of the submission: attributes and methods are asked for."""

    def __init__(self, remote, name):
        vars(self).update(_remote=remote, _name=name)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._remote.ask("get", name=name)

    def __setattr__(self, name, value):
        self._remote.ask("set", name=name, value=self._remote.session.encode(value))

    def __deepcopy__(self, memo):
        return self._remote.ask("copy")

    def __repr__(self):
        return f"<{self._name} of the submission>"


class Function(Remote):
    """A function, class or other callable of the submission."""

    def __call__(self, *args, **kwargs):
        return self._remote.call("", args, kwargs)


class Mirror(Layer):
    """A Layer of the submission: the same tree of Parameters and Buffers; forward and backward happen elsewhere."""

    __slots__ = ("_remote", "_text")  # and so not among the attributes, where a Layer looks for its members

    def __init__(self, remote=None, text="Layer"):
        self._remote, self._text = remote, text

    def forward(self, *args, **kwargs):
        return self._remote.call("forward", args, kwargs)

    def backward(self, *args, **kwargs):
        return self._remote.call("backward", args, kwargs)

    def __getattr__(self, name):
        if self._remote is None or name.startswith("__"):
            raise AttributeError(name)
        return self._remote.ask("get", name=name)

    def __deepcopy__(self, memo):
        memo[id(self)] = new = Mirror(self._remote and self._remote.ask("copy")._remote, self._text)
        if new._remote is not None:
            new._remote.session.roots[new._remote.handle] = new
        vars(new).update({name: copy.deepcopy(value, memo) for name, value in vars(self).items()})
        return new

    def _who(self):
        return self._text

    __repr__ = _who


def _read(stream, inbox):
    """Runs in a thread: put every message of the submission into the inbox, then None."""
    message = True
    while message is not None:
        try:
            message = wire.receive(stream)
        except (wire.WireError, OSError, ValueError) as error:
            inbox.put(error)
            message = None
        inbox.put(message)


def _raise(header):
    """Raise what the submission's code raised, as the built-in exception that it is."""
    kinds, text, place = header["error"], str(header["text"]), header["place"]
    where = f" ({Path(place[0]).name}, line {place[1]}{place[2] and ', in ' + place[2]})" if place else ""
    for kind in kinds:
        builtin = getattr(builtins, kind, None)
        if isinstance(builtin, type) and issubclass(builtin, Exception):
            try:
                error = builtin(text + where)
            except TypeError:
                break
            raise error
    raise SubmissionError(f"raised {kinds[0]}: {text}{where}")
