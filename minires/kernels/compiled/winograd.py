r"""Convolution with three-row kernels in half the multiplications ([Winograd1980], [Lavin2015]).

Four rows of output of a kernel with three rows take 4*3 = 12 products of rows, in the definition. Seen as the product
of two polynomials, kernel and image, 6 are enough: evaluate both at 6 points (0, 1, -1, 2, -2 and "infinity"), multiply
point by point, interpolate:

.. math::
    y = A^T \left[ (G w) \odot (B^T x) \right]

with x six rows of the padded image, w the three rows of the kernel, y four rows of output, and

.. math::
    A^T = \begin{bmatrix} 1&1&1&1&1&0 \\ 0&1&-1&2&-2&0 \\ 0&1&1&4&4&0 \\ 0&1&-1&8&-8&1 \end{bmatrix}, \quad
    B^T = \begin{bmatrix} 4&0&-5&0&1&0 \\ 0&-4&-4&1&1&0 \\ 0&4&-4&-1&1&0 \\
          0&-2&-1&2&1&0 \\ 0&2&-1&-2&1&0 \\ 0&4&0&-5&0&1 \end{bmatrix}, \quad
    G = \begin{bmatrix} 1/4&0&0 \\ -1/6&-1/6&-1/6 \\ -1/6&1/6&-1/6 \\
        1/24&1/12&1/6 \\ 1/24&-1/12&1/6 \\ 0&0&1 \end{bmatrix}.

B^T and A^T need additions and a few multiplications by 4, 5 and 8, once for each channel and not for each pair of
channels; G w is computed once for all images. The sum over channels and over the columns of the kernel stays what it
was: for each of the six points one product with shifted rows, as in kernels/compiled/planes.py, but with rows that hold
a quarter of the pixels.

The derivatives are those of the formula, read from right to left: for the weights

.. math::
    dw = G^T \left[ \sum (A\, dy) \odot (B^T x) \right],

and dx is again a convolution of dy with three-row kernels. Rounding errors are several times those of the definition
(1e-6 instead of 1e-7 of the largest output in float32), since B^T takes differences of neighbouring rows.

So a row can leave traces in outputs that do not see it: those of the same six rows and the same columns. An output
whose own three rows are all 0 would not come out as 0, and one beside a much larger row would lose digits. So where the
root of the squares of all six rows, in the columns of an output, is more than 128 times that of its own three, it is
computed by the definition. What sees only zeros then comes out as zero, and an error is at most some 128 * eps times
the norms of w and of what is seen. To find these outputs costs little: while x is read, the squares of each two rows
are summed over all channels, column by column. An output sees both rows of one of the three pairs in its tile, so only
where one pair is so small need the rows be looked at one by one.

The weights add up all tiles. Their errors grow with the squares of x times those of dy, tile by tile: if the root of
this sum is more than 512 times that of the numbers that belong to one tap of the kernel, as where nearly all is zeros,
the whole gradient is left to the definition (kernels/compiled/direct.py), and so is y where many outputs are uneven.
Numbers whose squares are 0, below 1e-22 in float32, count as zeros.

References
----------
.. [Winograd1980] S. Winograd, "Arithmetic Complexity of Computations", SIAM, 1980.
.. [Lavin2015] Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308, section 4.
"""

from typing import NamedTuple

import numpy as np

from minires.kernels.compiled import direct
from minires.kernels.compiled.plan import (
    filters_in_fours,
    gradient_parts,
    job_of,
    jobs,
    pieces_of,
    plan_pieces,
    row_pitch,
)
from minires.kernels.compiled.planes import (
    BLOCK,
    FILTERS,
    NEVER,
    NO,
    VECTOR,
    WIDE,
    ceil_div,
    multiply,
    multiply_transposed,
    whole_vectors,
)
from minires.kernels.compiled.points import (
    POINTS,
    ROWS,
    Plan,
    add_energy,
    cancels,
    empty_points,
    evaluate,
    fill_points,
    interpolate,
    interpolate_transposed,
    mend,
    set_apart,
)
from minires.kernels.machine.compiler import compiled
from minires.kernels.machine.memory import workspaces
from minires.kernels.machine.threads import num_threads, over_parts, over_phases, over_threads
from minires.kernels.machine.vectors import lanes

OWN = 224 * 1024  # numbers: kernels at the points are made by each thread for itself, where its L2 can keep them


class Room(NamedTuple):
    """Where threads compute, a row for each; what they find, which is 0 unless the definition must decide."""

    points: np.ndarray
    products: np.ndarray
    sizes: np.ndarray
    kernels: np.ndarray  # at the points; for their gradient, its squares: (threads, groups, taps and what is compared)
    doubts: np.ndarray
    apart: np.ndarray | None = None  # (N, tiles): which to look at again


