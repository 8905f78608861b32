"""The canonical mistakes: what people really write into a backward. ``check_layer`` has to reject every one.

Each mutant is a correct layer with one mistake in it. Without the mistake (``without_mistake``) it is its base class
again, and has to pass at the same point. The table below gives the shape of x and what the message has to say.
"""

import copy

import numpy as np

from minires import kernels
from minires.layers import (
    AvgPool2d,
    BatchNorm2d,
    Concat,
    Conv2d,
    Dropout,
    Flatten,
    Gated,
    GlobalAvgPool2d,
    Identity,
    Linear,
    MaxPool2d,
    Product,
    ReLU,
    Residual,
    Scale,
    Sequential,
    Sigmoid,
    StochasticResidual,
    SubsampleShortcut,
    add,
)
from minires.losses import mean_squared_error, softmax_cross_entropy


def without_mistake(mutant):
    """The same layer, with the same parameters, but of the class that the mutant was made from."""
    correct = copy.deepcopy(mutant)
    correct.__class__ = type(mutant).__base__
    return correct


def per_channel(values):
    return values[:, None, None]


# -- convolution --------------------------------------------------------------------------------------------------


class ConvFromParts(Conv2d):
    """Conv2d's backward with each part a method, for mutants to get wrong. Itself correct."""

    def forward(self, x):
        self._x = x
        return super().forward(x)

    def backward(self, dy):
        self._recall(dy)
        self.weight.grad += self.dweight(dy, self._x)
        self.bias.grad += self.dbias(dy)
        return self.dx(dy, self._x, self.weight.data.astype(dy.dtype))

    def dweight(self, dy, x, pad=None, dilation=None):
        geometry = self.stride, pad or self.pad, dilation or self.dilation, self.groups
        return kernels.conv2d_weight_gradient(dy, x, self.weight.data.shape, *geometry)

    def dbias(self, dy):
        return dy.sum(axis=(0, 2, 3))

    def dx(self, dy, x, weight, pad=None, dilation=None):
        geometry = self.stride, pad or self.pad, dilation or self.dilation, self.groups
        return kernels.conv2d_input_gradient(dy, weight, x.shape, *geometry)


class KernelNotFlipped(ConvFromParts):
    def dx(self, dy, x, weight):
        return super().dx(dy, x, weight[:, :, ::-1, ::-1])


class OneRowOff(ConvFromParts):
    """dx lands one pixel further down: the padding was p, not p - 1."""

    def dx(self, dy, x, weight):
        (top, bottom), sides = self.pad
        return super().dx(dy, x, weight, pad=((top - 1, bottom + 1), sides))


class WindowsOneColumnOff(ConvFromParts):
    """dweight with each window taken one pixel too far to the right."""

    def dweight(self, dy, x):
        ends, (left, right) = self.pad
        return super().dweight(dy, x, pad=(ends, (left - 1, right + 1)))


class PaddingNotCutOff(ConvFromParts):
    """dx of the padded image, cut at the far end only."""

    def dx(self, dy, x, weight):
        return super().dx(dy, x, weight, pad=tuple((0, before + after) for before, after in self.pad))


class DilationForgottenInDx(ConvFromParts):
    def dx(self, dy, x, weight):
        return super().dx(dy, x, weight, pad=pad_as_if_dense(self), dilation=(1, 1))


class DilationForgottenInDweight(ConvFromParts):
    def dweight(self, dy, x):
        return super().dweight(dy, x, pad=pad_as_if_dense(self), dilation=(1, 1))


def pad_as_if_dense(conv):
    """So much less padding at the end that without dilation there are as many windows."""
    extra = [(k - 1) * (d - 1) for k, d in zip(conv.kernel_size, conv.dilation)]
    return tuple((before, after - e) for (before, after), e in zip(conv.pad, extra))


