"""What crosses the pipe between the tests and a submission: numbers, text and arrays, nothing that can run.

A message is a JSON header and the bytes of arrays, both of bounded size; no pickle. Arrays and Parameters are
*mirrored*: each has an id and lives on both sides, and every message first carries the contents that changed. So a
layer that writes into its x, or returns one buffer again and again, is seen to do so from the other side of the pipe.
"""

import json
import struct
import weakref

import numpy as np

from minires.layer import Buffer, Kept, Layer, Parameter

MOST_HEADER, MOST_BODY, MOST_HELD = 4 << 20, 64 << 20, 512 << 20  # bytes: of a message, and of all that live
DTYPES = {np.dtype(code).str for code in "?bhilBHILfd"}


class WireError(Exception):
    """The other side sent what the protocol does not know."""


def send(stream, header, bodies=()):
    text = json.dumps(header).encode()
    stream.write(struct.pack("<QQ", len(text), sum(map(len, bodies))))
    stream.write(text)
    for body in bodies:
        stream.write(body)
    stream.flush()


def receive(stream):
    """Return (header, body), or None at the end of the stream."""
    head = stream.read(16)
    if len(head) < 16:
        return None
    header, body = struct.unpack("<QQ", head)
    if header > MOST_HEADER or body > MOST_BODY:
        raise WireError("a message larger than allowed")
    text, content = stream.read(header), stream.read(body)
    if len(text) < header or len(content) < body:
        return None
    try:
        return json.loads(text), content
    except (ValueError, RecursionError):
        raise WireError("a message that is no JSON") from None


