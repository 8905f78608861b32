"""The part of a report that is measured anew: where gradients go, how strongly layers respond.

Networks are as their checkpoints hold them, images those they were trained on.
"""

import re

import numpy as np

from minires.checkpoint import load_checkpoint, load_inputs
from minires.data import batches, find_cifar10, load_cifar10, synthetic
from minires.data.dataset import fingerprint
from minires.figures import BRANCH, SHORTCUT
from minires.lab.flow.figure import leaving, river_figure
from minires.lab.responses.figure import response_figures
from minires.lab.responses.measure import layer_responses
from minires.lab.runs import name_of
from minires.networks import cifar_plain, cifar_resnet, network
from minires.page import figures, image, scrolling, table
from minires.probe import gradient_flow


def measure(runs, images, find):
    """Send so many images through every network that has a checkpoint; return ({run.key: found}, [what was not, why]).

    Found are ``gradient_flow`` on training images in training mode, ``layer_responses`` on test images in evaluation
    mode, and the steps taken when the checkpoint was written. ``runs`` are a list of ``Trained``, of several seeds the
    first counts; ``find`` is ``find_images`` of some place.
    """
    found, missing, chosen = {}, [], {}
    if not images:
        return found, ["Nothing was measured, as no images were asked for."]
    for run in sorted(runs, key=lambda run: not run.finished):
        if (run.folder / "checkpoint.npz").exists():
            chosen.setdefault(run.key, run)
    without = dict.fromkeys(run.name for run in runs if run.key not in chosen)
    if without:
        missing.append(f"Not measured, as there is no checkpoint.npz: {', '.join(without)}.")
    for key in dict.fromkeys(run.key for run in runs if run.key in chosen):
        run = chosen[key]
        try:
            train_set, test_set = find(*(str(run.config.get(name)) for name in ("data", "train_set", "test_set")))
            net, normalise = network_of(run), run.config.get("normalise", "pixel_mean")
            progress = load_checkpoint(run.folder / "checkpoint.npz", net)
            flow = gradient_flow(net, *next(batches(train_set, images, normalise=normalise)))
            rows = layer_responses(net.eval(), next(batches(test_set, images, normalise=normalise))[0])
            found[key] = flow, rows, progress.get("step", 0)
        except ValueError as error:  # no images, a damaged checkpoint, a net without stages
            why = str(error) if isinstance(error, NotFound) else f"{run.name} was not measured. {error}"
            missing += [why] * (why not in missing)
    return found, missing


def network_of(run):
    """Return a net of the kind that a run trained, by its name."""
    checkpoint, (family, depth), sizes = run.folder / "checkpoint.npz", run.key, {"classes": 10}
    try:
        inputs = load_inputs(checkpoint) if checkpoint.exists() else None
    except ValueError:  # damaged; whoever loads its weights will hear of it
        inputs = None
    if inputs:
        channels = len(inputs["normalisation"][1])
        sizes = {"classes": len(inputs["classes"])} | ({} if channels == 3 else {"in_channels": channels})
    if family in ("plain", "resnet"):  # of any depth: to network(), resnet-50 is ImageNet's
        return (cifar_plain if family == "plain" else cifar_resnet)(depth, **sizes, rng=0)
    return network(run.name, **sizes, rng=0)


class NotFound(ValueError):
    """Images that cannot be had; the message is a sentence."""


def find_images(place, data, *prints):
    """Return (training set, test set), the very ones that ``run.json`` describes in these words. Nothing is downloaded.

    ``place``: data_dir and data_file, where CIFAR-10 is, as for ``load_cifar10``.
    """
    sizes = [int(text.split()[0]) for text in prints if re.match(r"\d+ images", text)]
    if len(sizes) < 2 or not data.startswith(("synthetic", "CIFAR-10")):
        raise NotFound("Not measured: run.json does not say on which images, or on some that minires cannot find.")
    if data.startswith("synthetic"):
        known = [synthetic(*sizes), synthetic()]
    elif any(place) or find_cifar10():
        known = [load_cifar10(*place)]
    else:
        where = "minires data fetches it, and --data-dir or --data-file says where it is"
        raise NotFound(f"Not measured, as CIFAR-10 is not on this disk: {where}.")
    # Or a part of the training images was kept for tests.
    known += [(whole[: sizes[0]], whole[sizes[0] : sum(sizes)]) for whole, _ in known if len(whole) >= sum(sizes)]
    for pair in known:
        if tuple(map(fingerprint, pair)) == prints:
            return pair
    here = fingerprint(known[0][0])
    raise NotFound(f"Not measured, as the images found here ({here}) are not those of the runs ({prints[0]}).")


def rivers(found, images):
    """Every network as a river of gradient, and the norms at its ends."""
    flows = {name_of(key): flow for key, (flow, _, _) in found.items()}
    ends = [(flow[-1].entering, leaving(flow[0])) for flow in flows.values()]  # as they stand beside the rivers
    words = "; ".join(f"{name} from {a:.2g} to {b:.2g}" for name, (a, b) in zip(flows, ends))
    river = image(river_figure(flows), f"Rivers of gradient; norms at the last block and behind the first: {words}.")
    rows = [
        [name, f"{a:.3g}", f"{b:.3g}", f"{b / a:.3g}" if a else "–", f"{step:,}"]
        for name, (a, b), (*_, step) in zip(flows, ends, found.values())
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


def responses(found, images):
    """Fig. 7 of the paper, and the mean response of each network."""
    of_layers = {key: layers for key, (_, layers, _) in found.items()}
    stds = {key: [layer.std for layer in layers] for key, layers in of_layers.items()}
    words = "; ".join(f"{name_of(key)} {np.mean(of):.2f}" for key, of in stds.items())
    drawn = figures(
        (figure, f"Response of every 3x3 layer, {order}; means: {words}.")
        for order, figure in response_figures(of_layers).items()
    )
    rows = [
        [name_of(key), *(f"{function(of):.3f}" for function in (np.mean, min, max)), f"{found[key][2]:,}"]
        for key, of in stds.items()
    ]
    return (
        "<p>Standard deviation of each 3x3 layer’s output after its batch norm, before ReLU or addition (the paper’s "
        f"Fig. 7); plain networks dashed. First {images} test images, evaluation mode.</p>\n{drawn}\n"
        + table("Layer responses", ["network", "mean", "least", "largest", "step"], rows)
    )
