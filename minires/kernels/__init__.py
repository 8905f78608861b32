"""The hot loops, each written twice: plain NumPy to read (``reference``), and compiled to wait for.

Both have the same names, arguments and results. The environment variable ``MINIRES_KERNELS``, ``reference`` or
``compiled`` (the default), chooses for the whole process. Where Numba is missing, switched off or unknown to these
kernels, the reference serves, and one line says so. ``im2col`` and ``col2im`` exist once: the compiled convolution does
without a column matrix.
"""

import os
import sys

from minires.kernels.machine import cores
from minires.kernels.reference import (
    add,
    augment,
    avgpool2d,
    avgpool2d_backward,
    batchnorm_backward,
    batchnorm_normalise,
    batchnorm_reductions,
    batchnorm_statistics,
    col2im,
    conv2d,
    conv2d_input_gradient,
    conv2d_weight_gradient,
    im2col,
    linear,
    linear_input_gradient,
    linear_weight_gradient,
    maxpool2d,
    maxpool2d_backward,
    relu,
    relu_backward,
    sgd_step,
)

__all__ = [
    "add",
    "augment",
    "avgpool2d",
    "avgpool2d_backward",
    "batchnorm_backward",
    "batchnorm_normalise",
    "batchnorm_reductions",
    "batchnorm_statistics",
    "chosen",
    "col2im",
    "conv2d",
    "conv2d_input_gradient",
    "conv2d_weight_gradient",
    "im2col",
    "linear",
    "linear_input_gradient",
    "linear_weight_gradient",
    "maxpool2d",
    "maxpool2d_backward",
    "relu",
    "relu_backward",
    "sgd_step",
]

chosen = os.environ.get("MINIRES_KERNELS") or "compiled"
why_not_compiled = None  # one line, where they were wanted


def check_settings():
    """Raise ValueError where an environment variable of the kernels is wrong. ``import minires`` never does."""
    if chosen not in ("reference", "compiled"):
        raise ValueError(f"MINIRES_KERNELS: expected 'reference' or 'compiled', got {chosen!r}.")
    cores.num_threads(), cores.threading_wanted()


if chosen == "compiled":
    try:
        from minires.kernels.compiled.augmentation import augment
        from minires.kernels.compiled.conv import conv2d, conv2d_input_gradient, conv2d_weight_gradient
        from minires.kernels.compiled.elementwise import add, relu, relu_backward, sgd_step
        from minires.kernels.compiled.linear import linear, linear_input_gradient, linear_weight_gradient
        from minires.kernels.compiled.norm import (
            batchnorm_backward,
            batchnorm_normalise,
            batchnorm_reductions,
            batchnorm_statistics,
        )
        from minires.kernels.compiled.pool import avgpool2d, avgpool2d_backward, maxpool2d, maxpool2d_backward
    except (ImportError, AttributeError, TypeError) as error:  # what a library of another version raises
        chosen, why_not_compiled = "reference", str(error).partition("\n")[0]
        print(f"minires: no compiled kernels ({why_not_compiled}): NumPy computes, many times slower", file=sys.stderr)
elif chosen != "reference":
    globals().update(dict.fromkeys(set(__all__) - {"chosen"}, lambda *arguments: check_settings()))
