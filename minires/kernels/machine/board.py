"""Hand work to other threads in less than a microsecond: what kernels/machine/threads.py defines, without Python.

A training step makes hundreds of calls, many of them shorter than 100 microseconds. Handing work to a Python thread
costs 20 to 60 of those: it must wake up, and both threads need the interpreter lock. So nothing of this is done in
Python. The caller writes the address of the machine code and its arguments on a board in memory; the other threads,
which watch it in compiled code, take their parts from there. Who has seen nothing new for a moment lets others run
between looks, and after a millisecond goes to sleep, in Python. A part that nobody has taken when the caller is done
with its own, it does.

Calling machine code by its address needs parts of Numba that are not promised to stay. So only some versions are let
in, with the first and the last of which the tests have run; with others, threads.py does it.
"""

import contextlib
import ctypes
import os
import platform
import queue
import sys
import threading

import numba
import numpy as np
from llvmlite import ir
from numba import typeof, types
from numba._dispatcher import compute_fingerprint
from numba.core import cgutils
from numba.extending import intrinsic

from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.cores import MOST_THREADS, num_threads
from minires.kernels.machine.vectors import emits

KNOWN = (0, 61), (0, 68)  # the first and the last version of Numba
if not KNOWN[0] <= numba.version_info.short <= KNOWN[1]:
    known = " to ".join(f"{major}.{minor}" for major, minor in KNOWN)
    raise ImportError(f"known for Numba {known}, this is {numba.__version__}")

MOMENT, GLANCE = 3_500, 90  # looks: about 100 us and 2.5 us
PATIENCE = 2_000  # looks after a moment, between which others may run: about 1 ms


def share_out(kernel, last, size, arguments, phases=1):
    """threads.share_out for kernels decorated with @compiled."""
    numbers = (0, 0, 0, 0)[-last:]
    try:
        code = _machine_code.get((kernel, compute_fingerprint(arguments))) or _compile(kernel, numbers, arguments)
    except NotImplementedError:
        kinds = ", ".join(type(argument).__name__ for argument in arguments)
        raise TypeError(f"{kernel.__name__}: expected arrays, numbers and tuples of them, got {kinds}.") from None
    parts = min(num_threads(), size) or 1
    with _one_caller:
        if len(_workers) < parts - 1:
            _start_workers(parts - 1)
        for worker in _workers[: parts - 1]:
            if worker.asleep:
                worker.wake()
        if _launch(_board, _states, size, parts, phases, code, numbers, arguments):
            for phase in range(phases):  # raises once more, here, what was raised in a part
                kernel(*arguments, *(phase, 0)[4 - last :], 0, size)
            raise MemoryError(f"{kernel.__name__}: there was not enough memory for the arrays it works in.")


_machine_code = {}  # its address, by kernel and types of arguments


def _compile(kernel, numbers, arguments):
    if not hasattr(kernel, "py_func"):
        raise TypeError(f"over_threads: expected a function decorated with @compiled, got {kernel!r}.")
    accepted = *map(typeof, arguments), *[types.intp] * len(numbers)
    kernel.compile(accepted)
    result = kernel.overloads[accepted]
    if result.signature.return_type != types.none:
        raise TypeError(f"{kernel.__name__}: expected a kernel that returns nothing, got {result.signature}.")
    code = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return _machine_code.setdefault((kernel, compute_fingerprint(arguments)), code)


# -- the board ----------------------------------------------------------------------------------------------------

# What stands where: a function that reads the arguments and calls the kernel; the kernel; the length of its range, in
# how many parts; the phase; the arguments.
CALLER, KERNEL, SIZE, PARTS, PHASE, ARGUMENTS = 0, 1, 2, 3, 4, 5
DONE, OFFERED, TAKEN, FAILED = 0, 1, 2, 3  # the states of a part
APART = 16  # numbers from one state to the next: no two share a line of the cache

