"""The canonical mistakes: what people really write into a backward. ``check_layer`` has to reject every one.

Each mistake is an edit of a right layer: a piece of the text of its class, and what stands there instead. The layer
itself has to pass at the same point. The table of edits is mutants.txt.
"""

import copy
import inspect
import sys
from pathlib import Path

import numpy as np

from minires import layers
from minires.layer import Layer
from minires.layers import BatchNorm2d, Dropout, Linear, Residual
from minires.losses import mean_squared_error, softmax_cross_entropy


def edited(layer, old, new):
    """The same layer, with the same parameters, of a class in whose text ``new`` stands for ``old``."""
    kind = type(layer)
    text = inspect.getsource(kind)
    if text.count(old) != 1:
        raise ValueError(f"mutants: expected {old!r} once in the text of {kind.__name__}, got {text.count(old)} times.")
    names = {**vars(sys.modules[kind.__module__]), "np": np}
    exec(text.replace(old, new), names)
    mutant = copy.deepcopy(layer)
    mutant.__class__ = names[kind.__name__]
    return mutant


# -- layers written out, for edits of what is compiled elsewhere --------------------------------------------------


class PlainNorm(BatchNorm2d):
    """BatchNorm2d's backward in plain NumPy."""

    def forward(self, x):
        self.kept = x, self.training
        return super().forward(x)

    def backward(self, dy):
        self._recall(dy)
        x, training = self.kept
        axes, M = (0, 2, 3), x.size // x.shape[1]
        mean, var = x.mean(axis=axes), x.var(axis=axes)
        if not training:
            mean, var = self.running_mean.data.astype(x.dtype), self.running_var.data.astype(x.dtype)
        invstd = 1 / np.sqrt(var + self.eps)
        xhat = (x - mean[:, None, None]) * invstd[:, None, None]
        self.weight.grad += (dy * xhat).sum(axis=axes)
        self.bias.grad += dy.sum(axis=axes)
        scale = (self.weight.data.astype(x.dtype) * invstd)[:, None, None]
        if training:
            dy = dy - dy.sum(axis=axes, keepdims=True) / M - xhat * (dy * xhat).sum(axis=axes, keepdims=True) / M
        return scale * dy


