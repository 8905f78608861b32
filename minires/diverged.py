"""Where the numbers of a run went wrong, when they do: the layer in which NaN or infinity come up first."""

import math
from contextlib import contextmanager

import numpy as np

from minires.losses import softmax_cross_entropy
from minires.probe import Probe


class Diverged(ArithmeticError):
    """The numbers of a run are not finite any more; the message names the layer."""


def require_finite(arrays):
    """Raise FloatingPointError when a number is NaN or infinite."""
    for array in arrays:
        flat = np.ravel(array)
        # The sum of squares takes a quarter of the time; where it is not finite, it may only have overflowed.
        if not math.isfinite(np.einsum("i,i->", flat, flat)) and not np.isfinite(flat).all():
            raise FloatingPointError


@contextmanager
def not_finite_explained(net, x, target, when, loss=softmax_cross_entropy):
    """Turn an error that NaN or infinity caused inside the ``with`` into Diverged, with the layer where they begin."""
    try:
        yield
    except (FloatingPointError, ValueError) as error:
        where = first_not_finite(net, x, target, loss)
        if where is None and isinstance(error, ValueError):
            raise  # something else was wrong
        raise Diverged(
            f"{when}: NaN or infinity, first in {where or 'a layer that could not be found again'}. "
            f"{'Check the data.' if where == BATCH else 'Lower the learning rate, or warm it up.'}"
        ) from None


BATCH = "the batch x itself"


def first_not_finite(net, x, target, loss=softmax_cross_entropy):
    """Say where NaN or infinity arise first, in words with the dotted name of the layer; None if nowhere.

    Looked at in this order: the batch, the parameters, then layer by layer forward and, in training mode, backward,
    which are run again for it; last the running statistics. Gradients and running statistics are spoilt afterwards.
    """

    def bad(array):
        return not np.isfinite(array).all()

    if bad(x):
        return BATCH
    for name, parameter in net.named_parameters():
        if bad(parameter.data):
            return f"{name}, a parameter"
    with np.errstate(all="ignore"), Probe(net, reduce=bad) as probe:
        y = net.forward(x)
        for path, is_bad in probe.y.items():  # in the order in which they finished: a layer before those it is part of
            if is_bad:
                return f"the output of {path or 'the net'}, going forward"
        if net.training:
            net.zero_grad()
            net.backward(loss(y, target)[1])
            grads = dict(net.named_parameters())
            for path, is_bad in probe.dx.items():
                own = [name for name in grads if name.rpartition(".")[0] == path and bad(grads[name].grad)]
                if is_bad or own:
                    return f"the gradient of {own[0] if own else path or 'the net'}, going backward"
    return next(
        (f"{name}, a running statistic, going forward" for name, array in net.state_dict().items() if bad(array)), None
    )