_board = np.zeros(512, np.int64)
_states = np.zeros(MOST_THREADS * APART, np.int64)
_one_caller = threading.RLock()  # there is one board
_word = ir.IntType(64)
_caller = ir.FunctionType(_word, [_word.as_pointer(), _word, _word, _word, _word])


def _pointer(context, builder, array_type, array, index):
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@emits(lambda states, index: types.int64)
def _look(context, builder, kinds, states, index):
    """states[index] as it is in memory now; an ordinary read in a loop may be done once, before it."""
    return builder.load_atomic(_pointer(context, builder, kinds[0], states, index), "acquire", 8)


@emits(lambda states, index, value: types.void)
def _note(context, builder, kinds, states, index, value):
    """states[index] = value, after everything this thread has written before."""
    builder.store_atomic(value, _pointer(context, builder, kinds[0], states, index), "release", 8)


@emits(lambda states, index: types.boolean)
def _take(context, builder, kinds, states, index):
    """Whether states[index] was OFFERED; then it is now TAKEN, and no other thread gets this answer."""
    pointer = _pointer(context, builder, kinds[0], states, index)
    found = builder.cmpxchg(pointer, _word(OFFERED), _word(TAKEN), "acq_rel", "acquire")
    return builder.extract_value(found, 1)


@emits(lambda: types.void)
def _pause(context, builder, kinds):
    """Wait for some cycles, and leave the core to the other thread that may run on it."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])


@intrinsic
def _post(typingctx, board, arguments, numbers):
    """Write the arguments on the board, and the address of a function that calls a kernel with them and a part."""
    accepted = *arguments, *numbers
    if len(numbers) > 4:
        raise ValueError("over_threads: a kernel ends with phase, part, start, stop, or with the last two or three.")

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(arguments)
        if context.get_abi_sizeof(kind) > 8 * (_board.size - ARGUMENTS):
            raise ValueError("over_threads: these are more arguments than there is room for on the board.")
        caller = ir.Function(builder.module, _caller, builder.function.name + ".caller")
        caller.linkage = "internal"
        inside = ir.IRBuilder(caller.append_basic_block())
        on_board, *last = caller.args
        stored = inside.load(_at(inside, on_board, ARGUMENTS, kind), align=8)
        kernel = context.call_conv.get_function_type(types.none, accepted).as_pointer()
        kernel = inside.load(_at(inside, on_board, KERNEL, kernel))
        values = [*cgutils.unpack_tuple(inside, stored), *last[-len(numbers) :]]
        status, _ = context.call_conv.call_function(inside, kernel, types.none, accepted, values)
        inside.ret(inside.zext(status.is_error, _word))

        on_board = _pointer(context, builder, board, args[0], _word(0))
        builder.store(args[1], _at(builder, on_board, ARGUMENTS, kind), align=8)
        builder.store(caller, _at(builder, on_board, CALLER, caller.type))
        return context.get_dummy_value()

    return types.void(board, arguments, numbers), codegen


@emits(lambda board, phase, part, start, stop: types.int64)
def _call(context, builder, kinds, board, phase, part, start, stop):
    """Call the kernel with the arguments on the board, for one part of the range: was there an error?"""
    on_board = _pointer(context, builder, kinds[0], board, _word(0))
    caller = builder.load(_at(builder, on_board, CALLER, _caller.as_pointer()))
    return builder.call(caller, [on_board, phase, part, start, stop])


def _at(builder, on_board, index, kind):
    return builder.bitcast(builder.gep(on_board, [_word(index)]), kind.as_pointer())


@compiled
def _do(board, states, part):
    size, parts = board[SIZE], board[PARTS]
    error = _call(board, board[PHASE], part, size * part // parts, size * (part + 1) // parts)
    _note(states, part * APART, FAILED if error else DONE)


_let_others_run = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())


@compiled
def _launch(board, states, size, parts, phases, code, numbers, arguments):
    """Do all parts of a call, together with whoever is awake; return whether one of them failed.

    This is never left before every part is done: no interrupt can free arrays that somebody works on.
    """
    _post(board, arguments, numbers)
    board[KERNEL], board[SIZE], board[PARTS] = code, size, parts
    failed = False
    for phase in range(phases):
        board[PHASE] = phase
        for part in range(1, parts):
            _note(states, part * APART, OFFERED)
        _do(board, states, 0)
        failed |= _look(states, 0) == FAILED
        for part in range(1, parts):
            if _take(states, part * APART):
                _do(board, states, part)
            looks = 0
            while _look(states, part * APART) == TAKEN:
                looks += 1
                _pause()
                if looks > MOMENT:
                    _let_others_run()
            failed |= _look(states, part * APART) == FAILED
    return failed


# -- the other threads --------------------------------------------------------------------------------------------

_workers = []  # the calling thread works as well, so there is one less than threads
_most_workers = MOST_THREADS  # fewer where the system starts no more


@compiled
def _watch(board, states, part, looks, patience):
    """Do the parts with this number, until there has been none for so many looks; return whether there was one.

    Before each of the last looks, as many as ``patience``, others may run: where threads outnumber cores, the caller.
    """
    left, found = looks + patience, False
    while left > 0:
        left -= 1
        _pause()
        if left < patience:
            _let_others_run()
        if _look(states, part * APART) == OFFERED and _take(states, part * APART):
            _do(board, states, part)
            left, found = looks + patience, True
    return found


class _Worker:
    def __init__(self, number):
        self.number = number
        self.asleep = False
        self.alarms = queue.SimpleQueue()
        self.allowed = None  # the cores it was allowed before it was sent to one
        self.thread = threading.Thread(target=self._work, name="minires", daemon=True)
        self.thread.start()

    def _work(self):
        while True:
            _watch(_board, _states, self.number, MOMENT, PATIENCE)
            # To get here it had to wait until the caller gave up the interpreter lock, most likely because of a new
            # call, which did not wake it, for it was not asleep. So it looks once more.
            self.asleep = True
            if not _watch(_board, _states, self.number, GLANCE, 0):
                self.alarms.get()  # sleeps until something comes
            self.asleep = False
            if self.allowed:
                os.sched_setaffinity(0, self.allowed)
                self.allowed = None

    def wake(self):
        self.asleep = False
        self.allowed = _send_beside(self.thread.native_id, self.number)
        self.alarms.put(None)


def _start_workers(count):
    global _most_workers
    while len(_workers) < min(count, _most_workers):
        try:
            _workers.append(_Worker(len(_workers) + 1))
        except RuntimeError as error:
            _most_workers = len(_workers)
            compute = f"{1 + _most_workers} compute"
            print(f"minires: this system starts no more threads ({error}): {compute}", file=sys.stderr)


def _forget_workers():  # threads do not survive a fork: the child starts its own
    global _one_caller, _most_workers
    _workers.clear()
    _most_workers = MOST_THREADS
    _states[:] = DONE
    _one_caller = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)


# Linux often wakes a thread on the very core that called it, where it waits for milliseconds while another core idles.
# So a sleeper is sent to a core of its own first. Once awake, it sets itself free to run anywhere, as before.
_current_core = None
with contextlib.suppress(AttributeError, OSError, TypeError):  # not Linux
    _current_core = ctypes.CDLL(None).sched_getcpu


def _send_beside(thread, number):
    """Bind a sleeping thread to the core that is ``number`` after the caller's; return all that are allowed."""
    if _current_core is not None:
        with contextlib.suppress(OSError):  # not allowed to: it wakes wherever it does
            allowed, here = os.sched_getaffinity(0), _current_core()
            others = sorted(allowed - {here}, key=lambda core: (core < here, core))
            if others:
                os.sched_setaffinity(thread, {others[(number - 1) % len(others)]})
                return allowed
    return None
