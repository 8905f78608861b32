"""ReLU, addition, an optimizer's step: one pass over memory each, on all cores. (A NumPy ufunc does a pass on one.)"""

import numpy as np

from minires.kernels import reference
from minires.kernels.compiled.shapes import expect
from minires.kernels.machine.compiler import as_compiled, compiled
from minires.kernels.machine.threads import over_threads
from minires.kernels.machine.vectors import fetch

COMPILED = np.dtype(np.float32), np.dtype(np.float64)  # in the order of bytes of this processor


def relu(x):
    x = as_compiled(x)
    y = np.empty_like(x)
    over_threads(_relu, x.size, x.reshape(-1), y.reshape(-1), work=x.size)
    return y


def relu_backward(dy, y):
    if dy.shape != y.shape:
        expect("relu_backward", y=(y, dy.shape))
    return _of_two(_relu_backward, as_compiled(dy), as_compiled(y))


def add(a, b):
    if a.shape != b.shape:
        expect("add", b=(b, a.shape))
    return _of_two(_add, as_compiled(a), as_compiled(b))


def _of_two(kernel, a, b):
    y = np.empty_like(a)
    over_threads(kernel, a.size, a.reshape(-1), b.reshape(-1), y.reshape(-1), work=a.size)
    return y


def sgd_step(p, g, v, lr, momentum, keep, weight_decay, nesterov):
    for array in p, g, v:
        plain = isinstance(array, np.ndarray) and array.shape == p.shape and array.flags.carray
        if not (plain and array.dtype in COMPILED):
            # NumPy broadcasts, writes in any order, knows other numbers, or says what is wrong
            return reference.sgd_step(p, g, v, lr, momentum, keep, weight_decay, nesterov)
    rule = float(lr), float(momentum), float(keep), float(weight_decay), bool(nesterov)
    over_threads(_sgd_step, p.size, p.reshape(-1), g.reshape(-1), v.reshape(-1), rule, work=p.size)


# Each kernel first cuts out its part, and then counts from 0: of an index that starts anywhere the compiler would have
# to check the sign, pixel by pixel, because x[-1] is the last.


@compiled
def _relu(x, y, start, stop):
    x, y = x[start:stop], y[start:stop]
    for i in range(x.size):
        y[i] = 0 if x[i] < 0 else x[i]  # not "x if x > 0 else 0": that would turn a NaN into 0


@compiled
def _relu_backward(dy, y, dx, start, stop):
    dy, y, dx = dy[start:stop], y[start:stop], dx[start:stop]
    for first in range(0, dy.size, 1024):
        last = min(first + 1024, dy.size)
        # The machine code reads dy only where y > 0, and so cannot begin before y is there: dy is asked for ahead.
        for i in range(first + 2048, last + 2048, 16):
            fetch(dy, i)
        dy_part, y_part, dx_part = dy[first:last], y[first:last], dx[first:last]
        for i in range(dy_part.size):
            dx_part[i] = dy_part[i] if y_part[i] > 0 else 0


@compiled
def _sgd_step(p, g, v, rule, start, stop):
    p, g, v, number = p[start:stop], g[start:stop], v[start:stop], p.dtype.type
    lr, momentum, keep, weight_decay = number(rule[0]), number(rule[1]), number(rule[2]), number(rule[3])
    nesterov = rule[4]
    for i in range(p.size):
        step = g[i] + weight_decay * p[i] if weight_decay else g[i]
        if momentum:
            v[i] = momentum * v[i] + keep * step
            step = step + momentum * v[i] if nesterov else v[i]
        p[i] -= lr * step


@compiled
def _add(a, b, y, start, stop):
    a, b, y = a[start:stop], b[start:stop], y[start:stop]
    for i in range(a.size):
        y[i] = a[i] + b[i]
