"""Do plain networks get worse with depth? Reading the logs of runs, beside what the paper printed.

He, Zhang, Ren and Sun, "Deep Residual Learning for Image Recognition", arXiv:1512.03385, section 4.2.
"""

import math
from typing import NamedTuple

import numpy as np


class Published(NamedTuple):
    """A test error in the paper, in %."""

    error: float | None  # the mean where there is one; None: the paper gives no more than a bound
    words: str


PAPER_STEPS = 64_000  # of 128 images

# He et al. 2015 on CIFAR-10, Table 6; of plain nets the paper prints curves only, read here to about half a point.
PUBLISHED = {
    ("plain", 20): Published(9.5, "about 9.5 (Fig. 6)"),
    ("plain", 32): Published(10.0, "about 10 (Fig. 6)"),
    ("plain", 44): Published(12.0, "about 12 (Fig. 6)"),
    ("plain", 56): Published(13.5, "about 13.5 (Fig. 6)"),
    ("plain", 110): Published(None, "above 60 (Fig. 6)"),
    ("resnet", 20): Published(8.75, "8.75"),
    ("resnet", 32): Published(7.51, "7.51"),
    ("resnet", 44): Published(7.17, "7.17"),
    ("resnet", 56): Published(6.97, "6.97"),
    ("resnet", 110): Published(6.61, "6.61 +- 0.16, best 6.43"),
    ("resnet", 1202): Published(7.93, "7.93"),
}


def final_errors(log):
    """Return (training error over the last tenth of the steps, images that it was measured on, test error) of a log.

    Of a run that has not been tested yet the test error is nan.

    >>> final_errors([{"kind": "train", "step": 9, "images": 80, "error": 0.25}])
    (0.25, 80, nan)
    """
    train_lines = [line for line in log if line["kind"] == "train" and line["step"] > 0.9 * log[-1]["step"]]
    images = sum(line["images"] for line in train_lines)
    wrong = sum(line["error"] * line["images"] for line in train_lines)
    tests = [line["error"] for line in log if line["kind"] == "test"]
    return wrong / images, images, tests[-1] if tests else math.nan


def percent(errors):
    """Return the mean in %, and the standard deviation over seeds where there are several, as text; "-" for nan."""
    if np.isnan(errors).any():
        return "-"
    spread = f" +- {100 * np.std(errors, ddof=1):.1f}" if len(errors) > 1 else ""
    return f"{100 * np.mean(errors):.1f}{spread} %"


HARDLY = 0.8  # a training error above it: of ten classes a guess errs in 0.9, so depth has had nothing to spoil


def mean_and_noise(errors, images):
    """Return the mean of errors over the seeds, and its standard error.

    That is what the number of images leaves open, or the spread over the seeds, whichever is larger. Of one seed only
    the former is known: two seeds of one net of 20 layers were 4.5 points apart after 600 steps.
    """
    errors, images = np.asarray(errors), np.asarray(images)
    spread = np.var(errors, ddof=1) if len(errors) > 1 else 0.0
    return errors.mean(), math.sqrt(max(np.mean(errors * (1 - errors) / images), spread) / len(errors))


def verdict(results):
    """Say what the numbers show about depth: the deepest against the shallowest net, by training error.

    A difference counts where it exceeds two standard errors; nets that have hardly learned (above ``HARDLY``) show
    nothing. ``results`` are ``{("plain", 20): [final_errors(log) of each seed], ("resnet", 20): ...}``. Returned is a
    sentence a line; nothing when no net has two depths.
    """
    said, change, worse, learned = [], {}, {}, {}
    for name in ("plain", "resnet"):
        depths = sorted(depth for net, depth in results if net == name)
        if len(depths) > 1:
            of = [mean_and_noise(*np.array(results[name, depth]).T[:2]) for depth in (depths[0], depths[-1])]
            (a, noise), (b, more_noise) = of
            clear = abs(b - a) > 2 * math.hypot(noise, more_noise)
            change[name], worse[name], learned[name] = b - a, clear and b > a, a <= HARDLY
            how = "about as well as" if not clear else "worse than" if b > a else "better than"
            errors = f"training error {b:.1%} against {a:.1%}"
            said.append(f"{name}-{depths[-1]} trains {how} {name}-{depths[0]}: {errors}.")
    if change and min(len(seeds) for seeds in results.values()) == 1:
        said.append("One seed: by another one these errors may move by several points.")
    if "plain" in change and not learned["plain"]:
        said.append("Even the shallow plain network has hardly learned: this says nothing of depth. Train longer.")
    elif "plain" in change and not worse["plain"]:
        said.append("This run shows no degradation of the plain network. Try a larger budget or more depth.")
    elif "plain" in change:
        said.append(
            "More layers made the plain network worse on its own training images: degradation, not overfitting."
        )
        if "resnet" in change and not worse["resnet"]:
            said.append("With shortcuts they did not.")
        elif "resnet" in change:
            points = f"{100 * change['resnet']:.1f} points against {100 * change['plain']:.1f}"
            said.append(f"The residual one got worse as well, by {points}; a larger budget may part them.")
    return "\n".join(said)
