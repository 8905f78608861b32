"""A step of training, over and over."""

from typing import NamedTuple

import numpy as np

from minires.checks import InvalidArgument, some
from minires.diverged import not_finite_explained, require_finite
from minires.losses import softmax_cross_entropy


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
    own, moved = dict(net.named_parameters()), optimizer.parameters()
    known = {id(parameter) for parameter in own.values()}
    strays = [f"parameter {i} {p.shape}" for i, p in enumerate(moved) if id(p) not in known]
    if strays:
        left = [name for name, parameter in own.items() if parameter not in moved]
        raise InvalidArgument(
            f"train: the optimizer moves {some(strays)}, which the net does not have, and not its {some(left)}. Was it "
            "made for another net, or before a layer was replaced? Make it anew from net.parameters()."
        )