class GroupsMixed(ConvFromParts):
    """Each group's filters learn from the channels of the group before."""

    def dweight(self, dy, x):
        return super().dweight(dy, np.roll(x, self.in_channels // self.groups, axis=1))


class GroupsMixedInDx(ConvFromParts):
    def dx(self, dy, x, weight):
        return np.roll(super().dx(dy, x, weight), self.in_channels // self.groups, axis=1)


class LastWindowForgotten(ConvFromParts):
    """A loop that ends one window early; with an image of one window only, nothing is left."""

    def dx(self, dy, x, weight):
        dy = dy.copy()
        dy[:, :, :, -1] = 0
        return super().dx(dy, x, weight)


class KernelTransposed(ConvFromParts):
    def dweight(self, dy, x):
        return super().dweight(dy, x).swapaxes(2, 3)


class ChannelsTransposed(ConvFromParts):
    """weight used as (C, O, kh, kw), which no shape forbids where C = O."""

    def dx(self, dy, x, weight):
        return super().dx(dy, x, weight.swapaxes(0, 1))


class DweightAveraged(ConvFromParts):
    def dweight(self, dy, x):
        return super().dweight(dy, x) / len(x)


class DbiasOfFirstImage(ConvFromParts):
    """A sum over the wrong axes."""

    def dbias(self, dy):
        return dy.sum(axis=(2, 3))[0]


class DbiasAveraged(ConvFromParts):
    def dbias(self, dy):
        return dy.mean(axis=0).sum(axis=(1, 2))


class DbiasForgotten(ConvFromParts):
    def dbias(self, dy):
        return 0


class DweightOverwritten(Conv2d):
    """Right after zero_grad(), wrong wherever two gradients meet."""

    def backward(self, dy):
        self.weight.grad.fill(0)
        return super().backward(dy)


# -- batch norm ---------------------------------------------------------------------------------------------------


class NormFromParts(BatchNorm2d):
    """BatchNorm2d's backward in plain NumPy, with each part a method. Itself correct."""

    def forward(self, x):
        self._x, self._mode = x, self.training
        return super().forward(x)

    def backward(self, dy):
        self._recall(dy)
        x = self._x
        mean, var = self.statistics(x)
        invstd = self.invstd(var)
        xhat = (x - per_channel(mean)) * per_channel(invstd)
        self.weight.grad += self.dgamma(dy, x, xhat)
        self.bias.grad += dy.sum(axis=(0, 2, 3))
        scale = per_channel(self.weight.data.astype(x.dtype) * invstd)
        return self.in_training(dy, xhat, scale) if self._mode else self.in_evaluation(dy, xhat, scale)

    def statistics(self, x):
        if self._mode:
            return x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
        return self.running_mean.data.astype(x.dtype), self.running_var.data.astype(x.dtype)

    def invstd(self, var):
        return 1 / np.sqrt(var + self.eps)

    def dgamma(self, dy, x, xhat):
        return (dy * xhat).sum(axis=(0, 2, 3))

    def mean(self, a):
        return a.mean(axis=(0, 2, 3), keepdims=True)

    def in_training(self, dy, xhat, scale):
        return scale * (dy - self.mean(dy) - xhat * self.mean(dy * xhat))

    def in_evaluation(self, dy, xhat, scale):
        return scale * dy


class MeanForgotten(NormFromParts):
    def in_training(self, dy, xhat, scale):
        return scale * (dy - xhat * self.mean(dy * xhat))


class VarianceForgotten(NormFromParts):
    def in_training(self, dy, xhat, scale):
        return scale * (dy - self.mean(dy))


class StatisticsTakenAsConstants(NormFromParts):
    """The formula of evaluation in training."""

    def in_training(self, dy, xhat, scale):
        return self.in_evaluation(dy, xhat, scale)


class StatisticsNeverConstant(NormFromParts):
    """The formula of training in evaluation."""

    def in_evaluation(self, dy, xhat, scale):
        return self.in_training(dy, xhat, scale)


class SumsNotMeans(NormFromParts):
    """1/m missing."""

    def mean(self, a):
        return a.sum(axis=(0, 2, 3), keepdims=True)


class MeansOverTheImage(NormFromParts):
    """1/m with m = H*W, not N*H*W."""

    def mean(self, a):
        return a.sum(axis=(0, 2, 3), keepdims=True) / (a.shape[2] * a.shape[3])


class UnbiasedInBackward(NormFromParts):
    """1/(m-1), which belongs to running_var only."""

    def mean(self, a):
        m = a.size // a.shape[1]
        return a.mean(axis=(0, 2, 3), keepdims=True) * (m / (m - 1))


class GammaForgotten(BatchNorm2d):
    """What gamma = 1 would hide."""

    def backward(self, dy):
        return super().backward(dy) / per_channel(self.weight.data.astype(dy.dtype))


class GammaPositive(NormFromParts):
    """What every gamma > 0 would hide."""

    def in_training(self, dy, xhat, scale):
        return super().in_training(dy, xhat, np.abs(scale))


class EpsOutsideTheRoot(NormFromParts):
    """1/(sqrt(var) + eps), in backward only; off by a few millionths."""

    def invstd(self, var):
        return 1 / (np.sqrt(var) + self.eps)


class RunningStatisticsInTraining(NormFromParts):
    """xhat of evaluation in training."""

    def statistics(self, x):
        return self.running_mean.data.astype(x.dtype), self.running_var.data.astype(x.dtype)


class DgammaFromX(NormFromParts):
    def dgamma(self, dy, x, xhat):
        return (dy * x).sum(axis=(0, 2, 3))


class ReturnsZeros(BatchNorm2d):
    """Passes every check with an upstream gradient of ones."""

    def backward(self, dy):
        super().backward(dy)
        return np.zeros_like(dy)


# -- activations --------------------------------------------------------------------------------------------------


class MaskFromDy(ReLU):
    def backward(self, dy):
        self._recall(dy)
        return dy * (dy > 0)


class NoMask(ReLU):
    def backward(self, dy):
        self._recall(dy)
        return dy


class MaskFromOutputChangedLater(Residual):
    """Adds in place, to the very array from which the ReLU that ends the branch will take its mask."""

    def forward(self, x):
        y = self.branch.forward(x)
        y += self.shortcut.forward(x)
        return y


class SigmoidFromParts(Sigmoid):
    """Sigmoid with its slope a method. Itself correct."""

    def forward(self, x):
        self._y = super().forward(x)
        return self._y

    def backward(self, dy):
        self._recall(dy)
        return dy * self.slope(self._y)

    def slope(self, y):
        return y * (1 - y)


class SlopePlus(SigmoidFromParts):
    def slope(self, y):
        return y * (1 + y)


class SlopeWithoutOneMinusY(SigmoidFromParts):
    def slope(self, y):
        return y


class SlopeAsIfOfX(SigmoidFromParts):
    """sigmoid(y) (1 - sigmoid(y)): the formula in x, applied to y."""

    def slope(self, y):
        return np.exp(-y) / (1 + np.exp(-y)) ** 2


# -- pooling ------------------------------------------------------------------------------------------------------


class MaxPoolFromParts(MaxPool2d):
    """MaxPool2d that finds the maxima anew in backward. Itself correct."""

    def forward(self, x):
        self._x = x
        return super().forward(x)

    def backward(self, dy):
        self._recall(dy)
        window = self.kernel_size, self.stride, self.pad, self.dilation
        y, argmax = kernels.maxpool2d(self._x, *window, dy.shape[2:])
        return self.dx(dy, self._x, y, argmax)

    def dx(self, dy, x, y, argmax):
        return kernels.maxpool2d_backward(dy, argmax, x.shape)


class EveryMaximum(MaxPoolFromParts):
    """dy to every pixel equal to the maximum of its 2x2 window: right until two are equal."""

    def dx(self, dy, x, y, argmax):
        spread = np.ones((2, 2))
        return ((x == np.kron(y, spread)) * np.kron(dy, spread)).astype(dy.dtype)


class FirstPixel(MaxPoolFromParts):
    """dy to the top left pixel of each 2x2 window."""

    def dx(self, dy, x, y, argmax):
        dx = np.zeros_like(x)
        dx[:, :, ::2, ::2] = dy
        return dx


class LastWindowWins(MaxPoolFromParts):
    """Where windows overlap, dx is overwritten, not added to."""

    def dx(self, dy, x, y, argmax):
        N, C, H, W = x.shape
        dx = np.zeros((N, C, H * W), dy.dtype)
        np.put_along_axis(dx, argmax.reshape(N, C, -1).astype(np.int64), dy.reshape(N, C, -1), axis=2)
        return dx.reshape(x.shape)


class RowsAndColumnsSwapped(MaxPoolFromParts):
    """The flat index of the maximum read as if the image were W by H."""

    def dx(self, dy, x, y, argmax):
        N, C, H, W = x.shape
        return super().dx(dy, x.swapaxes(2, 3), y, argmax).swapaxes(2, 3)


class NotDivided(AvgPool2d):
    def backward(self, dy):
        kh, kw = self.kernel_size
        return super().backward(dy) * (kh * kw)


class PaddingCountedInBackward(AvgPool2d):
    def backward(self, dy):
        self.count_include_pad = True
        try:
            return super().backward(dy)
        finally:
            self.count_include_pad = False


class DividedByHTwice(GlobalAvgPool2d):
    """1/H**2: what a square image would hide."""

    def backward(self, dy):
        dx = super().backward(dy)
        _, _, H, W = dx.shape
        return dx * W / H


class GlobalNotDivided(GlobalAvgPool2d):
    def backward(self, dy):
        dx = super().backward(dy)
        _, _, H, W = dx.shape
        return dx * (H * W)


# -- composites ---------------------------------------------------------------------------------------------------


class SkipForgotten(Residual):
    def backward(self, dy):
        self.shortcut.backward(dy)
        return self.branch.backward(dy)


class BranchForgotten(Residual):
    def backward(self, dy):
        self.branch.backward(dy)
        return self.shortcut.backward(dy)


class SkipDoubled(Residual):
    def backward(self, dy):
        return add(self.branch.backward(dy), 2 * self.shortcut.backward(dy))


class ShortcutNotRun(Residual):
    """dx is right, for an identity; a projection would never learn."""

    def backward(self, dy):
        return add(self.branch.backward(dy), dy)


class ForwardOrder(Sequential):
    """The chain rule from the wrong end."""

    def backward(self, dy):
        for layer in self:
            dy = layer.backward(dy)
        return dy


class WrongChannels(SubsampleShortcut):
    """dy of the first C channels, not of those that were copied."""

    def backward(self, dy):
        dx = np.zeros_like(super().backward(dy))
        dx[:, :, :: self.stride, :: self.stride] = dy[:, : self.in_channels]
        return dx


class SpreadOverPixelsPassedOver(SubsampleShortcut):
    def backward(self, dy):
        dx = super().backward(dy).copy()
        dx[:, :, 1::2, :] = dx[:, :, :-1:2, :]
        return dx


class FactorForgotten(Scale):
    def backward(self, dy):
        self._recall(dy)
        return dy


class FactorsSwapped(Product):
    """Each path is handed the other's gradient."""

    def backward(self, dy):
        left, right = self._recall(dy)
        return add(self.left.backward(dy * left), self.right.backward(dy * right))


class GateTakenAsConstant(Gated):
    """The gate runs backward, but with nothing."""

    def backward(self, dy):
        h, t, s = self._recall(dy)
        dx = add(self.branch.backward(dy * t), self.shortcut.backward(dy * (1 - t)))
        return add(dx, self.gate.backward(0 * dy))


class CarryForgottenInGate(Gated):
    """dt = dy h, as if nothing were carried by 1 - t."""

    def backward(self, dy):
        h, t, s = self._recall(dy)
        dx = add(self.branch.backward(dy * t), self.shortcut.backward(dy * (1 - t)))
        return add(dx, self.gate.backward(dy * h))


class ShortcutNotGated(Gated):
    """dy on the shortcut whole, as in a residual block."""

    def backward(self, dy):
        h, t, s = self._recall(dy)
        dx = add(self.branch.backward(dy * t), self.shortcut.backward(dy))
        return add(dx, self.gate.backward(dy * (h - s)))


class PieceReversed(Concat):
    """The channels of each branch from the wrong end."""

    def backward(self, dy):
        (ends,) = self._recall(dy)
        pieces = [piece[:, ::-1] for piece in np.split(dy, ends, axis=1)]
        return sum(branch.backward(piece) for branch, piece in zip(self.branches(), pieces))


class LastBranchOnly(Concat):
    """dx overwritten by each branch in turn."""

    def backward(self, dy):
        (ends,) = self._recall(dy)
        for branch, piece in zip(self.branches(), np.split(dy, ends, axis=1)):
            dx = branch.backward(piece)
        return dx


class SurvivalForgotten(StochasticResidual):
    """Right in training, where b is 1 or 0."""

    def backward(self, dy):
        (b,) = self._recall(dy)
        dx = self.shortcut.backward(dy)
        return add(self.branch.backward(dy), dx) if b else dx


# -- linear, dropout ----------------------------------------------------------------------------------------------


class LinearFromParts(Linear):
    """Linear's backward with each part a method. Itself correct."""

    def forward(self, x):
        self._x = x
        return super().forward(x)

    def backward(self, dy):
        self._recall(dy)
        self.weight.grad += self.dweight(dy, self._x)
        self.bias.grad += self.dbias(dy)
        return self.dx(dy, self.weight.data.astype(dy.dtype))

    def dweight(self, dy, x):
        return dy.T @ x

    def dbias(self, dy):
        return dy.sum(axis=0)

    def dx(self, dy, weight):
        return dy @ weight


class DweightTransposed(LinearFromParts):
    """x^T dy, which fits where the matrix is square."""

    def dweight(self, dy, x):
        return x.T @ dy


class WeightTransposed(LinearFromParts):
    """dy W^T, which fits where the matrix is square."""

    def dx(self, dy, weight):
        return dy @ weight.T


class DbiasMeanOverBatch(LinearFromParts):
    def dbias(self, dy):
        return dy.mean(axis=0)


class DweightNeverAdded(LinearFromParts):
    def dweight(self, dy, x):
        return 0


class ScaleForgotten(Dropout):
    def backward(self, dy):
        dx = super().backward(dy)
        return dx * (1 - self.p) if self.training else dx


class NewMaskInBackward(Dropout):
    def backward(self, dy):
        super().backward(dy)
        return super().forward(dy)


class GlobalRandomness(Dropout):
    """A mask that no seed holds fast."""

    def forward(self, x):
        self.rng = np.random.default_rng()
        return super().forward(x)


# -- the rest of the contract -------------------------------------------------------------------------------------


class WritesIntoX(ReLU):
    def forward(self, x):
        np.maximum(x, 0, out=x)
        return self._remember(x, x)


class WritesIntoDy(ReLU):
    def backward(self, dy):
        (y,) = self._recall(dy)
        dy *= y > 0
        return dy


class WritesIntoY(SigmoidFromParts):
    """Saves an array, and changes what the next layer keeps."""

    def slope(self, y):
        y *= 1 - y
        return y


class WritesIntoWeight(Linear):
    """Weight decay in the wrong place."""

    def forward(self, x):
        self.weight.data *= 0.99
        return super().forward(x)


class SameArrayEveryTime(Sigmoid):
    """Returns one buffer again and again."""

    def forward(self, x):
        y = super().forward(x)
        if not hasattr(self, "_buffer") or self._buffer.dtype != x.dtype:
            self._buffer = np.zeros((10, *x.shape[1:]), x.dtype)
        self._buffer[: len(y)] = y
        return self._buffer[: len(y)]


class AlwaysFloat32(Sigmoid):
    def forward(self, x):
        return super().forward(x.astype(np.float32))


class GradientFloat32(Sigmoid):
    def backward(self, dy):
        return super().backward(dy).astype(np.float32)


class RoundsInForward(SigmoidFromParts):
    """float64 goes in and comes out, but passes through float32."""

    def forward(self, x):
        return super().forward(x.astype(np.float32)).astype(x.dtype)

    def slope(self, y):
        return super().slope(y).astype(np.float64)

    def _recall(self, dy):
        return super()._recall(dy.astype(np.float32))


class RoundsInBackward(Sigmoid):
    def backward(self, dy):
        return super().backward(dy).astype(np.float32).astype(dy.dtype)


class AlwaysFloat64(Sigmoid):
    """As np.zeros(shape) and np.float64 scalars do unasked."""

    def backward(self, dy):
        return super().backward(dy) * np.ones(dy.shape)


class GradIsAViewOfDy(Linear):
    """One image, so no sum is needed."""

    def backward(self, dy):
        dx = super().backward(dy)
        self.bias.grad = dy[0]
        return dx


class StaleX(LinearFromParts):
    """Keeps the x of the very first forward."""

    def forward(self, x):
        first = getattr(self, "_x", x)
        y = super().forward(x)
        self._x = first
        return y


class StaleShape(Flatten):
    def forward(self, x):
        self._shape = getattr(self, "_shape", x.shape)
        return super().forward(x)

    def backward(self, dy):
        super().backward(dy)
        return dy.reshape(self._shape)


class StaleSlope(SigmoidFromParts):
    """Computes the slope once, for as many images as the first batch had."""

    def slope(self, y):
        if not hasattr(self, "_slope") or self._slope.shape[1:] != y.shape[1:] or len(self._slope) < len(y):
            self._slope = super().slope(y)
        return self._slope[: len(y)].astype(y.dtype)


class CacheNotTaken(Sigmoid):
    """backward twice would go unnoticed."""

    def backward(self, dy):
        cache = self._cache
        dx = super().backward(dy)
        self._cache = cache
        return dx


class ReturnsNothing(ReLU):
    def backward(self, dy):
        super().backward(dy)


class WrongShape(Flatten):
    """Forgets to fold the row up again."""

    def backward(self, dy):
        self._recall(dy)
        return dy


class NeedsContiguous(Flatten):
    def backward(self, dy):
        return super().backward(dy.view(np.uint8).view(dy.dtype))


class ReadsTheBufferRaw(Sigmoid):
    """As compiled code does that takes every array for a contiguous one."""

    def backward(self, dy):
        dy = np.ndarray(dy.shape, dy.dtype, dy.base if dy.base is not None else dy)
        return super().backward(dy)


class NotANumber(Sigmoid):
    def backward(self, dy):
        return super().backward(dy) * np.nan


class Crashes(Sigmoid):
    def backward(self, dy):
        return super().backward(dy)[:, 99]


LAYER_MUTANTS = {  # name: (mutant, shape of x, what the message has to match)
    "conv: kernel not flipped": (KernelNotFlipped(2, 3, 3, padding=1, rng=0), (2, 2, 5, 4), "dx is wrong"),
    "conv: one row off": (OneRowOff(2, 3, 3, stride=2, padding=1, rng=0), (2, 2, 6, 5), "dx is wrong"),
    "conv: windows one column off": (
        WindowsOneColumnOff(2, 3, 3, stride=2, padding=1, rng=0),
        (2, 2, 6, 5),
        "weight.grad is wrong",
    ),
    "conv: padding not cut off": (PaddingNotCutOff(2, 3, 3, padding=1, rng=0), (2, 2, 5, 4), "dx is wrong"),
    "conv: dilation forgotten in dx": (
        DilationForgottenInDx(2, 3, 3, padding=2, dilation=2, rng=0),
        (2, 2, 6, 5),
        "dx is wrong",
    ),
    "conv: dilation forgotten in dweight": (
        DilationForgottenInDweight(2, 3, 3, padding=2, dilation=2, rng=0),
        (2, 2, 6, 5),
        "weight.grad is wrong",
    ),
    "conv: groups mixed": (GroupsMixed(4, 4, 3, groups=2, rng=0), (2, 4, 4, 5), "weight.grad is wrong"),
    "conv: groups mixed in dx": (GroupsMixedInDx(4, 4, 3, groups=2, rng=0), (2, 4, 4, 5), "dx is wrong"),
    "conv: last window forgotten": (LastWindowForgotten(2, 3, 3, stride=2, rng=0), (2, 2, 6, 7), "dx is wrong"),
    "conv: kernel transposed": (
        KernelTransposed(2, 3, 3, rng=0),
        (2, 2, 5, 4),
        "weight.grad is wrong.*Transposed, or flipped",
    ),
    "conv: channels transposed": (ChannelsTransposed(3, 3, 3, rng=0), (2, 3, 5, 4), "dx is wrong"),
    "conv: dweight averaged": (
        DweightAveraged(2, 3, 3, rng=0),
        (5, 2, 5, 4),
        r"weight.grad is wrong.*ratio 0.200: a factor 5 too few\? N = 5",
    ),
    "conv: dbias of the first image": (DbiasOfFirstImage(2, 3, 3, rng=0), (2, 2, 5, 4), "bias.grad is wrong"),
    "conv: dbias averaged": (
        DbiasAveraged(2, 3, 3, rng=0),
        (2, 2, 5, 4),
        r"bias.grad is wrong at 3 of 3 entries.*ratio 0.500: a factor 2 too few\? N = 2",
    ),
    "conv: dbias forgotten": (DbiasForgotten(2, 3, 3, rng=0), (2, 2, 5, 4), "bias.grad is wrong.*it stayed zero"),
    "conv: dweight overwritten": (
        DweightOverwritten(2, 3, 3, rng=0),
        (2, 2, 5, 4),
        "weight.grad is not added to the gradient already there",
    ),
    "batch norm: mean forgotten": (
        MeanForgotten(3),
        (4, 3, 2, 3),
        "train mode: dx is wrong.*off by one number all over each channel",
    ),
    "batch norm: variance forgotten": (VarianceForgotten(3), (4, 3, 2, 3), "train mode: dx is wrong"),
    "batch norm: statistics constant": (StatisticsTakenAsConstants(3), (4, 3, 2, 3), "train mode: dx is wrong"),
    "batch norm: statistics never constant": (StatisticsNeverConstant(3), (4, 3, 2, 3), "eval mode: dx is wrong"),
    "batch norm: 1/m missing": (SumsNotMeans(3), (4, 3, 2, 3), "train mode: dx is wrong"),
    "batch norm: m = H*W": (MeansOverTheImage(3), (4, 3, 2, 3), "train mode: dx is wrong"),
    "batch norm: 1/(m-1)": (UnbiasedInBackward(3), (4, 3, 2, 3), "train mode: dx is wrong"),
    "batch norm: gamma forgotten": (GammaForgotten(3), (4, 3, 2, 3), "dx is wrong.*A scale such as gamma"),
    "batch norm: gamma positive": (GammaPositive(2), (4, 2, 2, 3), "dx is wrong.*ratio -1.00: a sign?"),
    "batch norm: eps outside the root": (EpsOutsideTheRoot(3), (4, 3, 2, 3), r"dx is wrong.*ratio 0\.9999"),
    "batch norm: running statistics": (RunningStatisticsInTraining(3), (4, 3, 2, 3), "train mode: dx is wrong"),
    "batch norm: dgamma from x": (DgammaFromX(3), (4, 3, 2, 3), "weight.grad is wrong"),
    "batch norm: zeros": (ReturnsZeros(3), (4, 3, 2, 3), "dx is wrong.*it stayed zero"),
    "relu: mask from dy": (MaskFromDy(), (2, 3, 4, 5), "dx is wrong"),
    "relu: no mask": (NoMask(), (2, 3, 4, 5), "dx is wrong"),
    "relu: mask from an output changed later": (
        MaskFromOutputChangedLater(Sequential(Linear(4, 4, rng=0), ReLU())),
        (3, 4),
        "dx is wrong",
    ),
    "sigmoid: y (1 + y)": (SlopePlus(), (2, 3, 4), "dx is wrong"),
    "sigmoid: y": (SlopeWithoutOneMinusY(), (2, 3, 4), "dx is wrong"),
    "sigmoid: of y": (SlopeAsIfOfX(), (2, 3, 4), "dx is wrong"),
    "max pool: every maximum": (EveryMaximum(2), "ties", "dx is wrong"),
    "max pool: first pixel": (FirstPixel(2), (2, 3, 4, 6), "dx is wrong"),
    "max pool: last window wins": (LastWindowWins(3, stride=1), (2, 3, 5, 6), "dx is wrong"),
    "max pool: rows and columns swapped": (RowsAndColumnsSwapped(2), (2, 3, 4, 6), "dx is wrong"),
    "avg pool: not divided": (NotDivided((2, 3)), (2, 3, 4, 6), r"dx is wrong.*ratio 6.00: a factor 6"),
    "avg pool: padding counted in backward": (
        PaddingCountedInBackward(3, stride=2, padding=1, count_include_pad=False),
        (2, 3, 7, 7),
        "dx is wrong",
    ),
    "global avg pool: 1/H**2": (DividedByHTwice(), (2, 3, 4, 5), r"dx is wrong.*ratio 1.25"),
    "global avg pool: not divided": (
        GlobalNotDivided(),
        (2, 3, 5, 7),
        r"dx is wrong.*ratio 35.0: a factor 35 too many\? H\*W = 35",
    ),
    "residual: skip forgotten": (SkipForgotten(Conv2d(3, 3, 3, padding=1, rng=0)), (2, 3, 4, 5), "dx is wrong"),
    "residual: branch forgotten": (BranchForgotten(Conv2d(3, 3, 3, padding=1, rng=0)), (2, 3, 4, 5), "dx is wrong"),
    "residual: skip doubled": (SkipDoubled(Conv2d(3, 3, 3, padding=1, rng=0)), (2, 3, 4, 5), "dx is wrong"),
    "residual: projection never learns": (
        ShortcutNotRun(Conv2d(3, 3, 1, rng=0), Conv2d(3, 3, 1, rng=0)),
        (2, 3, 4, 5),
        "shortcut.weight.grad is wrong.*it stayed zero",
    ),
    "residual: shortcut not run": (
        ShortcutNotRun(Conv2d(3, 3, 1, rng=0)),
        (2, 3, 4, 5),
        "backward left the cache of shortcut",
    ),
    "sequential: forward order": (
        ForwardOrder(Linear(4, 4, rng=0), Sigmoid(), Linear(4, 4, rng=1)),
        (3, 4),
        "0.weight.grad is wrong",
    ),
    "scale: factor forgotten": (FactorForgotten(0.5), (2, 3, 4), "dx is wrong.*ratio 2.00"),
    "product: factors swapped": (
        FactorsSwapped(Linear(4, 3, rng=0), Linear(4, 3, rng=1)),
        (3, 4),
        "dx is wrong[^$]*right.bias.grad is wrong",
    ),
    "gated: gate taken as constant": (
        GateTakenAsConstant(Linear(4, 4, rng=0), Sequential(Linear(4, 4, rng=1), Sigmoid())),
        (3, 4),
        "gate.0.weight.grad is wrong.*it stayed zero",
    ),
    "gated: carry forgotten in the gate": (
        CarryForgottenInGate(Linear(4, 4, rng=0), Sequential(Linear(4, 4, rng=1), Sigmoid())),
        (3, 4),
        "gate.0.bias.grad is wrong",
    ),
    "gated: shortcut not gated": (
        ShortcutNotGated(Linear(4, 4, rng=0), Sequential(Linear(4, 4, rng=1), Sigmoid())),
        (3, 4),
        "dx is wrong",
    ),
    "concat: channels of a branch in another order": (
        PieceReversed(Identity(), Conv2d(2, 3, 1, rng=0)),
        (2, 2, 3, 4),
        "1.bias.grad is wrong",
    ),
    "concat: last branch only": (LastBranchOnly(Identity(), Conv2d(2, 3, 1, rng=0)), (2, 2, 3, 4), "dx is wrong"),
    "stochastic depth: survival forgotten": (
        SurvivalForgotten(Linear(4, 4, rng=0), survival=0.7, rng=0),
        (3, 4),
        "eval mode: dx is wrong",
    ),
    "shortcut A: wrong channels": (WrongChannels(4, 8), (2, 4, 6, 5), "dx is wrong"),
    "shortcut A: spread": (SpreadOverPixelsPassedOver(4, 8), (2, 4, 6, 5), "dx is wrong"),
    "linear: dW transposed": (DweightTransposed(4, 4, rng=0), (3, 4), "weight.grad is wrong.*Transposed"),
    "linear: dx transposed": (WeightTransposed(4, 4, rng=0), (3, 4), "dx is wrong"),
    "linear: db mean": (
        DbiasMeanOverBatch(5, 4, rng=0),
        (3, 5),
        r"bias.grad is wrong.*ratio 0.333: a factor 3 too few\? N = 3",
    ),
    "linear: dW never added": (DweightNeverAdded(5, 4, rng=0), (3, 5), "weight.grad is wrong.*it stayed zero"),
    "dropout: scale forgotten": (ScaleForgotten(0.5, rng=0), (3, 4, 5), "train mode: dx is wrong.*ratio 0.500"),
    "dropout: new mask": (NewMaskInBackward(0.5, rng=0), (3, 4, 5), "train mode: dx is wrong"),
    "dropout: no seed": (GlobalRandomness(0.5, rng=0), (3, 4, 5), "differs when run once more"),
    "writes into x": (WritesIntoX(), (2, 3, 4), "forward writes into x"),
    "writes into dy": (WritesIntoDy(), (2, 3, 4), "backward writes into dy"),
    "writes into y": (WritesIntoY(), (2, 3, 4), "backward writes into the y that forward had returned"),
    "writes into the weight": (WritesIntoWeight(5, 4, rng=0), (3, 5), "forward writes into weight.data"),
    "same array every time": (SameArrayEveryTime(), (2, 3, 4), "writes into the y of an earlier forward"),
    "always float32": (AlwaysFloat32(), (2, 3, 4), "y is float32, expected float64"),
    "gradient float32": (GradientFloat32(), (2, 3, 4), "dx is float32, expected float64"),
    "rounds in forward": (
        RoundsInForward(),
        (2, 3, 4),
        "y keeps about . of the 16 digits.*Does forward round to float32",
    ),
    "rounds in backward": (RoundsInBackward(), (2, 3, 4), "dx is float64, but has the digits of float32 only"),
    "always float64": (AlwaysFloat64(), (2, 3, 4), "dx is float64 when x is float32, expected float32"),
    "grad is a view of dy": (GradIsAViewOfDy(5, 4, rng=0), (1, 5), "bias.grad shares memory with dy"),
    "stale x": (StaleX(5, 4, rng=0), (3, 5), "after a batch of the same size"),
    "stale shape": (StaleShape(), (3, 2, 4), "after a batch of another size"),
    "stale slope": (StaleSlope(), (3, 4), "dx differs after a batch of the same size"),
    "cache not taken": (CacheNotTaken(), (2, 3, 4), "backward left the cache of the layer"),
    "returns nothing": (ReturnsNothing(), (2, 3, 4), "backward gave NoneType as dx.*Is `return dx` missing"),
    "wrong shape": (WrongShape(), (2, 3, 4), r"dx has shape \(2, 12\), expected \(2, 3, 4\)"),
    "needs contiguous": (NeedsContiguous(), (2, 3, 4), "backward raised ValueError when x and dy are strided"),
    "reads the buffer raw": (ReadsTheBufferRaw(), (2, 3, 4), "dx differs when x and dy are strided"),
    "not a number": (NotANumber(), (2, 3, 4), "dx is not finite"),
    "crashes": (Crashes(), (2, 3, 4), "backward raised IndexError"),
}


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
