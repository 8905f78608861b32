"""Tuples of vectors, which a kernel keeps in registers: blocks of sums, and small matrices applied to rows.

A block of n x m sums is a tuple of vectors, row by row: sums[i*m + j] belongs to row i and column j. The tuple exists
only while a kernel is compiled; in the machine code each of its vectors is a register, and the loops over it below are
written out. What it is loaded from and stored to is a tuple of places, and how far away from them. The innermost loop
of a matrix product, w and x being flat arrays:

    for k in range(K):
        sums = add_products(sums, pick_each(w, rows, k), load_each(x, columns, k * width))

and ``linear_map(matrix)`` makes a function that applies a small constant matrix to a tuple of vectors, or of numbers.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minires.kernels.machine.vectors import (
    BYTES,
    Vector,
    emit_load,
    emit_multiply_add,
    emit_store,
    neighbours_added,
    spread,
)


def _tuple_of(kind, count):
    return types.UniTuple(kind, count)


def _from(builder, places, away):
    return [builder.add(place, away) for place in cgutils.unpack_tuple(builder, places)]


def _each(builder, kind, value, count):
    """A number for each of ``count`` vectors: those of a tuple, or the same for all."""
    return cgutils.unpack_tuple(builder, value) if isinstance(kind, types.BaseTuple) else [value] * count


# -- places -----------------------------------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def steps(typingctx, first, last, step, count):
    """first * step, (first + 1) * step, ..., ``count`` of them; what would come after last * step is that once more."""

    def codegen(context, builder, signature, args):
        first, last, step = (context.cast(builder, a, t, types.intp) for a, t in zip(args[:3], signature.args))
        numbers = [builder.add(first, first.type(i)) for i in range(count.literal_value)]
        numbers = [builder.select(builder.icmp_signed("<", number, last), number, last) for number in numbers]
        return context.make_tuple(builder, signature.return_type, [builder.mul(number, step) for number in numbers])

    return _tuple_of(types.intp, count.literal_value)(first, last, step, count), codegen


@intrinsic
def grid(typingctx, rows, columns):
    """rows[i] + columns[j], row by row."""

    def codegen(context, builder, signature, args):
        rows, columns = (cgutils.unpack_tuple(builder, arg) for arg in args)
        places = [builder.add(row, column) for row in rows for column in columns]
        return context.make_tuple(builder, signature.return_type, places)

    return _tuple_of(types.intp, len(rows) * len(columns))(rows, columns), codegen


@intrinsic(prefer_literal=True)
def inside(typingctx, first, size, some, count):
    """``some`` for each of ``count`` rows from ``first`` on that lies in range(size), 0 for the others."""

    def codegen(context, builder, signature, args):
        first, size, some = (context.cast(builder, a, t, types.intp) for a, t in zip(args[:3], signature.args))
        rows = [builder.add(first, first.type(i)) for i in range(count.literal_value)]
        found = [builder.select(builder.icmp_unsigned("<", row, size), some, first.type(0)) for row in rows]
        return context.make_tuple(builder, signature.return_type, found)  # unsigned, a negative row is beyond as well

    return _tuple_of(types.intp, count.literal_value)(first, size, some, count), codegen


# -- from memory to registers, and back -------------------------------------------------------------------------------


@intrinsic
def pick_each(typingctx, array, places, away):
    """The numbers array[place + away], for each of the places."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        numbers = [builder.load(builder.gep(data, [place])) for place in _from(builder, *args[1:])]
        return context.make_tuple(builder, signature.return_type, numbers)

    return _tuple_of(array.dtype, len(places))(array, places, types.intp), codegen


@intrinsic
def load_each(typingctx, array, places, away):
    """The vectors that begin at array[place + away], for each of the places."""

    def codegen(context, builder, signature, args):
        vectors = [emit_load(context, builder, array, args[0], place) for place in _from(builder, *args[1:])]
        return context.make_tuple(builder, signature.return_type, vectors)

    return _tuple_of(Vector(array.dtype), len(places))(array, places, types.intp), codegen


