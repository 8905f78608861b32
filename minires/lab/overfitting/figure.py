"""Error and loss on few images."""

from minires.figures import learning_curves, sheet


def overfitting_figure(logs):
    """Error and loss on the few images that were trained on, and on others; {"resnet-20": [log of each seed], ...}."""
    if not logs or not all(logs.values()):
        raise ValueError("overfitting_figure: expected the log of at least one net, got none.")
    figure = sheet(11.0, 4.2)
    for axis, of in zip(figure.subplots(1, 2), ("error", "loss")):
        learning_curves([axis], {"": logs}, of=of, place="upper right")
    return figure
