"""Make files of weights and cards that come with the package from run folders.

A run folder is one that training filled: run.json, log.jsonl, checkpoint.npz, and step2000.npz, say, a copy of the
checkpoint at an early step.
"""

import argparse
import json
import sys
from pathlib import Path

from minires.checkpoint import CheckpointError, load_inputs, save_checkpoint
from minires.files import previous, sha256_of, written_safely
from minires.pretrained import HERE, digest, untrained
from minires.run import read_log, read_run_json
from minires.weights import load_weights


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m minires.pretrained", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--out", type=Path, default=HERE, metavar="FOLDER", help="where to (default: the package)")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "models.json"
    known = json.loads(table.read_text(encoding="utf-8")) if table.exists() else {}
    for run in options.runs:
        name, known[name] = ship(run, options.out)
        print(f"{name}: {', '.join(state['file'] for state in known[name]['states'].values())}, {name}.md")
    _write(table, json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    return 0


def ship(run, out):
    """Write the files and the card of one finished run; return (name, what ``models()`` has to say of it)."""
    about, log = read_run_json(run), read_log(run / "log.jsonl")
    config = about["config"]
    if about["status"] != "finished":
        raise CheckpointError(f"{run}: expected a finished run, got one that is {about['status']!r}.")
    name, sources = f"{config['net']}-{config['depth']}", {"final": (config["steps"], run / "checkpoint.npz")}
    early = min(((int(path.stem[4:]), path) for path in run.glob("step[0-9]*.npz")), default=None)
    classes = load_inputs(run / "checkpoint.npz")["classes"]
    net = untrained(name, len(classes), config["seed"])
    record = {"seed": config["seed"], "classes": len(classes), "start": digest(net), "config": config}
    record |= {"deviations": about["deviations"], "sessions": about["sessions"], "states": {}}
    for state, (step, source) in (({"early": early} if early else {}) | sources).items():
        load_weights(net, source)
        file = out / f"{name}-{state}.npz"
        save_checkpoint(file, net, inputs=load_inputs(source), step=step)
        previous(file).unlink(missing_ok=True)
        record["states"][state] = {"file": file.name, "sha256": sha256_of(file), "step": step, **errors(log, step)}
    _write(out / f"{name}.md", card(name, record))
    return name, record


def errors(log, step):
    """The errors around a step: in training over the tenth of the steps before it, and of the last test."""
    train, test = ([line for line in log if line["kind"] == k and line["step"] <= step] for k in ("train", "test"))
    train = [line for line in train if line["step"] > 0.9 * step] or train[-1:]
    images = sum(line["images"] for line in train)
    return {
        "train_error": sum(line["error"] * line["images"] for line in train) / images if images else None,
        "test_error": test[-1]["error"] if test else None,
        "best_test_error": min(line["error"] for line in test) if test else None,
    }


def card(name, about):
    """What there is to know of a network, in words."""
    config, session = about["config"], about["sessions"][-1]
    rows = ["| before | 0 |  |  |  | from the seed |"]
    for state, s in about["states"].items():
        found = " | ".join(_percent(s[kind]) for kind in ("train_error", "test_error", "best_test_error"))
        rows.append(f"| {state} | {s['step']:,} | {found} | `{s['file']}` {s['sha256']} |")
    optimizer = ", ".join(f"{key} {value}" for key, value in config["optimizer"][0].items() if value)
    departures = "".join(f"\n  - {text}" for text in about["deviations"] or ["none known"])
    versions = ", ".join(f"{key} {value}" for key, value in session["versions"].items())
    versions += f", commit {session['commit']}" if session.get("commit") else ""
    drawn = "crops and mirror images" if config["augment"] else "images as they are"
    return f"""# {name}

Trained by minires on {config["data"]} ({config["train_set"]}; tested on {config["test_set"]}).

| state | step | training error | test error | best test error | file and SHA-256 |
|---|---|---|---|---|---|
{chr(10).join(rows)}

- Recipe: {config["steps"]:,} steps of {config["batch_size"]} images; {optimizer}; {config["schedule"]}; {drawn};
  normalise={config["normalise"]!r}; seed {config["seed"]}.
- Departures from the paper:{departures}
- Made with {versions}; {session["cpu"]}, threads: {session["threads"]}.
- The training error is over the tenth of the steps before the state, on images as they were drawn then. The best test
  error is chosen by the test set itself, so it flatters.

`minires.pretrained("{name}")`, or `minires predict {name} IMAGE`. The files hold float32 arrays and no pickles.
"""


def _percent(error):
    return "" if error is None else f"{100 * error:.2f} %"


def _write(path, text):
    with written_safely(path) as file:
        file.write(text.encode())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"minires.pretrained: {error}")