@intrinsic
def load_each_some(typingctx, array, places, away, count):
    """The same, of ``count`` numbers each, or of so many as a tuple says for each; nothing beyond is read."""

    def codegen(context, builder, signature, args):
        pairs = zip(_from(builder, *args[1:3]), _each(builder, count, args[3], len(places)))
        vectors = [emit_load(context, builder, array, args[0], *pair) for pair in pairs]
        return context.make_tuple(builder, signature.return_type, vectors)

    return _tuple_of(Vector(array.dtype), len(places))(array, places, types.intp, count), codegen


@intrinsic
def store_each(typingctx, array, places, away, vectors):
    """array[place + away : place + away + lanes] = a vector, for each of the places and vectors."""

    def codegen(context, builder, signature, args):
        for place, vector in zip(_from(builder, *args[1:3]), cgutils.unpack_tuple(builder, args[3])):
            emit_store(context, builder, array, args[0], place, vector)
        return context.get_dummy_value()

    return types.void(array, places, types.intp, vectors), codegen


@intrinsic
def store_each_past(typingctx, array, places, away, vectors):
    """The same, past the caches: memory is written without being read before.

    For what is too large to be still there when it is needed. Addresses must be multiples of the vector's size.
    """

    def codegen(context, builder, signature, args):
        for place, vector in zip(_from(builder, *args[1:3]), cgutils.unpack_tuple(builder, args[3])):
            written = emit_store(context, builder, array, args[0], place, vector)
            written.align = BYTES
            written.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))
        return context.get_dummy_value()

    return types.void(array, places, types.intp, vectors), codegen


@intrinsic
def store_each_some(typingctx, array, places, away, vectors, count):
    """The same, of ``count`` numbers each, or of so many as a tuple says for each; nothing beyond is written."""

    def codegen(context, builder, signature, args):
        counts = _each(builder, count, args[4], len(places))
        for place, vector, some in zip(_from(builder, *args[1:3]), cgutils.unpack_tuple(builder, args[3]), counts):
            emit_store(context, builder, array, args[0], place, vector, some)
        return context.get_dummy_value()

    return types.void(array, places, types.intp, vectors, count), codegen


# -- arithmetic -------------------------------------------------------------------------------------------------------


@intrinsic(prefer_literal=True)
def zeros_each(typingctx, array, rows, columns):
    """A block of rows x columns vectors of zeros, for elements of ``array``."""
    result = _tuple_of(Vector(array.dtype), rows.literal_value * columns.literal_value)

    def codegen(context, builder, signature, args):
        zero = ir.Constant(context.get_value_type(result.dtype), None)
        return context.make_tuple(builder, result, [zero] * len(result))

    return result(array, rows, columns), codegen


@intrinsic(prefer_literal=True)
def fill_each(typingctx, array, numbers, columns):
    """A block whose row i holds ``columns`` vectors of copies of numbers[i], for elements of ``array``."""
    result = _tuple_of(Vector(array.dtype), len(numbers) * columns.literal_value)

    def codegen(context, builder, signature, args):
        kind = context.get_value_type(result.dtype)
        vectors = [spread(builder, number, kind) for number in cgutils.unpack_tuple(builder, args[1])]
        return context.make_tuple(builder, result, [v for v in vectors for _ in range(columns.literal_value)])

    return result(array, numbers, columns), codegen


@intrinsic
def add_products(typingctx, sums, numbers, vectors):
    """sums[i*m + j] + numbers[i] * vectors[j], rounded once, for m vectors; a number may be a vector itself."""

    def codegen(context, builder, signature, args):
        sums, numbers, vectors = (cgutils.unpack_tuple(builder, arg) for arg in args)
        products = [(number, vector) for number in numbers for vector in vectors]
        results = [emit_multiply_add(builder, *product, total) for product, total in zip(products, sums)]
        return context.make_tuple(builder, signature.return_type, results)

    return sums(sums, numbers, vectors), codegen


@intrinsic
def add_each(typingctx, a, b):
    """a[i] + b[i]."""

    def codegen(context, builder, signature, args):
        pairs = zip(*(cgutils.unpack_tuple(builder, arg) for arg in args))
        return context.make_tuple(builder, signature.return_type, [builder.fadd(*pair) for pair in pairs])

    return a(a, b), codegen


