"""The part of a report that says how it was done: settings, runs, machines, commands."""

import re
import shlex
from collections import defaultdict
from html import escape

from minires.checks import is_real
from minires.lab.runs import by_key
from minires.page import table
from minires.report.errors import NONE


def settings(group):
    """The configuration of a set, as run.json has it."""
    names = dict.fromkeys(name for run in group for name in run.settings())
    return table("From run.json", [], [[name, value_of(group, name)] for name in names], facts=True)


def value_of(group, name):
    """Return a setting in words; where runs differ, with the names of those that have it."""
    values = defaultdict(list)
    for run in group:
        values[_in_words(run.config.get(name))].append(run.name)
    if len(values) == 1:
        return next(iter(values))
    return "; ".join(f"{value} ({', '.join(dict.fromkeys(names))})" for value, names in values.items())


def _in_words(value):
    if isinstance(value, dict):
        return ", ".join(f"{name} {_in_words(item)}" for name, item in value.items())
    if isinstance(value, list):
        return "; ".join(map(_in_words, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def history(group):
    """How far each run came, and when."""
    rows = []
    for run in group:
        seconds = sum(filter(is_real, (session.get("seconds") for session in run.sessions)))
        began = str(run.sessions[0].get("started", NONE))[:10] if run.sessions else NONE
        rows.append([run.label, run.state, began, f"{seconds / 60:.1f}" if seconds else NONE])
    return table("How far each came", ["folder", "state", "begun", "minutes"], rows, facts=True)


def machines(group):
    """What they ran on; a column for each machine or version."""
    ran = defaultdict(list)  # {about the machine, as items: folders}
    for run in group:
        for session in run.sessions:
            about = {name: session.get(name) for name in ("cpu", "cores", "threads", "kernels", "platform")}
            versions = session.get("versions")
            about |= versions if isinstance(versions, dict) else {}
            ran[tuple((name, _in_words(value)) for name, value in about.items())].append(run.label)
    if not ran:
        return ""
    folders = [list(dict.fromkeys(names)) for names in ran.values()]
    all_runs = len({run.label for run in group})
    head = ["", *("all runs" if len(names) == all_runs else ", ".join(names) for names in folders)]
    names = dict.fromkeys(name for about in ran for name, _ in about)
    rows = [[name, *(dict(about).get(name, NONE) for about in ran)] for name in names]
    return table("Machine and versions", head, rows, facts=True)


def commands(group):
    """The commands of examples/degradation_cifar.py that give these runs, if they are its; else nothing."""
    if not all({"net", "depth", "budget", "data"} <= run.config.keys() for run in group):
        return ""
    by_net = defaultdict(lambda: defaultdict(list))  # {net: {seeds: depths}}
    for (net, depth), runs in by_key(group).items():
        by_net[net][tuple(run.seed for run in runs)].append(str(depth))
    asked = defaultdict(list)  # {(depths, seeds): nets}
    for net, by_seeds in by_net.items():
        for seeds, depths in by_seeds.items():
            asked[tuple(depths), seeds].append(net)
    config, note = group[0].config, re.fullmatch(r"[^(]*\((.*)\)", group[0].images)
    images = "cifar10" if "CIFAR-10" in str(config["data"]) else "synthetic"
    common = ["--data", images, "--budget", str(config["budget"])]
    for option, name in {"--steps": "steps", "--batch-size": "batch_size", "--eval-every": "test_every"}.items():
        common += [option, str(config[name])] if name in config else []
    common += ["--data-note", note[1]] if note else []
    common += ["--validation"] if any("left out of training" in text for text in group[0].deviations) else []
    lines = "\n".join(
        "python examples/degradation_cifar.py "
        + shlex.join([*common, "--nets", *nets, "--depths", *depths, "--seeds", *seeds])
        for (depths, seeds), nets in asked.items()
    )
    return (
        f"<pre>{escape(lines)}</pre>\n<p>On the same machine, with the same number of threads "
        "(MINIRES_NUM_THREADS) and the same kernels, the numbers come out the same; elsewhere they differ by "
        "rounding.</p>"
    )
