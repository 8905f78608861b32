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

from minires.kernels.machine.vectors import (
    BYTES,
    Vector,
    emit_load,
    emit_multiply_add,
    emit_store,
    emits,
    neighbours_added,
    spread,
)


def _tuple_of(kind, count):
    return types.UniTuple(kind, count)


def _vectors(array, places, *_):
    return _tuple_of(Vector(array.dtype), len(places))


def _first(kind, *_):
    return kind


def _each(value, places):
    """A number for each of the places: those of a tuple, or the same for all."""
    return value if isinstance(value, list) else [value] * len(places)


# -- places -----------------------------------------------------------------------------------------------------------


@emits(lambda first, last, step, count: _tuple_of(types.intp, count.literal_value))
def steps(context, builder, kinds, first, last, step, count):
    """first * step, (first + 1) * step, ..., ``count`` of them; what would come after last * step is that once more."""
    first, last, step = (context.cast(builder, *each, types.intp) for each in zip((first, last, step), kinds))
    numbers = [builder.add(first, first.type(i)) for i in range(kinds[3].literal_value)]
    numbers = [builder.select(builder.icmp_signed("<", number, last), number, last) for number in numbers]
    return [builder.mul(number, step) for number in numbers]


@emits(lambda rows, columns: _tuple_of(types.intp, len(rows) * len(columns)))
def grid(context, builder, kinds, rows, columns):
    """rows[i] + columns[j], row by row."""
    return [builder.add(row, column) for row in rows for column in columns]


@emits(lambda first, size, some, count: _tuple_of(types.intp, count.literal_value))
def inside(context, builder, kinds, first, size, some, count):
    """``some`` for each of ``count`` rows from ``first`` on that lies in range(size), 0 for the others."""
    first, size, some = (context.cast(builder, *each, types.intp) for each in zip((first, size, some), kinds))
    rows = [builder.add(first, first.type(i)) for i in range(kinds[3].literal_value)]
    # Unsigned, a negative row is beyond as well.
    return [builder.select(builder.icmp_unsigned("<", row, size), some, first.type(0)) for row in rows]


# -- from memory to registers, and back -------------------------------------------------------------------------------


@emits(lambda array, places, away: _tuple_of(array.dtype, len(places)))
def pick_each(context, builder, kinds, array, places, away):
    """The numbers array[place + away], for each of the places."""
    data = context.make_array(kinds[0])(context, builder, array).data
    return [builder.load(builder.gep(data, [builder.add(place, away)])) for place in places]


@emits(_vectors)
def load_each(context, builder, kinds, array, places, away):
    """The vectors that begin at array[place + away], for each of the places."""
    return [emit_load(context, builder, kinds[0], array, builder.add(place, away)) for place in places]


@emits(_vectors)
def load_each_some(context, builder, kinds, array, places, away, count):
    """The same, of ``count`` numbers each, or of so many as a tuple says for each; nothing beyond is read."""
    places = [builder.add(place, away) for place in places]
    return [emit_load(context, builder, kinds[0], array, *pair) for pair in zip(places, _each(count, places))]


@emits(lambda *_: types.void)
def store_each(context, builder, kinds, array, places, away, vectors):
    """array[place + away : place + away + lanes] = a vector, for each of the places and vectors."""
    for place, vector in zip([builder.add(place, away) for place in places], vectors):
        emit_store(context, builder, kinds[0], array, place, vector)


@emits(lambda *_: types.void)
def store_each_past(context, builder, kinds, array, places, away, vectors):
    """The same, past the caches: memory is written without being read before.

    For what is too large to be still there when it is needed. Addresses must be multiples of the vector's size.
    """
    for place, vector in zip([builder.add(place, away) for place in places], vectors):
        written = emit_store(context, builder, kinds[0], array, place, vector)
        written.align = BYTES
        written.set_metadata("nontemporal", builder.module.add_metadata([ir.IntType(32)(1)]))


@emits(lambda *_: types.void)
def store_each_some(context, builder, kinds, array, places, away, vectors, count):
    """The same, of ``count`` numbers each, or of so many as a tuple says for each; nothing beyond is written."""
    places = [builder.add(place, away) for place in places]
    for place, vector, some in zip(places, vectors, _each(count, places)):
        emit_store(context, builder, kinds[0], array, place, vector, some)