# -- the loops over jobs ----------------------------------------------------------------------------------------------


@compiled
def correlate(arrays, ways, plan, room, part, start, stop):
    """y = kernels of three rows applied to x, for the jobs start to stop. ``arrays``: x, weight, bias at the points, y.

    ``ways``: whether each thread has its own kernels at the points, and makes them here; and whether they are turned.
    """
    (x, weight, bias, y), (own, turned), plan, room = arrays, ways, Plan(*plan), Room(*room)
    groups, length = weight.shape[0], plan.length
    in_channels = x.shape[1] // groups
    taps = in_channels * weight.shape[4]
    kernels = room.kernels[part if own else 0, : POINTS * groups * plan.filters * taps]
    kernels = kernels.reshape(POINTS, groups, plan.filters, taps)
    if own:
        fill_points(weight, turned, kernels, 0, groups * plan.filters)
    filters, width = min(plan.filters, FILTERS), length + lanes(x)
    points, sizes = room.points[part, : POINTS * plan.region], room.sizes[part, : plan.sizes[2]]
    products = room.products[part, : POINTS * filters * width].reshape(POINTS, filters, width)
    doubts, apart = room.doubts, room.apart  # names of their own: Numba loses what is written to room.doubts[part]
    points[:], sizes[:] = 0, 0
    for number in range(start, stop):
        image, tile, begin, end = job_of(number, plan)
        for group in range(groups):
            channels = group * in_channels, (group + 1) * in_channels
            evaluate(x, points, sizes, channels, image, tile, plan)
            set_apart(sizes, apart, image, tile, plan, y.shape[2:])
            first = group * plan.filters
            for o in range(begin, end, FILTERS):
                last = min(o + FILTERS, end)
                for a in range(POINTS):
                    some, shift, at = kernels[a, group, o:last], bias[a, group, o:last], points[a * plan.region :]
                    doubts[part] += multiply(some, shift, at, plan.offset, (NO, taps), products[a], (NO, length), NEVER)
                interpolate(products, y, (first + o, first + last), image, tile, plan)
            sizes[:] = 0


