"""What may stand on a shortcut, and where may activations go? The papers' ablations, and a short run held against them.

Each of ``TABLES`` (He et al. 2015, arXiv:1512.03385; 2016, arXiv:1603.05027) compares networks that differ in one
thing. What is compared here is their *order*: errors after some hundred steps are far above the published ones.
"""

from math import inf
from typing import NamedTuple

import numpy as np

from minires.networks import VARIANTS, cifar_plain, cifar_resnet, cifar_variant


class Table(NamedTuple):
    """A published comparison."""

    title: str
    paper: str
    setting: str
    errors: dict  # {name: test error in %}; inf where the paper says fail


_shortcuts = {name: row.error_110 for name, row in VARIANTS.items() if row.order == "original"}
_orders = {name: row.error_110 for name, row in VARIANTS.items() if name == "original" or row.order != "original"}
_options = {"plain": 28.54, "A": 25.03, "B": 24.52, "C": 24.19}
TABLES = {
    "shortcuts": Table("what stands on the shortcut", "He et al. 2016, Table 1", "ResNet-110 on CIFAR-10", _shortcuts),
    "activations": Table("the order of activations", "He et al. 2016, Table 2", "ResNet-110 on CIFAR-10", _orders),
    "projections": Table("what passes a change of shape", "He et al. 2015, Table 3", "34 layers on ImageNet", _options),
}
NAMES = list(dict.fromkeys(name for table in TABLES.values() for name in table.errors))

# Two names of one network: shortcuts multiplied by 0 leave a plain one, and CIFAR's "original" has option A.
SAME = {"A": "original", "C": "conv-shortcut", "scaling-0": "plain"}

FAIL = 0.8  # a test error above it is a failure here; chance is 0.9. The papers' 0.2 is out of reach of a short run


def ablation_net(name, depth, classes=10, rng=None, in_channels=3):
    """Return the CIFAR network of ``depth`` = 6n + 2 layers that a row of ``TABLES`` is about, one of ``NAMES``.

    One seed gives the convolutions of the branches the same weights, whatever the name.

    >>> type(ablation_net("dropout-shortcut", 20, rng=0).stage1[0].residual.shortcut[1]).__name__
    'Dropout'
    """
    if name not in NAMES:
        raise ValueError(f"ablation_net: expected one of {', '.join(NAMES)}, got {name!r}.")
    if name == "plain":
        return cifar_plain(depth, classes, rng, in_channels)
    if name in ("A", "B", "C"):
        return cifar_resnet(depth, name, classes, rng, in_channels)
    return cifar_variant(depth, name, bottleneck=False, classes=classes, rng=rng, in_channels=in_channels)


class Row(NamedTuple):
    """A network in a paper's table, and here."""

    name: str
    published: float  # test error in %, inf where the paper says fail
    train: list  # error for each seed; nan where training diverged
    test: list

    @property
    def failed(self):
        """Whether training diverged, for any seed, or the mean test error is above ``FAIL``."""
        return not float(np.mean(self.test)) <= FAIL

    @property
    def error(self):
        """Mean test error; inf for a failure."""
        return inf if self.failed else float(np.mean(self.test))

    def about(self):
        """Return what is kept of it."""
        return self._asdict() | {"published": self.published if self.published < inf else "fail", "failed": self.failed}


def rows_of(table, results, names=NAMES):
    """Return the rows of a table that are in ``names`` and have results, in the paper's order, best first.

    ``results`` are ``{name: [(training error, test error) for each seed]}``; of two names in ``SAME`` one is enough.
    """
    found = []
    for name, published in sorted(table.errors.items(), key=lambda item: item[1]):
        seeds = results.get(name) or results.get(SAME.get(name))
        if seeds and name in names:
            found.append(Row(name, published, *map(list, zip(*seeds))))
    return found


def ranks(errors):
    """Return the rank of each error, 1 for the least; equal ones share theirs."""
    return [1 + sum(other < error for other in errors) for error in errors]


class Agreement(NamedTuple):
    """How far two orders agree."""

    tau: float
    chance: float  # part of all random orders that agree at least as well
    names: int


def agreement(rows, draws=10_000, rng=0):
    r"""Compare the paper's order with the one here by Kendall's tau.

    .. math::
        \tau = \frac{\sum_{i<j} s_{ij} t_{ij}}{\sqrt{\sum_{i<j} s_{ij}^2 \sum_{i<j} t_{ij}^2}}, \qquad
        s_{ij} = \mathrm{sign}(a_i - a_j), \quad t_{ij} = \mathrm{sign}(b_i - b_j)

    1 for the same order and -1 for the opposite one; failures are last, and equal to each other (tau-b). It is nan
    where one side orders nothing. ``chance`` comes from so many random ``draws`` of an order.
    """
    errors = np.array([row.published for row in rows]), np.array([row.error for row in rows])
    paper, here = ((e[:, None] > e).astype(int) - (e[:, None] < e) for e in errors)  # signs; inf - inf would be nan
    size = np.sqrt(np.sum(paper**2) * np.sum(here**2))
    if not size:
        return Agreement(float("nan"), float("nan"), len(rows))
    rng, together = np.random.default_rng(rng), np.sum(paper * here)
    orders = (rng.permutation(len(rows)) for _ in range(draws))
    as_well = np.mean([np.sum(paper * here[np.ix_(order, order)]) >= together for order in orders])
    return Agreement(float(together / size), float(as_well), len(rows))


def verdict(rows):
    """Say in a sentence or two whether the order here is the paper's."""
    whole = agreement(rows)
    if np.isnan(whole.tau):
        return "Too few networks, or none that differ: nothing to compare."
    if whole.chance <= 0.05:
        words = "The order here follows the paper's, more than by chance"
    elif whole.tau < 0:
        words = "The order here is not the paper's"
    else:
        words = "Whether the order here is the paper's or chance, this run cannot say"
    said = [f"{words}: Kendall's tau {_numbers(whole)}"]
    both = [row for row in rows if row.published < inf and not row.failed]
    of_them = agreement(both)
    if len(both) < len(rows) and not np.isnan(of_them.tau):
        said.append(f"Among those that failed in neither, tau is {_numbers(of_them)}")
    if any(len(row.test) == 1 for row in rows):
        said.append("One seed: by another one neighbours may change places")
    return ". ".join(said) + "."


def _numbers(found):
    part = f"{found.chance:.0%}" if found.chance >= 0.01 else "fewer than 1%"
    return f"{found.tau:.2f} over {found.names} networks; {part} of random orders do as well"
