"""The hot loops, each written twice: plain NumPy to read (``reference``), and compiled to wait for.

Both have the same names, arguments and results. The environment variable ``MINIRES_KERNELS``, ``reference`` or
``compiled`` (the default), chooses for the whole process. ``im2col`` and ``col2im`` exist once: the compiled
convolution does without a column matrix.
"""

import os

from minires.kernels.machine import cores
from minires.kernels.reference import col2im, im2col

chosen = os.environ.get("MINIRES_KERNELS", "compiled")

if chosen == "reference":
    from minires.kernels.reference import (
        add,
        augment,
        avgpool2d,
        avgpool2d_backward,
        batchnorm_backward,
        batchnorm_normalise,
        batchnorm_reductions,
        batchnorm_statistics,
        conv2d,
        conv2d_input_gradient,
        conv2d_weight_gradient,
        maxpool2d,
        maxpool2d_backward,
        relu,
        relu_backward,
        sgd_step,
    )

    cores.limit_blas(cores.threads_wanted())
elif chosen == "compiled":
    from minires.kernels.compiled.augmentation import augment
    from minires.kernels.compiled.conv import conv2d, conv2d_input_gradient, conv2d_weight_gradient
    from minires.kernels.compiled.elementwise import add, relu, relu_backward, sgd_step
    from minires.kernels.compiled.norm import (
        batchnorm_backward,
        batchnorm_normalise,
        batchnorm_reductions,
        batchnorm_statistics,
    )
    from minires.kernels.compiled.pool import avgpool2d, avgpool2d_backward, maxpool2d, maxpool2d_backward
    from minires.kernels.machine import memory

    memory.keep_freed_memory()
    cores.limit_blas(1)
else:
    raise ValueError(f"MINIRES_KERNELS: expected 'reference' or 'compiled', got {chosen!r}.")

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
    "maxpool2d",
    "maxpool2d_backward",
    "relu",
    "relu_backward",
    "sgd_step",
]
