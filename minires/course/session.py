"""The tests' side of the pipe: a submission as a namespace whose functions, classes and layers live elsewhere."""

import builtins
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

import numpy as np

from minires.course import jail, wire
from minires.layer import Layer

BOOT = "import sys, json; a = json.loads(sys.argv[1]); sys.path[:0] = a.pop('path'); "
BOOT += "from minires.course import worker; worker.main(**a)"
START_SECONDS = 60
STOPPED = "its process has been stopped."


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
        self.starts = self.in_vain = 0
        self.task, self.lost_in, self.verdict = "", defaultdict(list), ""  # why processes were lost, by task
        self.begin_test()

    def begin_test(self, task=""):
        self.task = task
        self.allow(self.limits["seconds"])

    def allow(self, seconds):
        self.deadline, self.used = time.monotonic() + seconds, jail.processor_seconds(os.getpid())

    def is_late(self):
        """Whether this test has had its time: of the processor, or where that was kept waiting, three times as much."""
        late, seconds = time.monotonic() - self.deadline, self.limits["seconds"]
        if late <= 0:
            return False
        return not jail.LINUX or late > 2 * seconds or jail.processor_seconds(os.getpid()) - self.used >= seconds

    # -- the process ------------------------------------------------------------------------------------------

    def start(self):
        self.starts += 1
        self.folder = self.origin.with_name(f"work{self.starts}")
        shutil.copytree(self.origin, self.folder)
        self.limits["user"] = jail.hand_over(self.folder)
        path = [str(Path(__file__).parents[2]), str(Path(np.__file__).parents[1])]
        arguments = {"path": path, "folder": str(self.folder), "limits": self.limits}
        self.process = subprocess.Popen(
            [*jail.prefix(), sys.executable, "-I", "-X", "utf8", "-c", BOOT, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env=jail.environment(self.folder),
            start_new_session=True,
            preexec_fn=jail.die_with_parent if jail.LINUX else None,
        )
        self.modules, self.verdict, self.end = {}, "", Tests(self)
        self.allow(START_SECONDS)
        threading.Thread(target=self.watch, args=(self.process,), daemon=True).start()
        self.end.take()
        self.begin_test(self.task)

    def stop(self):
        """Kill the process and all that it has started."""
        if self.process is not None:
            process, self.process = self.process, None
            jail.kill(process, os.getpid())
            jail.remove(self.folder)
            with suppress(OSError):
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)

    def watch(self, process):
        """Runs in a thread while a process lives, whatever the tests do meanwhile: kill it when it takes too much."""
        while self.process is process:
            why = f"took longer than {self.limits['seconds']} seconds" if self.is_late() else ""
            why = why or jail.excess(os.getpid(), self.folder, self.limits)
            if why and self.process is process:
                self.verdict = f"{why}, and was stopped."
                jail.kill(process, os.getpid())
                return
            time.sleep(0.25)

    def fail(self, why):
        self.stop()
        self.verdict = self.verdict or why
        self.lost_in[self.task].append(self.verdict)
        raise SubmissionError(self.verdict)

    def module(self, name):
        if len(lost := self.lost_in[self.task]) >= 2:
            raise SubmissionError(f"left out, because two tests of this task had to be stopped before: {lost[-1]}")
        if self.process is None and self.in_vain >= 2:
            raise SubmissionError(f"left out, because the file could not be loaded twice: {self.verdict}")
        if self.process is None:
            self.start()
        if name not in self.modules:
            self.in_vain += 1  # until it is loaded
            self.modules[name] = self.end.ask("import", name=name)
            self.in_vain = 0
        return self.modules[name]