class Mirrors:
    """One side's arrays, Parameters and Buffers that the other side has as well.

    The side of the submission keeps them alive until the other says that it has let go of them (``release``).
    """

    def __init__(self, prefix, keep):
        self.prefix, self.count = prefix, 0
        self.things = {} if keep else weakref.WeakValueDictionary()
        self.keys, self.last = {}, {}  # id(thing) -> key; key -> the bytes both sides know
        self.kept, self.released = keep, []

    def key_of(self, thing):
        key = self.keys.get(id(thing))
        if key is None:
            self.count += 1
            key = f"{self.prefix}{self.count}"
            self.enter(key, thing)
        return key

    def enter(self, key, thing):
        self.things[key], self.keys[id(thing)] = thing, key
        if not self.kept:
            weakref.finalize(thing, self._gone, key, id(thing)).atexit = False

    def _gone(self, key, identity):
        if self.keys.get(identity) == key:
            del self.keys[identity]
        self.last.pop(key, None)
        self.released.append(key)

    def release(self, keys):
        for key in keys:
            thing = self.things.pop(key, None)
            if thing is not None and self.keys.get(id(thing)) == key:
                del self.keys[id(thing)]
            self.last.pop(key, None)

    # -- arrays -----------------------------------------------------------------------------------------------

    def array(self, array):
        """The key of an array that the other side is to have."""
        if type(array) is not np.ndarray:
            raise TypeError(f"expected a plain NumPy array, got {type(array).__name__}. Use np.asarray.")
        if array.dtype.str not in DTYPES:
            raise TypeError(f"expected an array of numbers in the machine's own form, got dtype {array.dtype}.")
        return self.key_of(array)

    def changes(self):
        """Return ([description, ...], [bytes, ...]) of all arrays that are new or have changed."""
        table, bodies = [], []
        for key, thing in list(self.things.items()):
            if isinstance(thing, np.ndarray) and (content := thing.tobytes()) != self.last.get(key):
                strided = not thing.flags.c_contiguous
                table.append([key, thing.dtype.str, thing.shape, bool(thing.flags.writeable), strided])
                bodies.append(content)
                self.last[key] = content
        return table, bodies

    def apply(self, table, body):
        """Take over what ``changes`` of the other side gave; return the arrays that are new, so that they live."""
        start, new = 0, []
        for key, dtype, shape, writeable, strided in table:
            if dtype not in DTYPES or not all(isinstance(size, int) and size >= 0 for size in shape):
                raise WireError("an array of unknown kind")
            values = np.ndarray(tuple(shape), dtype, body, start)
            start += values.nbytes
            array = self.things.get(key)
            if array is None:
                array = np.repeat(values, 2, axis=-1)[..., ::2] if strided and values.ndim else values.copy()
                array.flags.writeable = writeable
                new.append(array)
                self.enter(key, array)
            elif array.shape == values.shape and array.flags.writeable:
                array[...] = values
            self.last[key] = values.tobytes()
        if sum(map(len, list(self.last.values()))) > MOST_HELD:
            raise WireError("more arrays than allowed")
        return new

    def member(self, key, kind, data, grad):
        """The Parameter or Buffer of this key, made if need be, holding the arrays of these keys."""
        member = self.things.get(key)
        if member is None:
            member = {"parameter": Parameter, "buffer": Buffer}[kind](self.things[data])
            self.enter(key, member)
        self.hold(member, data, grad)
        return member

    def hold(self, member, data, grad):
        if member.dtype != self.things[data].dtype:
            member.astype(self.things[data].dtype)
        if member.data is not self.things[data]:
            member.data = self.things[data]
        if grad is not None and member.grad is not self.things[grad]:
            member.grad = self.things[grad]

    def describe(self, member):
        kind = "parameter" if isinstance(member, Parameter) else "buffer"
        grad = self.array(member.grad) if kind == "parameter" else None
        return [self.key_of(member), kind, self.array(member.data), grad]

    def members(self):
        return [self.describe(thing) for thing in list(self.things.values()) if isinstance(thing, (Parameter, Buffer))]

    # -- layers -----------------------------------------------------------------------------------------------

    def tree(self, layer):
        """[training, keeps a cache, members] of a layer and of those below it."""
        members = [
            [name, ["layer", self.tree(member)] if isinstance(member, Layer) else self.describe(member)]
            for name, member in layer._members()
        ]
        return [bool(layer.training), isinstance(layer._cache, Kept), members]

    def put_tree(self, layer, tree, node=None):
        """Make a layer agree with the tree of its twin; ``node()`` makes a child that it does not have yet."""
        layer.training, cached, members = tree
        if not cached and isinstance(layer._cache, Kept):
            layer._cache = None
        elif cached and node is not None and layer._cache is None:
            layer._remember(np.zeros(0))
        own = dict(layer._members())
        for name, form in members:
            member = own.get(name)
            if form[0] == "layer":
                if member is None and node is not None:
                    member = vars(layer)[name] = node()
                if isinstance(member, Layer):
                    self.put_tree(member, form[1], node)
            elif member is not None:
                if form[0] not in self.things:
                    self.enter(form[0], member)
                self.hold(member, *form[2:])
            elif node is not None:
                vars(layer)[name] = self.member(*form)

    # -- values -----------------------------------------------------------------------------------------------

    def encode(self, value, other):
        """A value as JSON; ``other(value)`` encodes what is no number, text, array or container of them."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, np.generic) and value.dtype.str in DTYPES:
            return {"number": [value.dtype.str, value.item()]}
        if isinstance(value, np.ndarray):
            return {"array": self.array(value)}
        if type(value) in (list, tuple):
            return {type(value).__name__: [self.encode(item, other) for item in value]}
        if type(value) is dict:
            return {"dict": [[self.encode(k, other), self.encode(v, other)] for k, v in value.items()]}
        if isinstance(value, (Parameter, Buffer)) and not isinstance(value, Layer):
            return {"member": self.describe(value)}
        return other(value)

    def decode(self, form, other):
        if not isinstance(form, dict):
            return form
        ((kind, value),) = form.items()
        if kind == "number":
            dtype, item = value
            return np.dtype(dtype if dtype in DTYPES else "f8").type(item)
        if kind == "array":
            return self.things[value]
        if kind in ("list", "tuple"):
            items = [self.decode(item, other) for item in value]
            return items if kind == "list" else tuple(items)
        if kind == "dict":
            return {self.decode(k, other): self.decode(v, other) for k, v in value}
        if kind == "member":
            return self.member(*value)
        return other(kind, value)
