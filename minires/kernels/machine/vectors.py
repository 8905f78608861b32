"""A vector of numbers as a Numba type, so that a kernel can say what stays in registers.

The compiler vectorises simple inner loops by itself, but it never keeps a block of sums in registers over an outer
loop, and that is what makes a matrix product fast. With these few operations a kernel says so:

    total = zeros(a)                              # a vector of zeros, for the elements of array a
    for k in range(K):
        total = multiply_add(w[k], load(a, k * n), total)       # total += w[k] * a[k*n : k*n + lanes]
    store(out, 0, total)

A vector is as wide as the registers of the processor that Numba compiles for: 64 bytes with AVX-512, 32 with AVX, 16
with NEON or SSE. Indices are counted in elements, need no alignment, and are not checked: whoever calls these has
allocated enough.

Environment
-----------
NUMBA_CPU_NAME, NUMBA_CPU_FEATURES : the processor to compile for, where it is not this one.
"""

import inspect

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, overload, register_model


def registers_of(triple, cpu, features=""):
    """(width in bytes, number) of the vector registers that LLVM uses on this processor; found by letting it use one.

    Names of features would not do: without any, those count that belong to the name of the processor.
    """
    module = ir.Module()
    module.triple = triple
    vector = ir.VectorType(ir.FloatType(), 16)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [vector.as_pointer()]), "double")
    builder = ir.IRBuilder(function.append_basic_block())
    value = builder.load(function.args[0])
    builder.store(builder.fadd(value, value), function.args[0])
    builder.ret_void()
    target = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features)
    code = target.emit_assembly(llvm.parse_assembly(str(module)))
    x86 = {"%zmm": (64, 32), "%ymm": (32, 16), "%xmm": (16, 16)}
    return next((registers for name, registers in x86.items() if name in code), (16, 32))  # else NEON


BYTES, REGISTERS = registers_of(*cpu_target.target_context.codegen().magic_tuple())  # as Numba itself names its target