class Tests(wire.End):
    """The tests' end of the pipe to one process. Twins live as long as the tests need them."""

    def __init__(self, session):
        super().__init__("p", session.process.stdout, session.process.stdin, weakref.WeakValueDictionary())
        self.session, self.process, self.functions = session, session.process, []

    def ask(self, do, target=None, **more):
        """Send one request, serve the functions it calls back, and return the result or raise its error."""
        if self.session.process is not self.process:
            raise SubmissionError(STOPPED)
        alive = list(self.things.values())  # noqa: F841  the answer may speak of any of them
        self.give({"do": do, "target": None if target is None else self.key_of(target), **more})
        while True:
            kind, value, alive_too = self.take()  # noqa: F841
            if kind == "result":
                return value
            if kind == "error":
                raise value
            function, args = value
            try:
                value = function(*args)  # it has a name here, so that its arrays live until they are sent
                answer = {"result": self.encode(value)}
            except SubmissionError:
                raise
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"[:1000]}
            self.give(answer)

    def give(self, header):
        self.turn += 1
        try:
            self.send(header)  # who does not read is late, and then this ends
        except OSError:
            self.session.fail("its process is gone.")

    def take(self):
        """("result", value), ("error", exception) or ("call", (function, args)); and all that came with it."""
        try:
            message = self.receive()
            if message is None:
                self.session.fail("its process ended in the middle of a call.")
            header, body = message
            if header["turn"] != self.turn:
                self.session.fail("sent an answer that nobody had asked for, and was stopped.")
            own = {self.key_of(part) for thing in list(self.things.values()) for part in wire.parts(thing)}
            written = {key for key, kind, *_ in header["things"] if kind == "array" and key[0] == "p"} - own
            mine = [self.things[key] for key in written if key in self.things and self.things[key].flags.writeable]
            before = [array.copy() for array in mine]
            new = self.apply(header["things"], body)
            for array, values in zip(mine, before):
                array[...] = values
            if "error" in header:
                kind, value = "error", _error(**header)
            elif "call" in header:
                kind, value = "call", (self.functions[header["call"]], self.decode(header["args"]))
            else:
                kind, value = "result", self.decode(header["result"])
        except SubmissionError:
            raise
        except (wire.WireError, OSError) as error:
            self.session.fail(f"sent {error}, and was stopped.")
        except Exception as error:
            self.session.fail(f"sent what the protocol does not know ({type(error).__name__}), and was stopped.")
        if written:
            raise SubmissionError("writes into an array that it was given. Make a new one.")
        return kind, value, new

    def encode(self, value):
        if callable(value) and not isinstance(value, (type, Layer, Remote)):  # a function of the tests
            self.functions.append(value)
            return {"call": len(self.functions) - 1}
        return super().encode(value)

    def key_of(self, thing):
        if id(thing) not in self.keys and isinstance(thing, (Mirror, Remote)):
            raise SubmissionError(STOPPED)
        if id(thing) not in self.keys and not isinstance(thing, (np.ndarray, *wire.ARRAYS.values())):
            raise TypeError(f"a {type(thing).__name__} cannot be handed to a submission.")
        return super().key_of(thing)

    def twin(self, key, kind, name):
        if kind == "layer":
            return Mirror(self, *str(name).split("\n")[:2])
        return {"function": Function, "object": Remote}[kind](self, str(name))

    def agree(self, layer, training, cached, members):
        super().agree(layer, training, cached, members)
        if cached and layer._cache is None:
            layer._remember(np.zeros(0))
        for name, _ in layer._members():
            del vars(layer)[name]
        vars(layer).update(members)

    def call(self, target, name, args, kwargs):
        return self.ask("call", target, name=name, args=self.encode(args), kwargs=self.encode(kwargs))

    def copy(self, thing, memo):
        """A deep copy of a thing, which shares with it whatever the copy's memo says that both shall have."""
        shared = [key for key, known in list(self.things.items()) if memo.get(id(known)) is known]
        memo[id(thing)] = self.ask("copy", thing, shared=shared)
        return memo[id(thing)]


class Remote:
    """Any other object of the submission: attributes and methods are asked for."""

    def __init__(self, end, name):
        vars(self).update(_end=end, _name=name)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._end.ask("get", self, name=name)

    def __setattr__(self, name, value):
        self._end.ask("set", self, name=name, value=self._end.encode(value))

    def __deepcopy__(self, memo):
        return self._end.copy(self, memo)

    def __repr__(self):
        return f"<{self._name} of the submission>"


class Function(Remote):
    """A function, class or other callable of the submission."""

    def __call__(self, *args, **kwargs):
        return self._end.call(self, "", args, kwargs)


class Mirror(Layer):
    """A Layer of the submission: the same tree of Parameters and Buffers; forward and backward happen elsewhere."""

    __slots__ = ("_end", "_name", "_place")  # and so not among the attributes, where a Layer looks for its members

    def __init__(self, end, name, place=""):
        self._end, self._name, self._place = end, name, place

    def forward(self, *args, **kwargs):
        return self._end.call(self, "forward", args, kwargs)

    def backward(self, *args, **kwargs):
        return self._end.call(self, "backward", args, kwargs)

    __getattr__, __deepcopy__ = Remote.__getattr__, Remote.__deepcopy__

    def _who(self):
        return self._name

    __repr__ = _who


def _error(error, text, place, **_):
    """What the submission's code raised, as the built-in exception that it is."""
    where = f" ({Path(place[0]).name}, line {place[1]}{place[2] and ', in ' + place[2]})" if place else ""
    for kind in error:
        builtin = getattr(builtins, kind, None)
        if isinstance(builtin, type) and issubclass(builtin, Exception):
            with suppress(TypeError):
                return builtin(str(text) + where)
    return SubmissionError(f"raised {error[0]}: {text}{where}")
