"""The process that a submission runs in: it answers calls, and knows neither tests nor answers."""

import copy
import os
import signal
import traceback
from pathlib import Path

from minires.course import jail, load, wire

MOST_TEXT = 3000


def main(folder, limits):
    """Called by session.py in a fresh interpreter: shut the doors, then answer until the pipe closes."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    jail.enter(folder, limits)
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file too large is then an OSError in the student's line
    worker = Worker(Path(folder), requests, answers)
    worker.send({"result": None})  # ready
    while True:
        worker.answer(worker.take())


class Worker(wire.End):
    def __init__(self, folder, requests, answers):
        super().__init__("w", requests, answers, {})
        self.folder = folder

    def take(self):
        """The next request; what comes with it is in place then."""
        message = self.receive()
        if message is None:
            os._exit(0)  # nothing left by atexit runs
        header, body = message
        self.turn = header["turn"]
        for key in header["released"]:
            self.forget(key, id(self.things.pop(key, None)))
        self.apply(header["things"], body)
        return header

    def answer(self, header):
        try:
            self.send({"result": self.encode(self.perform(header))})
        except BaseException as error:  # also SystemExit and KeyboardInterrupt: they cost one call
            places = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == self.folder]
            place = [places[-1].filename, places[-1].lineno, places[-1].name] if places else None
            kinds = [kind.__name__ for kind in type(error).__mro__]
            self.send({"error": kinds, "text": _text(error), "place": place})

    def perform(self, header):
        do, target = header["do"], self.things.get(header["target"])
        if do == "import":
            return load(self.folder / header["name"])
        if do == "get":
            return getattr(target, header["name"])
        if do == "set":
            return setattr(target, header["name"], self.decode(header["value"]))
        if do == "copy":
            return copy.deepcopy(target, {id(thing): thing for thing in map(self.things.get, header["shared"])})
        method = getattr(target, header["name"]) if header["name"] else target
        return method(*self.decode(header["args"]), **self.decode(header["kwargs"]))

    def decode(self, form):
        if not isinstance(form, dict) or "call" not in form:
            return super().decode(form)

        def call_back(*args):
            """A function of the tests, handed to the student's code: ask the other side for its value."""
            self.send({"call": form["call"], "args": self.encode(args)})
            header = self.take()
            if "error" in header:
                raise RuntimeError(header["error"])
            return self.decode(header["result"])

        return call_back


def _text(error):
    try:
        return str(error)[:MOST_TEXT]
    except BaseException:  # an exception class of their own
        return ""
