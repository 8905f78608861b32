"""The part of a report that is measured anew: where gradients go, how strongly layers respond."""

import numpy as np

from minires.figures import BRANCH, SHORTCUT
from minires.lab.flow.figure import leaving, river_figure
from minires.lab.responses.figure import response_figures
from minires.lab.runs import name_of
from minires.page import figures, image, scrolling, table


def rivers(measured, images):
    """Every network as a river of gradient, and the norms at its ends."""
    flows = {name_of(key): flow for key, flow in measured.flows.items()}
    steps = [f"{step:,}" for step in measured.steps.values()]
    ends = [(flow[-1].entering, leaving(flow[0])) for flow in flows.values()]  # as they stand beside the rivers
    words = "; ".join(f"{name} from {a:.2g} to {b:.2g}" for name, (a, b) in zip(flows, ends))
    river = image(river_figure(flows), f"Rivers of gradient; norms at the last block and behind the first: {words}.")
    rows = [
        [name, f"{a:.3g}", f"{b:.3g}", f"{b / a:.3g}" if a else "–", step]
        for name, (a, b), step in zip(flows, ends, steps)
    ]
    head = ["network", "enters the last block", "leaves the first block", "ratio", "step"]
    legend = "".join(
        f'<span class="swatch" style="background: {colour}"></span> {words}'
        for colour, words in ((SHORTCUT, "through the shortcut"), (BRANCH, "through the branch"))
    )
    return (
        "<p>Each network is a river, from the loss on the left to the input on the right. At every block it parts. Its "
        "width is the square root of the norm of its gradient; the strands share it as their squared norms, which add "
        f"up. Every river has a scale of its own. First {images} training images as they are, training mode.</p>\n"
        f"<p>{legend}</p>\n{scrolling(river, 'Rivers of gradient')}\n"
        + table("Norm of the gradient at both ends", head, rows)
    )


def responses(measured, images):
    """Fig. 7 of the paper, and the mean response of each network."""
    found = {key: [row.std for row in rows] for key, rows in measured.responses.items()}
    words = "; ".join(f"{name_of(key)} {np.mean(stds):.2f}" for key, stds in found.items())
    drawn = figures(
        (figure, f"Response of every 3x3 layer, {order}; means: {words}.")
        for order, figure in response_figures(measured.responses).items()
    )
    rows = [
        [name_of(key), *(f"{function(stds):.3f}" for function in (np.mean, min, max)), f"{measured.steps[key]:,}"]
        for key, stds in found.items()
    ]
    return (
        "<p>Standard deviation of each 3x3 layer’s output after its batch norm, before ReLU or addition (the paper’s "
        f"Fig. 7); plain networks dashed. First {images} test images, evaluation mode.</p>\n{drawn}\n"
        + table("Layer responses", ["network", "mean", "least", "largest", "step"], rows)
    )