@intrinsic
def sum_of(typingctx, vectors):
    """The sum of all vectors of a tuple, lane by lane, in pairs."""

    def codegen(context, builder, signature, args):
        partial = cgutils.unpack_tuple(builder, args[0])
        while len(partial) > 1:
            alone = partial[len(partial) // 2 * 2 :]
            partial = [builder.fadd(a, b) for a, b in zip(partial[::2], partial[1::2])] + alone
        return partial[0]

    return vectors.dtype(vectors), codegen


@intrinsic
def add_totals(typingctx, array, places, away, sums):
    """array[places[i] + away + j] += the sum of the lanes of sums[i*m + j].

    Adding neighbours of two vectors at a time gives all the sums in order, in as many steps as one vector needs.
    """
    lanes, columns = sums.dtype.lanes, len(sums) // len(places)

    def codegen(context, builder, signature, args):
        partial = cgutils.unpack_tuple(builder, args[3])
        partial += [ir.Constant(partial[0].type, None)] * (-len(partial) % lanes)
        for _ in range(lanes.bit_length() - 1):
            partial = [neighbours_added(builder, a, b) for a, b in zip(partial[::2], partial[1::2])]
        data = context.make_array(array)(context, builder, args[0]).data
        for i, place in enumerate(_from(builder, *args[1:3])):
            first, lane = divmod(i * columns, lanes)  # the sums of row i, in one of the vectors or in two
            index = ir.Constant(ir.VectorType(ir.IntType(32), columns), list(range(lane, lane + columns)))
            added = builder.shuffle_vector(partial[first], partial[min(first + 1, len(partial) - 1)], index)
            pointer = builder.bitcast(builder.gep(data, [place]), added.type.as_pointer())
            before = builder.load(pointer, align=array.dtype.bitwidth // 8)
            builder.store(builder.fadd(before, added), pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, places, types.intp, sums), codegen


@intrinsic
def add_squares(typingctx, sums, vectors):
    """Each sum and the squares of its share of the vectors, in order, lane by lane."""
    share = len(vectors) // len(sums)

    def codegen(context, builder, signature, args):
        results, vectors = cgutils.unpack_tuple(builder, args[0]), cgutils.unpack_tuple(builder, args[1])
        for i, vector in enumerate(vectors):
            results[i // share] = emit_multiply_add(builder, vector, vector, results[i // share])
        return context.make_tuple(builder, signature.return_type, results)

    return sums(sums, vectors), codegen


@intrinsic
def least_of(typingctx, a, b):
    """The smaller of a and b in each lane."""

    def codegen(context, builder, signature, args):
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return a(a, b), codegen


@intrinsic
def any_larger(typingctx, a, factor, b):
    """Whether a > factor * b in any lane."""

    def codegen(context, builder, signature, args):
        a, factor, b = args
        larger = builder.fcmp_ordered(">", a, builder.fmul(spread(builder, factor, a.type), b))
        bits = builder.bitcast(larger, ir.IntType(a.type.count))
        return builder.icmp_unsigned("!=", bits, bits.type(0))

    return types.boolean(a, a.dtype, a), codegen


def linear_map(matrix):
    """A function of a tuple v, of vectors or of numbers: the tuple of all sum over j of matrix[i][j] * v[j].

    Zeros of the matrix are left out, and what is multiplied by 1 comes first, so that nothing is.
    """

    def row_times(builder, row, values):
        kind, total = values[0].type, None
        terms = sorted(((factor, value) for factor, value in zip(row, values) if factor), key=lambda term: term[0] != 1)
        for factor, value in terms:
            number = ir.Constant(kind, [float(factor)] * kind.count if hasattr(kind, "count") else float(factor))
            if total is None:
                total = value if factor == 1 else builder.fmul(number, value)
            else:
                total = emit_multiply_add(builder, number, value, total)
        return total

    @intrinsic
    def apply(typingctx, values):
        def codegen(context, builder, signature, args):
            values = cgutils.unpack_tuple(builder, args[0])
            results = [row_times(builder, row, values) for row in matrix]
            return context.make_tuple(builder, signature.return_type, results)

        return _tuple_of(values.dtype, len(matrix))(values), codegen

    return apply
