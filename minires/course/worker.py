"""The process that a submission runs in: it answers calls, and knows neither tests nor answers."""

import copy
import os
import signal
import traceback
from pathlib import Path

from minires.course import jail, wire
from minires.course.submission import load
from minires.layer import Layer

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
    wire.send(answers, {"ready": True})
    Worker(Path(folder), requests, answers).serve()
    os._exit(0)  # nothing left by atexit runs


class Worker:
    def __init__(self, folder, requests, answers):
        self.folder, self.requests, self.answers = folder, requests, answers
        self.mirrors = wire.Mirrors("w", keep=True)
        self.objects, self.count = {}, 0

    def serve(self):
        while (message := wire.receive(self.requests)) is not None:
            self.answer(self.take(message))

    def take(self, message):
        header, body = message
        self.turn = header["turn"]
        self.mirrors.release(header["released"])
        for handle in header["dropped"]:
            self.objects.pop(handle, None)
        self.mirrors.apply(header["arrays"], body)
        for handle, tree in header["trees"]:
            self.mirrors.put_tree(self.objects[handle], tree)
        for member in header["members"]:
            self.mirrors.member(*member)
        return header

    def give(self, header):
        trees = [[key, self.mirrors.tree(thing)] for key, thing in self.objects.items() if isinstance(thing, Layer)]
        header |= {"turn": self.turn, "trees": trees, "members": self.mirrors.members()}
        header["arrays"], bodies = self.mirrors.changes()
        wire.send(self.answers, header, bodies)

    def answer(self, header):
        try:
            result = self.mirrors.encode(self.perform(header), self.encode)
            self.give({"result": result})
        except BaseException as error:  # also SystemExit and KeyboardInterrupt: they cost one call
            places = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).parent == self.folder]
            place = [places[-1].filename, places[-1].lineno, places[-1].name] if places else None
            if isinstance(error, SyntaxError) and error.filename:
                place = [error.filename, error.lineno, ""]
            kinds = [kind.__name__ for kind in type(error).__mro__]
            self.give({"error": kinds, "text": _text(error), "place": place})

    def perform(self, header):
        do, target = header["do"], self.objects.get(header.get("target"))
        if do == "import":
            return load(self.folder / header["name"])
        if do == "get":
            return getattr(target, header["name"])
        if do == "set":
            return setattr(target, header["name"], self.mirrors.decode(header["value"], self.decode))
        if do == "copy":
            return copy.deepcopy(target)
        args = self.mirrors.decode(header["args"], self.decode)
        kwargs = self.mirrors.decode(header["kwargs"], self.decode)
        return (getattr(target, header["name"]) if header["name"] else target)(*args, **kwargs)

    # -- objects ----------------------------------------------------------------------------------------------

    def encode(self, value):
        """Whatever else the student's code gives stays here; the other side gets a handle."""
        handle = next((key for key, thing in self.objects.items() if thing is value), None)
        if handle is None:
            self.count += 1
            handle = self.count
            self.objects[handle] = value
        if isinstance(value, Layer):
            return {"layer": [handle, self.mirrors.tree(value), value._who()[:200]]}
        return {"object": [handle, type(value).__name__, callable(value)]}

    def decode(self, kind, value):
        if kind in ("layer", "object"):
            return self.objects[value]
        if kind == "call":
            return lambda *args: self.call_back(value, args)
        raise wire.WireError(kind)

    def call_back(self, number, args):
        """A function of the tests, handed to the student's code: ask the other side for its value."""
        self.give({"call": number, "args": self.mirrors.encode(list(args), self.encode)})
        message = wire.receive(self.requests)
        if message is None:
            os._exit(0)
        header = self.take(message)
        if "error" in header:
            raise RuntimeError(header["error"])
        return self.mirrors.decode(header["result"], self.decode)


def _text(error):
    try:
        return str(error)[:MOST_TEXT]
    except BaseException:  # an exception class of their own
        return ""