class Vector(types.Type):
    """The Numba type of a vector of floats."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype} x {self.lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        element = ir.FloatType() if vector.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def emits(result):
    """Decorator: what builds machine code becomes a function that kernels call, with a result of type result(*kinds).

    ``emit(context, builder, kinds, *values)`` gets the Numba types and the values of the arguments, and returns that of
    the result; a tuple is a list of values.
    """

    def decorate(emit):
        def define(typingctx, *kinds):
            kind = result(*kinds)

            def codegen(context, builder, signature, args):
                pairs = zip(signature.args, args)
                values = [
                    cgutils.unpack_tuple(builder, arg) if isinstance(of, types.BaseTuple) else arg for of, arg in pairs
                ]
                found = emit(context, builder, signature.args, *values)
                if kind == types.void:
                    return context.get_dummy_value()
                return context.make_tuple(builder, kind, found) if isinstance(kind, types.BaseTuple) else found

            return kind(*kinds), codegen

        define.__name__, define.__doc__ = emit.__name__, emit.__doc__
        names = list(inspect.signature(emit).parameters.values())[2:]  # Numba looks at all but the first
        define.__signature__ = inspect.Signature(names)
        return intrinsic(prefer_literal=True)(define)

    return decorate


def lanes(array):
    """Number of elements of ``array`` that make a vector."""
    return BYTES // array.itemsize


@overload(lanes, inline="always")
def _lanes(array):
    count = Vector(array.dtype).lanes
    return lambda array: count


def _pointer(context, builder, array_type, array, index, vector):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), context.get_value_type(vector).as_pointer())


def spread(builder, scalar, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


@emits(lambda array: Vector(array.dtype))
def zeros(context, builder, kinds, array):
    """A vector of zeros, for elements of ``array``."""
    return ir.Constant(context.get_value_type(Vector(kinds[0].dtype)), None)


@emits(lambda a, b: a)
def add(context, builder, kinds, a, b):
    """a + b, lane by lane."""
    return builder.fadd(a, b)


def emit_load(context, builder, kind, array, place, count=None):
    """The vector at ``place`` of an array of this kind; with ``count`` only so many of its lanes, the others 0."""
    vector = Vector(kind.dtype)
    pointer, vector, alignment = _pointer(context, builder, kind, array, place, vector), *_of(context, vector)
    if count is None:
        return builder.load(pointer, align=alignment)
    rest = ir.Constant(ir.IntType(32), alignment), _mask(builder, vector, count), ir.Constant(vector, None)
    return _masked(builder, "load", vector, [pointer, *rest])


def emit_store(context, builder, kind, array, place, value, count=None):
    vector = Vector(kind.dtype)
    pointer, vector, alignment = _pointer(context, builder, kind, array, place, vector), *_of(context, vector)
    if count is None:
        return builder.store(value, pointer, align=alignment)
    rest = ir.Constant(ir.IntType(32), alignment), _mask(builder, vector, count)
    return _masked(builder, "store", ir.VoidType(), [value, pointer, *rest])


def _of(context, vector):
    return context.get_value_type(vector), vector.dtype.bitwidth // 8


def _mask(builder, vector, count):
    """Lanes 0 to count - 1."""
    lane = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), list(range(vector.count)))
    return builder.icmp_signed("<", lane, spread(builder, builder.trunc(count, ir.IntType(32)), lane.type))


def _masked(builder, name, result, arguments):
    vector = arguments[0].type if name == "store" else result
    kind = f"v{vector.count}f{32 if isinstance(vector.element, ir.FloatType) else 64}"
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    declared = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.{name}.{kind}.p0")
    return builder.call(declared, arguments)


@emits(lambda array, index: Vector(array.dtype))
def load(context, builder, kinds, array, index):
    """array[index : index + lanes] of a contiguous array, counted from its first element."""
    return emit_load(context, builder, kinds[0], array, index)


@emits(lambda array, index, count: Vector(array.dtype))
def load_some(context, builder, kinds, array, index, count):
    """array[index : index + min(count, lanes)], then zeros; nothing beyond is read."""
    return emit_load(context, builder, kinds[0], array, index, count)


@emits(lambda array, index, value, count: types.void)
def store_some(context, builder, kinds, array, index, value, count):
    """array[index : index + min(count, lanes)] = value; nothing beyond is written."""
    emit_store(context, builder, kinds[0], array, index, value, count)


@emits(lambda: types.void)
def settle(context, builder, kinds):
    """Let what this thread stored past the caches arrive before anything it stores from now on."""
    builder.fence("seq_cst")


def emit_multiply_add(builder, a, b, total):
    if a.type != total.type:
        a = spread(builder, a, total.type)
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), total, flags=("contract",))


@emits(lambda a, b, total: total)
def multiply_add(context, builder, kinds, a, b, total):
    """total + a * b, rounded once, where a is a number or a vector."""
    number = a if isinstance(kinds[0], Vector) else context.cast(builder, a, kinds[0], kinds[2].dtype)
    return emit_multiply_add(builder, number, b, total)


def neighbours_added(builder, a, b):
    """Lanes a0+a1, a2+a3, ..., b0+b1, b2+b3, ..."""
    count = a.type.count
    index = ir.VectorType(ir.IntType(32), count)
    even, odd = (builder.shuffle_vector(a, b, ir.Constant(index, list(range(first, 2 * count, 2)))) for first in (0, 1))
    return builder.fadd(even, odd)


@emits(lambda vector: vector.dtype)
def total_of(context, builder, kinds, value):
    """Sum of the lanes."""
    for _ in range(kinds[0].lanes.bit_length() - 1):
        value = neighbours_added(builder, value, value)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def _shuffled(lane_of):
    """A function of two vectors, whose result holds the lanes lane_of(i, count) of both, counted from the first on."""

    @emits(lambda a, b: a)
    def shuffled(context, builder, kinds, a, b):
        lanes = [lane_of(i, a.type.count) for i in range(a.type.count)]
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

    return shuffled


even_lanes, odd_lanes = _shuffled(lambda i, n: 2 * i), _shuffled(lambda i, n: 2 * i + 1)  # of a and then of b
zip_low, zip_high = (  # a0 b0 a1 b1 ..., of the first halves of a and b, and of the second
    _shuffled(lambda i, n: i // 2 + i % 2 * n),
    _shuffled(lambda i, n: i // 2 + n // 2 + i % 2 * n),
)


@emits(lambda array, index: types.void)
def fetch(context, builder, kinds, array, index):
    """Ask for the 64 bytes around array[index], so that they are in the L2 cache when they are needed.

    Nothing is read or written, and the index may lie outside.
    """
    pointer, number = builder.gep(context.make_array(kinds[0])(context, builder, array).data, [index]), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, *(ir.Constant(number, option) for option in (0, 2, 1))])  # to read; L2; data
