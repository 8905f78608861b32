"""The explanations held against the same networks: the sizes of gradients with batch norm, without it and without He's
initialisation; how far from an image its gradient still points the same way; how far each block is from handing on its
input. A table says which of these numbers separates plain from residual networks::

    minires lab explanations                               # synthetic images, a few minutes
    minires lab explanations --data cifar10 --seeds 0 1 2 --steps 0
    minires lab explanations --data cifar10 --pretrained   # the trained nets that come with minires
"""

import numpy as np

from minires.figures import noted
from minires.lab.controls import scaled_weights, without_batchnorm
from minires.lab.experiment import lab_options, number
from minires.lab.explanations.figure import explanations_figure
from minires.lab.explanations.measure import closing_table, gradient_correlation, identity_distance, measure, two_depths
from minires.probe import gradient_flow

VARIANTS = {
    "batch norm, He": lambda net: net,
    "batch norm, variance 1/fan_in": lambda net: scaled_weights(net, 0.5**0.5),
    "no batch norm, He": without_batchnorm,
    "no batch norm, variance 1/fan_in": lambda net: scaled_weights(without_batchnorm(net), 0.5**0.5),
}


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[20, 56], steps=160, several_seeds=True)


def run(lab):
    batch, subjects = lab.batch(), lab.subjects()
    two_depths([(subject.kind, subject.depth) for subject in subjects])  # before anything is computed
    measured, errors, pictures = look_at(subjects, lab, batch)
    lab.note, figures = lab.setting(), {}
    for when, found in pictures.items():
        name = f"explanations-{when.lower().replace(' ', '-').replace(',', '')}"
        figures[name] = noted(explanations_figure(*found), f"{when}. {lab.note}")
    if errors:
        means = (f"{name} {number(np.mean([*seeds.values()]), '.1%')}" for name, seeds in errors.items())
        print(f"\nTraining error: {', '.join(means)}")
    tables = {when: closing_table(found) for when, found in measured.items()}
    page = "\n\n".join(f"{when}\n\n{table}" for when, table in tables.items())
    print(f"\n{page}")
    (lab.out / "tables.md").write_text(f"{page}\n", encoding="utf-8")
    by_name = {
        when: {f"{kind}-{depth}": seeds for (kind, depth), seeds in found.items()} for when, found in measured.items()
    }
    return figures, {"tables": tables, "errors": errors, "measured": by_name}


def look_at(subjects, lab, batch):
    """Measure every network at the start and at the end: (numbers, training errors, pictures of the first seed)."""
    measured, errors, pictures = {}, {}, {}
    for subject in subjects:
        name, first = subject.name, subject.seed == lab.options.seeds[0]
        for snapshot in subject.moments(lab, [0, lab.options.steps]):
            net, step = subject.net.train(), snapshot.step
            when = f"After {step:,} steps" if step else "At the start"
            if step and step == subject.config.get("steps"):
                when = "After training"  # of nets that were trained for different numbers of steps
            found = measure(net, *batch)
            measured.setdefault(when, {}).setdefault((subject.kind, subject.depth), []).append(found)
            words = ", ".join(f"{question} {value:.2f}" for question, value in found.items())
            if step:
                words += f", training error {number(snapshot.error, '.1%')}"
                errors.setdefault(name, {})[subject.seed] = snapshot.error  # in the end that of the last moment
            print(f"{name}, seed {subject.seed}, step {step}: {words}")
            if first:
                norms, correlations, distances = pictures.setdefault(when, ({}, {}, {}))
                variants = {"as trained": lambda net: net} if step else VARIANTS  # variants are never trained
                for words, change in variants.items():
                    norms.setdefault(words, {})[name] = gradient_flow(change(net), *batch)
                correlations[name] = gradient_correlation(net, batch[0][:16])
                distances[name] = identity_distance(net, batch[0])
    return measured, errors, pictures
