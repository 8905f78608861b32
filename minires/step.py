"""A step of training, over and over; and where the numbers went wrong when they do."""

import math
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from minires.checks import InvalidArgument, some
from minires.losses import softmax_cross_entropy
from minires.probe import Probe


class Diverged(ArithmeticError):
    """The numbers of a run are not finite any more; the message names the layer."""


class Step(NamedTuple):
    """One step of training, as ``steps`` yields it."""

    number: int  # steps taken, this one included
    x: np.ndarray
    target: np.ndarray  # labels, for a loss of labels
    y: np.ndarray  # what the net made of x, before the step
    loss: float

    @property
    def wrong(self):
        """How many images the net took for another class than their label."""
        return int(np.count_nonzero(self.y.argmax(axis=1) != self.target))


def steps(net, optimizer, batches, *, loss=softmax_cross_entropy, schedule=None, first=0):
    """Train a net one step on each batch, and yield a ``Step`` after it.

    Parameters
    ----------
    net : Layer
        In the mode it is in; ``net.train()`` is for the caller.
    optimizer : Optimizer
        Of parameters of the net; a part of them, if the others are to stay as they are.
    batches : iterable of (x, target)
    loss : function of (y, target), default softmax_cross_entropy
        Returns (loss, dL/dy).
    schedule : Schedule, optional
        Sets the learning rate before each step, and observes the error after it where targets are labels.
    first : int, default 0
        Number of steps taken before, for the schedule and the messages.

    Raises
    ------
    InvalidArgument
        When the optimizer moves parameters that are not the net's.
    Diverged
        When loss, gradients or parameters are not finite; no parameter is changed by that step.

    Examples
    --------
    >>> from minires import Linear, SGD, mean_squared_error
    >>> net, x = Linear(2, 1, rng=0), np.eye(2)
    >>> data = [(x, x.sum(axis=1, keepdims=True))] * 200
    >>> for step in steps(net, SGD(net.parameters(), lr=0.5), data, loss=mean_squared_error):
    ...     pass
    >>> round(step.loss, 6)
    0.0
    """
    require_own_parameters(net, optimizer)
    for number, (x, target) in enumerate(batches, first + 1):
        if schedule is not None:
            optimizer.lr = schedule.lr(number - 1)
        when = f"Step {number}, learning rate {optimizer.lr:g}"
        with np.errstate(all="ignore"), not_finite_explained(net, x, target, when, loss):
            y = net.forward(x)
            value, dy = loss(y, target)
            optimizer.zero_grad()
            net.backward(dy)
            require_finite([value, *(parameter.grad for parameter in optimizer.parameters())])
            optimizer.step()
        step = Step(number, x, target, y, value)
        if schedule is not None and np.asarray(target).dtype.kind in "iu":
            schedule.observe(step.wrong / len(target))
        yield step


def require_own_parameters(net, optimizer):
    """Raise InvalidArgument, naming them, when an optimizer moves parameters that are not the net's."""
    own, moved = dict(net.named_parameters()), {id(parameter) for parameter in optimizer.parameters()}
    known = {id(parameter) for parameter in own.values()}
    strays = [(i, p) for i, p in enumerate(optimizer.parameters()) if id(p) not in known]
    if strays:
        left = [name for name, parameter in own.items() if id(parameter) not in moved]
        raise InvalidArgument(
            f"train: the optimizer moves {some([f'parameter {i} {p.data.shape}' for i, p in strays])}, which the net "
            f"does not have, and not its {some(left)}. Was the optimizer made for another net, or before a layer was "
            "replaced? Make it anew from net.parameters()."
        )


# -- numbers that are not finite --------------------------------------------------------------------------------


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
