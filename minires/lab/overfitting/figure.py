"""Error and loss on few images."""

from minires.figures import colours, learning_curves, sheet


def overfitting_figure(logs, note=""):
    """Error and loss on the few images that were trained on, and on those that were not.

    Parameters
    ----------
    logs : dict
        ``{"resnet-20": [log of each seed], ...}``, one colour each.
    note : str
        What was run, for the foot of the figure; broken into lines.
    """
    if not logs or not all(logs.values()):
        raise ValueError("overfitting_figure: expected the log of at least one net, got none.")
    figure = sheet(11.0, 4.2, note)
    for axis, of in zip(figure.subplots(1, 2), ("error", "loss")):
        learning_curves([axis], [logs], colours(logs), of, "upper right")
    return figure