@compiled
def correlate_transposed(arrays, plan, room, phase, part, start, stop):
    """dweight = the derivative of correlate with respect to weight. ``arrays``: x, dkernels, dweight, dy.

    In phase 0 dkernels[part] becomes that with respect to kernels, of the jobs start to stop; in phase 1 they are added
    up and turned into dweight, of which each part has as many rows as it had jobs, in proportion; in phase 2 part 0
    looks whether too much has cancelled.
    """
    (x, dkernels, dweight, dy), plan, room = arrays, Plan(*plan), Room(*room)
    doubts, sums = room.doubts, room.kernels
    if phase == 1:
        rows, all_jobs = dweight.shape[0] * dweight.shape[1], plan.pieces * plan.shares
        doubts[part] += empty_points(dkernels, dweight, sums[part], rows * start // all_jobs, rows * stop // all_jobs)
    if phase == 2 and part == 0:
        doubts[0] += cancels(sums)
    if phase > 0:
        return
    groups, in_channels = dkernels.shape[2], x.shape[1] // dkernels.shape[2]
    points, sizes = room.points[part, : POINTS * plan.region], room.sizes[part, : plan.sizes[2]]
    dproducts = room.products[part, : plan.sizes[1]].reshape(POINTS, -1, plan.length)
    points[:], sizes[:], dproducts[:] = 0, 0, 0
    for number in range(start, stop):
        image, tile, begin, end = job_of(number, plan)
        for group in range(groups):
            channels, first = (group * in_channels, (group + 1) * in_channels), group * plan.filters
            evaluate(x, points, sizes, channels, image, tile, plan)
            interpolate_transposed(dy, dproducts, sizes, (first + begin, first + end), image, tile, plan)
            add_energy(sizes, sums[part, group], plan)
            sizes[:] = 0
            for a in range(POINTS):
                of_part = dkernels[part % len(dkernels), a, group, begin : ceil_div(end, 4) * 4]
                if number == start or number % plan.pieces == 0:
                    of_part[:] = 0
                multiply_transposed(dproducts[a], (NO, plan.length), points[a * plan.region :], plan.offset, of_part)


# -- ways --------------------------------------------------------------------------------------------------------------


def fits(shape, geometry, N, out_size):
    """Whether this way is open (three rows, one apart) and pays (channels, rows for tiles, pixels).

    And whether each output sees both rows of a pair that is not all padding, as set_apart expects.
    """
    _, O, C, rows, _ = shape
    stride, pad, dilation = geometry
    open_to_it = rows == 3 and tuple(stride) == (1, 1) == tuple(dilation) and max(pad[0]) <= 1
    return open_to_it and min(C, O) >= 8 and out_size[0] >= ROWS and N * out_size[0] * out_size[1] >= 256


class Way(NamedTuple):
    """How a convolution of some shapes is done, for filters of shape (groups, O, C, 3, kw).

    ``turned``: with the filter weight[g, :, c, ::-1, ::-1] for each channel c of y instead; O and C are then the other
    way round.
    """

    plan: Plan
    shape: tuple
    result: tuple  # shape of what is returned
    turned: bool
    definition: direct.Way  # where rows are too uneven, or something is not finite

    def product(self, x, weight, bias):
        """(y, whether any of it may be not finite)"""
        plan, (groups, O, C, _, kw) = self.plan, self.shape
        y, shift, threads = np.empty(self.result, x.dtype), np.zeros((POINTS, groups, O), x.dtype), num_threads()
        if bias is not None:  # it enters all four rows of point 1 with the factor 1
            shift[1] = bias.reshape(groups, O)
        filters = weight.reshape(groups, *((C, O) if self.turned else (O, C)), 3, kw)
        size = POINTS * groups * O * C * kw
        own = size <= OWN
        *spaces, kernels = workspaces(threads, x.dtype, *plan.sizes, size if own else 0)
        if not own:
            kernels = np.empty((1, size), x.dtype)
            points = kernels.reshape(POINTS, groups, O, C * kw)
            over_threads(fill_points, groups * O, filters, self.turned, points, work=size)
        doubts, apart = np.zeros(threads, x.dtype), np.zeros((len(x), plan.out_rows), np.bool_)
        room, ways = (*spaces, kernels, doubts, apart), (own, self.turned)
        over_parts(correlate, jobs(plan), (x, filters, shift, y), ways, tuple(plan), room)
        if np.count_nonzero(apart):
            which, arrays = np.flatnonzero(apart), (x, kernels, shift[1], y)
            over_parts(mend, which.size, arrays, which, self.turned, tuple(plan), doubts)
        if np.count_nonzero(doubts):  # NaN counts
            return self.definition.product(x, weight, bias)
        return y, False

    def weight_gradient(self, dy, x):
        """(dweight, whether any of it may be not finite)"""
        plan, (groups, O, _, _, kw), threads = self.plan, self.shape, num_threads()
        dkernels = np.empty((gradient_parts(plan), POINTS, groups, ceil_div(O, 4) * 4, plan.offset.size), x.dtype)
        dweight, doubts = np.empty(self.shape, x.dtype), np.zeros(threads, x.dtype)
        room = *workspaces(threads, x.dtype, *plan.sizes), np.zeros((threads, groups, 3 * kw + 1), x.dtype), doubts
        over_phases(correlate_transposed, 3, jobs(plan), (x, dkernels, dweight, dy), tuple(plan), room)
        if np.count_nonzero(doubts):
            return self.definition.weight_gradient(dy, x)
        return dweight, False


def find_way(x_shape, shape, out_size, pad, definition, turned=False, sums=False):
    """The way to y; with ``turned`` to dx, and with ``sums`` to the gradient of the weight."""
    (N, _, _, W), (groups, O, C, _, kw), (Ho, Wo), (top, _), (left, _) = x_shape, shape, out_size, *pad
    pitch = row_pitch(Wo, kw - 1, W, left)
    all_tiles = ceil_div(Ho, ROWS)
    images, tiles, shares = plan_pieces(N, POINTS * C, all_tiles, pitch, 0, O)
    plane = tiles * images * pitch
    length = whole_vectors(plane)
    columns = range(kw)[:: -1 if turned else 1]
    offset = [c * plane + column for c in range(C) for column in columns]
    offset += offset[-1:] * (-len(offset) % WIDE)
    across = whole_vectors(max(pitch, Wo) + kw) + VECTOR
    region = max(offset) + max(length, plane) + BLOCK
    results = filters_in_fours(O, shares) * length if sums else min(O, FILTERS) * (length + VECTOR)
    sizes = POINTS * region, POINTS * results, (images * ((3 if sums else 2) * tiles + 1) + 2) * across
    pieces = pieces_of(N, images, all_tiles, tiles)
    parts = images, tiles, all_tiles, O, pieces, shares
    plan = Plan(*parts, pitch, length, region, across, kw, np.array(offset), (top, left), sizes)
    return Way(plan, shape, shape if sums else (N, groups * O, Ho, Wo), turned, definition)
