"""Depth against width at one cost."""

from matplotlib.ticker import FixedLocator

from minires.figures import TEST, TRAINING, colours, learning_curves, panel, sheet


def width_figure(logs, ends):
    """Learning curves of nets that cost the same, and the errors at their end against the number of layers.

    By layers and width, ``logs`` are ``{(58, 16): [log of each seed], ...}`` and ``ends`` are
    ``{(58, 16): (mean training error, mean test error, parameters), ...}``.
    """
    if not logs or not all(logs.values()) or logs.keys() != ends.keys():
        raise ValueError("width_figure: expected logs and ends of at least one net, under the same keys.")
    nets, figure = sorted(logs), sheet(10.5, 4.2)
    curves, final = figure.subplots(1, 2, width_ratios=[1.3, 1])
    names = {net: "{} x {}".format(*net) for net in nets}
    colour = dict(zip(names.values(), colours([f"wide-{depth}" for depth, _ in nets]).values()))
    learning_curves([curves], {"": {names[net]: logs[net] for net in nets}}, colour)
    panel(curves, "layers x width", "iteration", "error (%)")
    layers = [depth for depth, _ in nets]
    for place, style in enumerate((TRAINING, TEST)):
        errors = [100 * ends[net][place] for net in nets]
        final.plot(layers, errors, color="#B8B8B8", zorder=1, **style)
        final.scatter(layers, errors, c=list(colour.values()), s=30, zorder=2)
    panel(final, "layers, width, parameters", y="error at the end (%)", log="x")
    final.xaxis.set_major_locator(FixedLocator(layers))
    labels = [f"{depth}\n{width} wide\n{ends[depth, width][2] / 1e6:.2f} M" for depth, width in nets]
    final.set_xticks(layers, labels, fontsize=8)
    final.set_ylim(0, 110 * max(max(end[:2]) for end in ends.values()))
    return figure
