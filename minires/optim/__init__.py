"""Optimizers, and how their learning rate changes over a run.

An optimizer knows nothing of schedules: a schedule says what the rate of an iteration is, and the training loop hands
it on, ``optimizer.lr = schedule.lr(iteration)``.
"""

from minires.optim.base import Optimizer
from minires.optim.rules import SGD, Adam, AdamW, clip_gradients, split_decay
from minires.optim.schedules import Cosine, LinearWarmUp, MultiStep, Schedule, WarmUpUntil, warm_up_then_cosine

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Cosine",
    "LinearWarmUp",
    "MultiStep",
    "Optimizer",
    "Schedule",
    "WarmUpUntil",
    "clip_gradients",
    "split_decay",
    "warm_up_then_cosine",
]
