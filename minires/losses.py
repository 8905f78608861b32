"""Losses: functions that return the loss, one number, and its gradient with respect to what the net returned."""

import numpy as np


def softmax_cross_entropy(logits, labels, label_smoothing=0.0, weight=None):
    r"""Mean negative log-probability of the right class, with softmax for the probabilities.

    .. math::
        p[n, k] = \frac{e^{z[n, k]}}{\sum_j e^{z[n, j]}}, \qquad
        L = -\frac{1}{N} \sum_{n, k} t[n, k] \log p[n, k]

    z are the logits, and t the target: 1 at the label, 0 elsewhere. Smoothed by eps, it is 1 - eps at the label plus
    eps/K everywhere [Szegedy2015]. With class weights, t[n, k] is multiplied by w[k], and N becomes the sum of the
    weights of the labels. The largest logit of a row is subtracted first, which changes no p but keeps exp finite.

    Parameters
    ----------
    logits : array of floats (N, K)
    labels : array of ints (N,), from 0 to K - 1
    label_smoothing : float from 0 to 1, default 0
    weight : array (K,), optional
        Weight of each class.

    Returns
    -------
    loss : float
    dlogits : array (N, K), in the dtype of logits

    Backward
    --------
    For one example, L = -sum_k t_k z_k + (sum_k t_k) log sum_j exp z_j. The derivative of the last logarithm with
    respect to z_k is exp z_k / sum_j exp z_j = p_k, so

    .. math::
        dz = \left(p \sum_k t_k - t\right) / N

    which is (p - t) / N where t sums to 1. The entries of a row add up to 0: raising all logits changes nothing.

    References
    ----------
    .. [Szegedy2015] Szegedy et al., "Rethinking the Inception Architecture", arXiv:1512.00567, section 7.

    Examples
    --------
    >>> loss, dlogits = softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> dlogits
    array([[ 0.25,  0.25, -0.75,  0.25]])
    """
    labels = _check_classification(logits, labels, label_smoothing)
    N, K = logits.shape
    w = _check_class_weights(weight, labels, K).astype(logits.dtype)

    t = np.full((N, K), label_smoothing / K, logits.dtype)
    t[np.arange(N), labels] += 1 - label_smoothing
    t *= w
    total = w[labels].sum()  # N, where there are no weights

    z = logits - logits.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    loss = -(t * log_p).sum() / total
    dlogits = (np.exp(log_p) * t.sum(axis=1, keepdims=True) - t) / total
    return float(loss), dlogits


def mean_squared_error(prediction, target):
    r"""Mean squared difference, over all M entries.

    .. math::
        L = \frac{1}{M} \sum_i (y_i - t_i)^2

    Parameters
    ----------
    prediction, target : arrays of one shape
        y and t.

    Returns
    -------
    loss : float
    dprediction : array, in the shape and dtype of prediction

    Backward
    --------
    Each y_i stands in one term alone: dy_i = 2 (y_i - t_i) / M.

    Examples
    --------
    >>> mean_squared_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    (2.0, array([ 0., -2.]))
    """
    _check_floats("mean_squared_error", "prediction", prediction)
    target = np.asarray(target)
    if target.shape != prediction.shape:
        raise ValueError(
            f"mean_squared_error: expected target of shape {prediction.shape}, that of prediction, got {target.shape}."
        )
    difference = prediction - target.astype(prediction.dtype, copy=False)
    return float(np.mean(difference**2)), 2 * difference / difference.size


# -- checks -------------------------------------------------------------------------------------------------------


def _check_floats(who, name, x):
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64):
        got = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(f"{who}: expected {name} to be an array of float32 (or float64), got {got}.")
    if x.size == 0:
        raise ValueError(f"{who}: expected {name} of at least one example, got the empty batch {x.shape}.")
    if not np.isfinite(x).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        raise ValueError(
            f"{who}: expected finite {name}, got {x[where]} at {where}. "
            "Is there a NaN in the batch, or has training diverged? Then lower the learning rate."
        )


def _check_classification(logits, labels, label_smoothing):
    who = "softmax_cross_entropy"
    _check_floats(who, "logits", logits)
    labels = np.asarray(labels)
    if logits.ndim != 2:
        raise ValueError(f"{who}: expected logits of shape (N, K), a row of K classes an example, got {logits.shape}.")
    N, K = logits.shape
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{who}: expected labels to be ints, the numbers of the classes, got {labels.dtype}.")
    if labels.shape != (N,):
        hint = " Are they one-hot? Use labels.argmax(axis=1)." if labels.shape == (N, K) else ""
        raise ValueError(f"{who}: expected labels of shape ({N},), one a row of logits, got {labels.shape}.{hint}")
    if labels.min() < 0 or labels.max() >= K:
        worst = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(
            f"{who}: expected labels from 0 to {K - 1}, since logits have {K} classes, got {worst}. "
            "Do labels start at 1, or does the net have too few outputs?"
        )
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{who}: expected label_smoothing from 0 to 1, got {label_smoothing}.")
    return labels


def _check_class_weights(weight, labels, K):
    w = np.ones(K) if weight is None else np.asarray(weight)
    if w.shape != (K,):
        raise ValueError(f"softmax_cross_entropy: expected weight of shape ({K},), one for each class, got {w.shape}.")
    if not w[labels].sum() > 0:
        raise ValueError("softmax_cross_entropy: expected some label of the batch to have a weight above 0; none has.")
    return w
