"""A process that times one engine, and both ends of the pipe to it: requests and answers of a line of JSON each.

The process of PyTorch imports this file by itself and nothing else of minires, so it holds what a user of PyTorch would
have in memory.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

UPDATE = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}  # of SGD, in every engine
HERE = str(Path(__file__).parents[2])  # where the package lies, installed or not


class Engine:
    """The end of the one who asks. ``answer`` is that to "begin", ``start`` the seconds until it came."""

    def __init__(self, title, command, arguments, environment=None):
        self.title = title
        begin = time.perf_counter()
        path = {"PYTHONPATH": os.pathsep.join([HERE, *sys.path])}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(
            [sys.executable, *command], **pipes, env=os.environ | (environment or {}) | path
        )
        self.answer = self.ask("begin", *arguments)
        self.start = time.perf_counter() - begin

    def ask(self, method, *arguments):
        line = ""
        with suppress(BrokenPipeError):
            print(json.dumps([method, *arguments]), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        if not line:
            self.close()
            status = self.process.returncode
            why = "killed: out of memory? Try a smaller --batch" if status == -9 else f"exit status {status}, see above"
            raise ChildProcessError(f"bench: the process of {self.title} ended ({why}).")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            self.close()
            raise ValueError(f"bench: {answer['error']}")
        return answer

    def close(self):
        with suppress(BrokenPipeError):
            self.process.stdin.close()  # it has no more to read, and ends
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def serve(work_class):
    """The end of the process: answer ``[method, *arguments]``; "begin" makes the ``Work`` that is asked from then on.

    What anybody prints meanwhile goes to stderr: only answers go to stdout. On Ctrl-C the one who asks decides.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    work = None
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            if method == "begin":
                work, arguments = work_class(*arguments), ()
            answer = getattr(work, method)(*arguments)
        except (ValueError, ArithmeticError) as error:  # of a person's making, such as images with too few channels
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers, flush=True)


class Work:
    """What a process does with its ``net``: ``step``, a training step that returns the loss, and ``forward`` alone."""

    def begin(self):
        return {"losses": [self.step(), self.step()]}

    def train(self, steps):
        self.net.train()
        return seconds(self.step, steps)

    def infer(self, steps):
        self.net.eval()
        return seconds(self.forward, steps)

    def peak(self):
        return peak_memory()


def random_batch(batch, input_shape, classes):
    """Return (x, labels), the same in every process."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((batch, *input_shape), np.float32), rng.integers(classes, size=batch)


def seconds(step, steps):
    """Run ``step`` so many times; return how long each took."""
    taken = []
    for _ in range(steps):
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return taken


def peak_memory():
    """The most memory this process has held so far, in bytes; None where the system does not say."""
    with suppress(OSError, StopIteration):  # first choice: getrusage also counts what the parent held before
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    with suppress(ImportError):
        from resource import RUSAGE_SELF, getrusage

        return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