class PlainMaxPool(Layer):
    """The largest of each window of 2x2."""

    def forward(self, x):
        N, C, H, W = x.shape
        windows = x.reshape(N, C, H // 2, 2, W // 2, 2).swapaxes(3, 4).reshape(N, C, H // 2, W // 2, 4)
        return self._remember(windows.max(axis=-1), windows)

    def backward(self, dy):
        (windows,) = self._recall(dy)
        N, C, H, W, _ = windows.shape
        dx = dy[..., None] * (np.arange(4) == windows.argmax(axis=-1)[..., None])
        return dx.reshape(N, C, H, W, 2, 2).swapaxes(3, 4).reshape(N, C, 2 * H, 2 * W)


class PlainSigmoid(Layer):
    def forward(self, x):
        self.y = 1 / (1 + np.exp(-x))
        return self._remember(self.y)

    def backward(self, dy):
        self._recall(dy)
        slope = self.y * (1 - self.y)
        return dy * slope


class PlainLinear(Linear):
    def forward(self, x):
        self.x = x
        return super().forward(x)

    def backward(self, dy):
        self._recall(dy)
        self.weight.grad += dy.T @ self.x
        self.bias.grad += dy.sum(axis=0)
        return dy @ self.weight.data.astype(dy.dtype)


class PlainDropout(Dropout):
    def backward(self, dy):
        dx = super().backward(dy)
        return dx


class PlainResidual(Residual):
    """y = f(x) + g(x), and a branch that ends in a ReLU."""

    def forward(self, x):
        y = self.branch.forward(x)
        return y + self.shortcut.forward(x)

    def backward(self, dy):
        return self.branch.backward(dy) + self.shortcut.backward(dy)


# -- the table ----------------------------------------------------------------------------------------------------


def read(table):
    """Yield (layer, shape of x, name, old, new, message) for each edit in the table, mutants.txt."""
    names, layer, shape = {**vars(layers), **globals()}, None, None
    for line in table.read_text(encoding="utf-8").splitlines()[1:]:
        if " | " in line:
            yield (layer, shape, *map(str.strip, line.split(" | ")))
        elif line:
            expression, _, shape = line.partition(" on ")
            layer, shape = eval(expression, names), shape if shape == "ties" else eval(shape)


EDITS = list(read(Path(__file__).with_name("mutants.txt")))
LAYERS = {name: (layer, shape) for layer, shape, name, *_ in {id(edit[0]): edit for edit in EDITS}.values()}
LAYER_MUTANTS = {name: (layer, old, new, shape, message) for layer, shape, name, old, new, message in EDITS}


# -- losses: functions, each beside the correct one ---------------------------------------------------------------


def not_divided_by_N(logits, labels):
    loss, dlogits = softmax_cross_entropy(logits, labels)
    return loss, dlogits * len(logits)


def one_hot_not_subtracted(logits, labels):
    loss, dlogits = softmax_cross_entropy(logits, labels)
    dlogits[np.arange(len(logits)), labels] += 1 / len(logits)
    return loss, dlogits


def smoothing_forgotten(logits, labels, label_smoothing):
    loss, _ = softmax_cross_entropy(logits, labels, label_smoothing)
    return loss, softmax_cross_entropy(logits, labels)[1]


def class_weight_forgotten(logits, labels, weight):
    loss, _ = softmax_cross_entropy(logits, labels, weight=weight)
    return loss, softmax_cross_entropy(logits, labels)[1]


def weights_divided_by_N(logits, labels, weight):
    """Divided by the number of images, not by the sum of their weights."""
    loss, dlogits = softmax_cross_entropy(logits, labels, weight=weight)
    return loss, dlogits * (weight[labels].mean()).astype(logits.dtype)


def factor_2_missing(prediction, target):
    loss, dprediction = mean_squared_error(prediction, target)
    return loss, dprediction / 2


def divided_by_N_only(prediction, target):
    loss, dprediction = mean_squared_error(prediction, target)
    return loss, dprediction * prediction.shape[1]


def writes_into_logits(logits, labels):
    logits -= logits.max(axis=1, keepdims=True)
    return softmax_cross_entropy(logits, labels)


def writes_into_labels(logits, labels):
    """Labels that start at 1, made to start at 0 once more with every call."""
    labels -= 1
    return softmax_cross_entropy(logits, labels % logits.shape[1])


def no_gradient(prediction, target):
    return mean_squared_error(prediction, target)[0]


LABELS = np.array([0, 3, 1, 3])
TARGET = np.linspace(-1, 1, 20).reshape(4, 5)
CLASS_WEIGHT = np.array([1, 2, 0.5, 3, 0.7])

LOSS_MUTANTS = {  # name: (mutant, correct, arguments after the prediction, what the message has to match)
    "cross-entropy: 1/N missing": (
        not_divided_by_N,
        softmax_cross_entropy,
        (LABELS,),
        r"dlogits is wrong.*ratio 4.00: a factor 4 too many\? N = 4",
    ),
    "cross-entropy: one-hot missing": (one_hot_not_subtracted, softmax_cross_entropy, (LABELS,), "dlogits is wrong"),
    "cross-entropy: smoothing": (smoothing_forgotten, softmax_cross_entropy, (LABELS, 0.1), "dlogits is wrong"),
    "cross-entropy: class weight": (
        class_weight_forgotten,
        lambda logits, labels, weight: softmax_cross_entropy(logits, labels, weight=weight),
        (LABELS, CLASS_WEIGHT),
        "dlogits is wrong",
    ),
    "cross-entropy: sum of weights": (
        weights_divided_by_N,
        lambda logits, labels, weight: softmax_cross_entropy(logits, labels, weight=weight),
        (LABELS, CLASS_WEIGHT),
        "dlogits is wrong.*the same factor everywhere",
    ),
    "cross-entropy: writes into logits": (
        writes_into_logits,
        softmax_cross_entropy,
        (LABELS,),
        "forward writes into logits",
    ),
    "cross-entropy: writes into labels": (
        writes_into_labels,
        softmax_cross_entropy,
        (LABELS.copy(),),
        "the loss writes into its argument 2",
    ),
    "squared error: factor 2": (
        factor_2_missing,
        mean_squared_error,
        (TARGET,),
        "dprediction is wrong.*ratio 0.500: a factor 2 too few",
    ),
    "squared error: 1/D missing": (
        divided_by_N_only,
        mean_squared_error,
        (TARGET,),
        r"dprediction is wrong.*ratio 5.00: a factor 5 too many\? D = 5",
    ),
    "no gradient": (no_gradient, mean_squared_error, (TARGET,), r"expected the loss to return \(value, gradient\)"),
}