# -- arithmetic -------------------------------------------------------------------------------------------------------


@emits(lambda array, rows, columns: _tuple_of(Vector(array.dtype), rows.literal_value * columns.literal_value))
def zeros_each(context, builder, kinds, array, rows, columns):
    """A block of rows x columns vectors of zeros, for elements of ``array``."""
    zero = ir.Constant(context.get_value_type(Vector(kinds[0].dtype)), None)
    return [zero] * (kinds[1].literal_value * kinds[2].literal_value)


@emits(lambda array, numbers, columns: _tuple_of(Vector(array.dtype), len(numbers) * columns.literal_value))
def fill_each(context, builder, kinds, array, numbers, columns):
    """A block whose row i holds ``columns`` vectors of copies of numbers[i], for elements of ``array``."""
    kind = context.get_value_type(Vector(kinds[0].dtype))
    vectors = [spread(builder, number, kind) for number in numbers]
    return [vector for vector in vectors for _ in range(kinds[2].literal_value)]


@emits(_first)
def add_products(context, builder, kinds, sums, numbers, vectors):
    """sums[i*m + j] + numbers[i] * vectors[j], rounded once, for m vectors; a number may be a vector itself."""
    products = [(number, vector) for number in numbers for vector in vectors]
    return [emit_multiply_add(builder, *product, total) for product, total in zip(products, sums)]


@emits(_first)
def add_each(context, builder, kinds, a, b):
    """a[i] + b[i]."""
    return [builder.fadd(*pair) for pair in zip(a, b)]


@emits(lambda vectors: vectors.dtype)
def sum_of(context, builder, kinds, partial):
    """The sum of all vectors of a tuple, lane by lane, in pairs."""
    while len(partial) > 1:
        alone = partial[len(partial) // 2 * 2 :]
        partial = [builder.fadd(a, b) for a, b in zip(partial[::2], partial[1::2])] + alone
    return partial[0]


@emits(lambda *_: types.void)
def add_totals(context, builder, kinds, array, places, away, sums):
    """array[places[i] + away + j] += the sum of the lanes of sums[i*m + j].

    Adding neighbours of two vectors at a time gives all the sums in order, in as many steps as one vector needs.
    """
    lanes, columns, alignment = sums[0].type.count, len(sums) // len(places), kinds[0].dtype.bitwidth // 8
    places = [builder.add(place, away) for place in places]
    sums = sums + [ir.Constant(sums[0].type, None)] * (-len(sums) % lanes)
    for _ in range(lanes.bit_length() - 1):
        sums = [neighbours_added(builder, a, b) for a, b in zip(sums[::2], sums[1::2])]
    data = context.make_array(kinds[0])(context, builder, array).data
    for i, place in enumerate(places):
        first, lane = divmod(i * columns, lanes)  # the sums of row i, in one of the vectors or in two
        index = ir.Constant(ir.VectorType(ir.IntType(32), columns), list(range(lane, lane + columns)))
        added = builder.shuffle_vector(sums[first], sums[min(first + 1, len(sums) - 1)], index)
        pointer = builder.bitcast(builder.gep(data, [place]), added.type.as_pointer())
        before = builder.load(pointer, align=alignment)
        builder.store(builder.fadd(before, added), pointer, align=alignment)


@emits(_first)
def add_squares(context, builder, kinds, sums, vectors):
    """Each sum and the squares of its share of the vectors, in order, lane by lane."""
    share = len(vectors) // len(sums)
    for i, vector in enumerate(vectors):
        sums[i // share] = emit_multiply_add(builder, vector, vector, sums[i // share])
    return sums


@emits(_first)
def least_of(context, builder, kinds, a, b):
    """The smaller of a and b in each lane."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


@emits(lambda a, factor, b: types.boolean)
def any_larger(context, builder, kinds, a, factor, b):
    """Whether a > factor * b in any lane."""
    larger = builder.fcmp_ordered(">", a, builder.fmul(spread(builder, factor, a.type), b))
    bits = builder.bitcast(larger, ir.IntType(a.type.count))
    return builder.icmp_unsigned("!=", bits, bits.type(0))


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

    @emits(lambda values: _tuple_of(values.dtype, len(matrix)))
    def apply(context, builder, kinds, values):
        return [row_times(builder, row, values) for row in matrix]

    return apply
