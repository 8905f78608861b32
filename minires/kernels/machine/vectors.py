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


@intrinsic
def zeros(typingctx, array):
    """A vector of zeros, for elements of ``array``."""
    vector = Vector(array.dtype)
    return vector(array), lambda context, builder, signature, args: ir.Constant(context.get_value_type(vector), None)


@intrinsic
def add(typingctx, a, b):
    """a + b, lane by lane."""
    return a(a, b), lambda context, builder, signature, args: builder.fadd(*args)


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


@intrinsic
def load(typingctx, array, index):
    """array[index : index + lanes] of a contiguous array, counted from its first element."""

    def codegen(context, builder, signature, args):
        return emit_load(context, builder, array, *args)

    return Vector(array.dtype)(array, types.intp), codegen


@intrinsic
def load_some(typingctx, array, index, count):
    """array[index : index + min(count, lanes)], then zeros; nothing beyond is read."""

    def codegen(context, builder, signature, args):
        return emit_load(context, builder, array, *args)

    return Vector(array.dtype)(array, types.intp, types.intp), codegen


@intrinsic
def store_some(typingctx, array, index, value, count):
    """array[index : index + min(count, lanes)] = value; nothing beyond is written."""

    def codegen(context, builder, signature, args):
        emit_store(context, builder, array, *args)
        return context.get_dummy_value()

    return types.void(array, types.intp, value, types.intp), codegen


@intrinsic
def settle(typingctx):
    """Let what this thread stored past the caches arrive before anything it stores from now on."""

    def codegen(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


def emit_multiply_add(builder, a, b, total):
    if a.type != total.type:
        a = spread(builder, a, total.type)
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), total, flags=("contract",))


@intrinsic
def multiply_add(typingctx, a, b, total):
    """total + a * b, rounded once, where a is a number or a vector."""

    def codegen(context, builder, signature, args):
        return emit_multiply_add(builder, *args)

    return total(a if isinstance(a, Vector) else total.dtype, b, total), codegen


def neighbours_added(builder, a, b):
    """Lanes a0+a1, a2+a3, ..., b0+b1, b2+b3, ..."""
    count = a.type.count
    index = ir.VectorType(ir.IntType(32), count)
    even, odd = (builder.shuffle_vector(a, b, ir.Constant(index, list(range(first, 2 * count, 2)))) for first in (0, 1))
    return builder.fadd(even, odd)


@intrinsic
def total_of(typingctx, vector):
    """Sum of the lanes."""

    def codegen(context, builder, signature, args):
        value = args[0]
        for _ in range(vector.lanes.bit_length() - 1):
            value = neighbours_added(builder, value, value)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return vector.dtype(vector), codegen


def _every_other(first):
    @intrinsic
    def every_other(typingctx, a, b):
        def codegen(context, builder, signature, args):
            lanes = list(range(first, 2 * context.get_value_type(a).count, 2))
            return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

        return a(a, b), codegen

    return every_other


even_lanes, odd_lanes = _every_other(0), _every_other(1)  # lanes 0, 2, 4, ... of a and then of b; lanes 1, 3, 5, ...


def _zipped(half):
    @intrinsic
    def zipped(typingctx, a, b):
        def codegen(context, builder, signature, args):
            count = context.get_value_type(a).count
            lanes = [i // 2 + half * count // 2 + i % 2 * count for i in range(count)]
            return builder.shuffle_vector(*args, ir.Constant(ir.VectorType(ir.IntType(32), count), lanes))

        return a(a, b), codegen

    return zipped


zip_low, zip_high = _zipped(0), _zipped(1)  # a0 b0 a1 b1 ..., of the first halves of a and b, and of the second


@intrinsic
def fetch(typingctx, array, index):
    """Ask for the 64 bytes around array[index], so that they are in the L2 cache when they are needed.

    Nothing is read or written, and the index may lie outside.
    """

    def codegen(context, builder, signature, args):
        pointer = builder.gep(context.make_array(signature.args[0])(context, builder, args[0]).data, [args[1]])
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, *(ir.Constant(number, option) for option in (0, 2, 1))])  # to read; L2; data
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen
