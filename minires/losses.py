"""Losses: functions that return the loss, one number, and its gradient with respect to what the net returned."""

import numpy as np

from minires.checks import floats, numbers_of_shape, real, require
from minires.pytorch import explained


class LossAndGradient(tuple):
    """The pair (loss, gradient)."""

    __getattr__ = explained("loss")


@np.errstate(under="ignore", over="ignore")
def softmax_cross_entropy(logits, labels, label_smoothing=0.0, weight=None):
    r"""Mean negative log-probability of the right class, softmax making probabilities of the logits z.

    .. math::
        p[n, k] = \frac{e^{z[n, k]}}{\sum_j e^{z[n, j]}}, \qquad
        L = -\frac{1}{N} \sum_{n, k} t[n, k] \log p[n, k]

    The target t is 1 at the label and 0 elsewhere; smoothed by eps, 1 - eps at the label plus eps/K everywhere
    [Szegedy2015]. Class weights w multiply it, t[n, k] w[k], and N becomes the sum of the labels' weights. The largest
    logit of a row is subtracted first: that changes no p, and no exp overflows.

    Parameters
    ----------
    logits : array of floats (N, K)
    labels : array of ints (N,)
        From 0 to K - 1.
    label_smoothing : float from 0 to 1, default 0
        eps.
    weight : array (K,), optional
        w, one number of at least 0 for each class.

    Returns
    -------
    loss : float
    dlogits : array (N, K), in the dtype of logits

    Backward
    --------
    The part of one example is L = -sum_k t_k z_k + (sum_k t_k) log sum_j exp z_j. That logarithm has the derivative
    exp z_k / sum_j exp z_j = p_k with respect to z_k, so

    .. math::
        dz = \left(p \sum_k t_k - t\right) / N

    which is (p - t) / N without class weights: what the net says minus what it should say. Each row adds up to 0,
    since the same number added to all its logits changes nothing.

    References
    ----------
    .. [Szegedy2015] Szegedy et al., "Rethinking the Inception Architecture", arXiv:1512.00567, section 7.

    >>> softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))[1]
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    floats("softmax_cross_entropy", "logits", logits)
    labels = _check_labels(labels, logits)
    label_smoothing = real("softmax_cross_entropy", "label_smoothing", label_smoothing, least=0, most=1)
    N, K = logits.shape
    t = np.full((N, K), label_smoothing / K, logits.dtype)
    t[np.arange(N), labels] += 1 - label_smoothing
    if weight is not None:
        weight = _check_class_weights(weight, labels, K)
        t *= weight
        N = float(weight[labels].sum())

    z = np.maximum(logits - logits.max(axis=1, keepdims=True), np.finfo(logits.dtype).min)  # not -inf: 0 * inf is NaN
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    loss = -(t * log_p).sum() / N
    dlogits = (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t) / N
    return LossAndGradient((float(loss), dlogits))


@np.errstate(under="ignore")
def mean_squared_error(prediction, target):
    r"""Mean squared difference of prediction y and target t, over all M numbers.

    .. math::
        L = \frac{1}{M} \sum_i (y_i - t_i)^2

    Parameters
    ----------
    prediction, target : arrays of one shape

    Returns
    -------
    loss : float
    dprediction : array, in the shape and dtype of prediction

    Backward
    --------
    y_i stands in one term of the sum: dy_i = 2 (y_i - t_i) / M.

    >>> mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (2.0, array([ 0., -2.]))
    """
    floats("mean_squared_error", "prediction", prediction)
    target = numbers_of_shape("mean_squared_error", "target", target, prediction.shape, "as prediction")
    difference = prediction - target.astype(prediction.dtype, copy=False)
    return LossAndGradient((float(np.mean(difference**2)), 2 * difference / difference.size))


def _check_labels(labels, logits):
    who = "softmax_cross_entropy"
    require(logits.ndim == 2, who, "logits of shape (N, K), K classes per row", logits.shape)
    N, K = logits.shape
    one_hot = "Are they one-hot? Use labels.argmax(axis=1)."
    labels = numbers_of_shape(who, "labels", labels, (N,), "one per row of logits", (N, K), one_hot)
    require(labels.dtype.kind in "iu", who, "labels, numbers of classes, as ints", labels.dtype, "Use .astype(int).")
    worst = labels.min() if labels.min() < 0 else labels.max()
    hint = "Do the labels start at 1, or has the net too few outputs?"
    require(0 <= worst < K, who, f"labels from 0 to {K - 1}, as logits have {K} classes", worst, hint)
    return labels


def _check_class_weights(weight, labels, K):
    who = "softmax_cross_entropy"
    weight = numbers_of_shape(who, "weight", weight, (K,), "one per class")
    require(np.all((weight >= 0) & np.isfinite(weight)), who, "a finite weight of at least 0 for each class", "others")
    require(weight[labels].sum() > 0, who, "a weight above 0 for some label of the batch", "none")
    return weight
