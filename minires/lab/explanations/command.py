"""Is degradation a matter of vanishing gradients, of shattered ones, or of identities that are hard to learn?

The three explanations held against the same networks, plain and residual, shallow and deep: the sizes of gradients
with batch norm, without it and without He's initialisation; how far from an image its gradient still points the same
way (``minires lab shattered`` draws the same for networks of one number); how far each block is from handing on its
input. The table at the end says which of these numbers separates plain from residual networks. Try it::

    minires lab explanations                               # synthetic images, a few minutes
    minires lab explanations --data cifar10 --seeds 0 1 2 --steps 0
    minires lab explanations --runs runs/cifar10-30m       # trained by degradation_cifar.py
"""

import numpy as np

from minires.lab.controls import scaled_weights, without_batchnorm
from minires.lab.experiment import Experiment, lab_options
from minires.lab.explanations.measure import (
    DISTANCES,
    closing_table,
    gradient_correlation,
    identity_distance,
    measure,
    two_depths,
)
from minires.probe import gradient_flow

VARIANTS = {
    "batch norm, He": lambda net: net,
    "batch norm, variance 1/fan_in": lambda net: scaled_weights(net, 0.5**0.5),
    "no batch norm, He": without_batchnorm,
    "no batch norm, variance 1/fan_in": lambda net: scaled_weights(without_batchnorm(net), 0.5**0.5),
}


def add_options(parser):
    lab_options(parser, nets=["plain", "resnet"], depths=[20, 56], steps=160, several_seeds=True)


def run(options):
    from minires.lab.explanations.figure import explanations_figure  # here: matplotlib takes a while to load

    lab = Experiment(options)
    batch, subjects = lab.batch(), lab.subjects()
    two_depths([(subject.kind, subject.depth) for subject in subjects])  # before anything is computed
    measured, errors, pictures = look_at(subjects, lab, batch)
    note, figures = lab.setting(), {}
    for when, (norms, *below) in pictures.items():
        name = f"explanations-{when.lower().replace(' ', '-').replace(',', '')}"
        figures[name] = explanations_figure(norms, *below, f"{when}. {note}")
    if errors:
        print("\nTraining error: " + ", ".join(f"{name} {np.mean(seeds):.1%}" for name, seeds in errors.items()))
    tables = {when: closing_table(found) for when, found in measured.items()}
    page = "\n\n".join(f"{when}\n\n{table}" for when, table in tables.items())
    print(f"\n{page}")
    (lab.out / "tables.md").write_text(f"{page}\n", encoding="utf-8")
    by_name = {
        when: {f"{kind}-{depth}": seeds for (kind, depth), seeds in found.items()} for when, found in measured.items()
    }
    lab.keep(figures, {"tables": tables, "errors": errors, "measured": by_name}, note)


def look_at(subjects, lab, batch):
    """Measure every network at the start and at the end: (numbers, training errors, pictures of the first seed)."""
    measured, errors, pictures = {}, {}, {}
    bare = {words: {} for words in VARIANTS}
    for subject in subjects:
        first = subject.seed == lab.options.seeds[0]
        if first:
            for words, change in VARIANTS.items():
                bare[words][subject.name] = gradient_flow(change(subject.net), *batch)
        for snapshot in subject.moments(lab, [0, lab.options.steps]):
            subject.net.train()
            when = "At the start" if snapshot.step == 0 else f"After {snapshot.step:,} steps"
            found = measure(subject.net, *batch)
            measured.setdefault(when, {}).setdefault((subject.kind, subject.depth), []).append(found)
            words = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
            error = f", training error {snapshot.error:.1%}" if snapshot.step else ""
            print(f"{subject.name}, seed {subject.seed}, step {snapshot.step}: {words}{error}")
            if snapshot.step:
                errors.setdefault(subject.name, []).append(snapshot.error)
            if first:
                norms = {"as trained": {}} if snapshot.step else bare  # the variants are never trained
                norms, correlations, distances = pictures.setdefault(when, (norms, {}, {}))
                if snapshot.step:
                    norms["as trained"][subject.name] = gradient_flow(subject.net, *batch)
                correlations[subject.name] = DISTANCES, gradient_correlation(subject.net, batch[0][:16])
                distances[subject.name] = identity_distance(subject.net, batch[0])
    return measured, errors, pictures
