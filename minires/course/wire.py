"""What crosses the pipe between the tests and a submission: numbers, text and arrays, nothing that can run.

A message is a JSON header and the bytes of arrays, both of bounded size; no pickle. What both ends have (arrays,
Parameters, Buffers, layers, functions, other objects) has a key, and a twin at the other end. Every message first
carries the state of those that are new or have changed. So a layer that writes into its x, or returns one buffer again
and again, is seen to do so from the other side of the pipe.
"""

import json
import struct
import weakref

import numpy as np

from minires.gradcheck.subjects import place
from minires.layer import Buffer, Kept, Layer, Parameter

MOST_HEADER, MOST_BODY, MOST_HELD = 4 << 20, 64 << 20, 512 << 20  # bytes: of a message, and of all that live
DTYPES = {np.dtype(code).str for code in "?bhilBHILfd"}
ARRAYS = {"parameter": Parameter, "buffer": Buffer}
KINDS = ("array", *ARRAYS, "layer", "function", "object")  # in this order: who has members comes after them


class WireError(Exception):
    """The other side sent what the protocol does not know."""


class End:
    """One end of the pipe, and the things that the other end has as well.

    The submission keeps them alive until the tests say that they have let go of them (``released``).
    """

    def __init__(self, prefix, reads, writes, things):
        self.prefix, self.reads, self.writes, self.things = prefix, reads, writes, things
        self.count, self.turn, self.released = 0, 0, []
        self.keys, self.last = {}, {}  # id(thing) -> key; key -> the state that both ends know, and the bytes

    # -- messages ---------------------------------------------------------------------------------------------

    def send(self, header):
        header["released"], self.released = self.released, []
        header["things"], bodies = self.changes()
        text = json.dumps(header | {"turn": self.turn}).encode()
        for part in (struct.pack("<QQ", len(text), sum(map(len, bodies))), text, *bodies):
            self.writes.write(part)
        self.writes.flush()

    def receive(self):
        """Return (header, body), or None at the end of the stream."""
        head = self.reads.read(16)
        if len(head) < 16:
            return None
        header, body = struct.unpack("<QQ", head)
        if header > MOST_HEADER or body > MOST_BODY:
            raise WireError("a message larger than allowed")
        text, content = self.reads.read(header), self.reads.read(body)
        if len(text) < header or len(content) < body:
            return None
        try:
            return json.loads(text), content
        except (ValueError, RecursionError):
            raise WireError("a message that is no JSON") from None

    # -- things -----------------------------------------------------------------------------------------------

    def key_of(self, thing):
        if id(thing) not in self.keys:
            if isinstance(thing, np.ndarray) and type(thing) is not np.ndarray:
                raise TypeError(f"expected a plain NumPy array, got {type(thing).__name__}. Use np.asarray.")
            if isinstance(thing, np.ndarray) and thing.dtype.str not in DTYPES:
                raise TypeError(f"expected an array of numbers in the machine's own form, got dtype {thing.dtype}.")
            self.count += 1
            self.enter(f"{self.prefix}{self.count}", thing)
        return self.keys[id(thing)]

    def enter(self, key, thing):
        self.things[key], self.keys[id(thing)] = thing, key
        if isinstance(self.things, weakref.WeakValueDictionary):
            weakref.finalize(thing, self._gone, key, id(thing)).atexit = False

    def _gone(self, key, identity):
        self.forget(key, identity)
        self.released.append(key)

    def forget(self, key, identity):
        if self.keys.get(identity) == key:
            del self.keys[identity]
        self.last.pop(key, None)

    def changes(self):
        """Return ([[key, kind, state, name], ...], [bytes, ...]) of all things that are new or have changed."""
        table, bodies, seen, known = [], [], set(), {}
        while todo := [(key, thing) for key, thing in list(self.things.items()) if key not in seen]:
            for key, thing in todo:  # to describe one may enter others
                seen.add(key)
                kind, state, content = self.describe(thing)
                if (state, content) != self.last.get(key):
                    table.append([key, kind, state, "" if key in self.last else _name(thing)])
                    bodies += [content] if kind == "array" else []
                    known[key] = state, content
        self.last |= known
        return sorted(table, key=lambda row: KINDS.index(row[1])), bodies

    def describe(self, thing):
        """(kind, state as JSON, bytes)"""
        if isinstance(thing, np.ndarray):
            form = [thing.dtype.str, list(thing.shape), thing.flags.writeable, not thing.flags.c_contiguous]
            return "array", form, thing.tobytes()
        if isinstance(thing, Layer):
            members = [[name, self.key_of(member)] for name, member in thing._members()]
            return "layer", [bool(thing.training), isinstance(thing._cache, Kept), members], b""
        for kind, array in ARRAYS.items():
            if isinstance(thing, array):
                return kind, [self.key_of(part) for part in parts(thing)], b""
        return "function" if callable(thing) else "object", [], b""

    def apply(self, table, body):
        """Take over what ``changes`` of the other end gave; return all these things, so that they live."""
        start, alive = 0, []
        for key, kind, state, name in table:
            content, thing = b"", self.things.get(key)
            if kind == "array":
                dtype, shape, writeable, strided = state
                if dtype not in DTYPES or not all(isinstance(size, int) and size >= 0 for size in shape):
                    raise WireError("an array of unknown kind")
                values = np.ndarray(tuple(shape), dtype, body, start)
                content, start = values.tobytes(), start + values.nbytes
                if thing is None:
                    thing = np.repeat(values, 2, axis=-1)[..., ::2] if strided and shape else values.copy()
                    thing.flags.writeable = writeable
                    self.enter(key, thing)
                elif thing.shape == values.shape and thing.flags.writeable:
                    thing[...] = values
            elif thing is None:
                thing = ARRAYS[kind](self.things[state[0]]) if kind in ARRAYS else self.twin(key, kind, name)
                self.enter(key, thing)
            alive.append(thing)
            self.last[key] = state, content
        if sum(len(content) for _, content in list(self.last.values())) > MOST_HELD:
            raise WireError("more arrays than allowed")
        for key, kind, state, _ in table:
            if kind in ARRAYS:
                _hold(self.things[key], *(self.things[part] for part in state))
            elif kind == "layer":
                training, cached, members = state
                self.agree(self.things[key], training, cached, [(name, self.things[part]) for name, part in members])
        return alive

    def agree(self, layer, training, cached, members):
        """Make a layer agree with its twin."""
        layer.training = training
        if not cached and isinstance(layer._cache, Kept):
            layer._cache = None

    # -- values -----------------------------------------------------------------------------------------------

    def encode(self, value):
        """A value as JSON: numbers, text and containers as they are, everything else by its key."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, np.generic) and value.dtype.str in DTYPES:
            return {"number": [value.dtype.str, value.item()]}
        if type(value) in (list, tuple):
            return {type(value).__name__: [self.encode(item) for item in value]}
        if type(value) is dict:
            return {"dict": [[self.encode(k), self.encode(v)] for k, v in value.items()]}
        return {"key": self.key_of(value)}

    def decode(self, form):
        if not isinstance(form, dict):
            return form
        ((kind, value),) = form.items()
        if kind == "number":
            return np.dtype(value[0] if value[0] in DTYPES else "f8").type(value[1])
        if kind == "key":
            return self.things[value]
        if kind == "dict":
            return {self.decode(k): self.decode(v) for k, v in value}
        return {"list": list, "tuple": tuple}[kind](map(self.decode, value))


def _name(thing):
    """What a twin says of itself."""
    try:
        return f"{thing._who()[:200]}\n{place(thing)}" if isinstance(thing, Layer) else type(thing).__name__[:200]
    except Exception:  # the student's own _who
        return type(thing).__name__


def parts(thing):
    """The arrays of a Parameter or Buffer; nothing else has any."""
    if isinstance(thing, Parameter):
        return [thing.data, thing.grad]
    return [thing.data] if isinstance(thing, Buffer) else []


def _hold(member, data, grad=None):
    """Have a Parameter or Buffer hold these arrays themselves, not copies."""
    if member.dtype != data.dtype:
        member.astype(data.dtype)
    if member.data is not data:
        member.data = data
    if grad is not None and member.grad is not grad:
        member.grad = grad
