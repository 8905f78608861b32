"""A vector of numbers as a Numba type, so that a kernel can say what stays in registers.

The compiler vectorises simple inner loops by itself, but it never keeps a block of sums in registers over an outer
loop, and that is what makes a matrix product fast. With these few operations a kernel says so:

    total = zeros(a)                              # a vector of zeros, for the elements of array a
    for k in range(K):
        total = multiply_add(w[k], load(a, k * n), total)       # total += w[k] * a[k*n : k*n + lanes]
    store(out, 0, total)

A vector is 64 bytes wide where the processor has such registers (AVX-512), else 32: 16 or 8 floats. Indices are
counted in elements, need no alignment, and are not checked: whoever calls these has allocated enough.
"""

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

BYTES = 64 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 32


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


def _spread(builder, scalar, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), None))


@intrinsic
def zeros(typingctx, array):
    """A vector of zeros, for elements of ``array``."""
    vector = Vector(array.dtype)
    return vector(array), lambda context, builder, signature, args: ir.Constant(context.get_value_type(vector), None)


@intrinsic
def fill(typingctx, array, value):
    """A vector of copies of ``value``, for elements of ``array``."""
    vector = Vector(array.dtype)

    def codegen(context, builder, signature, args):
        return _spread(builder, args[1], context.get_value_type(vector))

    return vector(array, array.dtype), codegen


@intrinsic
def add(typingctx, a, b):
    """a + b, lane by lane."""
    return a(a, b), lambda context, builder, signature, args: builder.fadd(*args)


@intrinsic
def load(typingctx, array, index):
    """array[index : index + lanes] of a contiguous array, counted from its first element."""
    vector = Vector(array.dtype)

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args, vector)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), codegen


@intrinsic
def store(typingctx, array, index, value):
    """array[index : index + lanes] = value."""

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args[:2], value)
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def store_past(typingctx, array, index, value):
    """array[index : index + lanes] = value, past the caches: memory is written without being read before.

    For what is too large to be still there when it is needed. The address must be a multiple of the vector's size.
    """
    vector = Vector(array.dtype)

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args[:2], value)
        written = builder.store(args[2], pointer, align=BYTES)
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), codegen


@intrinsic
def settle(typingctx):
    """Let what this thread stored past the caches arrive before anything it stores from now on."""

    def codegen(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def multiply_add(typingctx, a, b, total):
    """total + a * b, rounded once, where a is a number or a vector."""
    contract = ("contract",)

    def codegen(context, builder, signature, args):
        first, second, third = args
        if not isinstance(a, Vector):
            first = _spread(builder, first, context.get_value_type(total))
        return builder.fadd(builder.fmul(first, second, flags=contract), third, flags=contract)

    return total(a if isinstance(a, Vector) else total.dtype, b, total), codegen


def _neighbours_added(builder, a, b):
    """Lanes a0+a1, a2+a3, ..., b0+b1, b2+b3, ..."""
    count = a.type.count
    index = ir.VectorType(ir.IntType(32), count)
    even, odd = (builder.shuffle_vector(a, b, ir.Constant(index, list(range(first, 2 * count, 2)))) for first in (0, 1))
    return builder.fadd(even, odd)


@intrinsic
def add_totals(typingctx, array, index, step, vectors):
    """array[index + step*r + i] += sum of the lanes of vectors[4*r + i], for i from 0 to 3: four sums in each row.

    Adding neighbours of two vectors at a time gives all the sums in order, in as many steps as one vector needs.
    ``vectors`` is a tuple of as many vectors as lanes, or a multiple.
    """
    count = vectors.dtype.lanes

    def codegen(context, builder, signature, args):
        first, step, partial = args[1], args[2], cgutils.unpack_tuple(builder, args[3])
        for _ in range(count.bit_length() - 1):
            partial = [_neighbours_added(builder, a, b) for a, b in zip(partial[::2], partial[1::2])]
        for sums in partial:
            for four in range(0, count, 4):
                lanes = ir.Constant(ir.VectorType(ir.IntType(32), 4), list(range(four, four + 4)))
                added = builder.shuffle_vector(sums, sums, lanes)
                data = context.make_array(signature.args[0])(context, builder, args[0]).data
                pointer = builder.bitcast(builder.gep(data, [first]), added.type.as_pointer())
                before = builder.load(pointer, align=array.dtype.bitwidth // 8)
                builder.store(builder.fadd(before, added), pointer, align=array.dtype.bitwidth // 8)
                first = builder.add(first, step)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, vectors), codegen


@intrinsic
def total_of(typingctx, vector):
    """Sum of the lanes."""

    def codegen(context, builder, signature, args):
        value = args[0]
        for _ in range(vector.lanes.bit_length() - 1):
            value = _neighbours_added(builder, value, value)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return vector.dtype(vector), codegen


def _mask(context, builder, vector, count):
    """Lanes 0 to count - 1."""
    lane = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), list(range(vector.count)))
    return builder.icmp_signed("<", lane, _spread(builder, builder.trunc(count, ir.IntType(32)), lane.type))


def _masked(builder, name, result, arguments):
    vector = arguments[0].type if name == "store" else result
    kind = f"v{vector.count}f{32 if isinstance(vector.element, ir.FloatType) else 64}"
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    declared = cgutils.get_or_insert_function(builder.module, function, f"llvm.masked.{name}.{kind}.p0")
    return builder.call(declared, arguments)


@intrinsic
def load_some(typingctx, array, index, count):
    """array[index : index + min(count, lanes)], then zeros; nothing beyond is read."""
    vector = Vector(array.dtype)

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args[:2], vector)
        kind = context.get_value_type(vector)
        alignment = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        mask = _mask(context, builder, kind, args[2])
        return _masked(builder, "load", kind, [pointer, alignment, mask, ir.Constant(kind, None)])

    return vector(array, types.intp, types.intp), codegen


@intrinsic
def store_some(typingctx, array, index, value, count):
    """array[index : index + min(count, lanes)] = value; nothing beyond is written."""

    def codegen(context, builder, signature, args):
        pointer = _pointer(context, builder, signature.args[0], *args[:2], value)
        alignment = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        mask = _mask(context, builder, context.get_value_type(value), args[3])
        _masked(builder, "store", ir.VoidType(), [args[2], pointer, alignment, mask])
        return context.get_dummy_value()

    return types.void(array, types.intp, value, types.intp), codegen


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
