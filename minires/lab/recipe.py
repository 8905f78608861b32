"""How the degradation experiment and ``minires train`` train a network: the paper's recipe, and shorter ones."""

import math
from dataclasses import replace
from pathlib import Path

from minires.lab.experiment import data_options, images_named, load_data, positive, seeds_in_words, train_in_folder
from minires.optim import MultiStep, WarmUpUntil, warm_up_then_cosine
from minires.run import Run

# Steps of SGD, images in each, and the largest learning rate. Steps, not minutes, so that a run gives the same numbers
# on every machine; the names are what two cores take for plain and residual nets of 20 and 56 layers, one seed. With
# so few steps as in "3m", small batches and a small rate are what lets 56 layers begin to learn.
BUDGETS = {
    "3m": {"steps": 1_000, "batch_size": 32, "lr": 0.05},
    "30m": {"steps": 2_000, "batch_size": 128, "lr": 0.1},
    "overnight": {"steps": 30_000, "batch_size": 128, "lr": 0.1},
    "paper": {"steps": 64_000, "batch_size": 128, "lr": 0.1},
}


def recipe_options(parser):
    """Add the options that say on which images, how long and where to."""
    data_options(parser)
    add = parser.add_argument
    add("--validation", action="store_true", help="test on a tenth of the training images, as the paper's 45k/5k split")
    add("--budget", choices=list(BUDGETS), default="3m", help="how long to train; paper: the paper's 64,000 steps")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=positive, help="train for so many steps, whatever the budget says")
    length.add_argument("--epochs", type=positive, help="train for so many passes over the images")
    add("--batch-size", type=positive, metavar="N", help="images in a step")
    add("--eval-every", type=positive, metavar="STEPS", help="steps between two tests")
    add("--out", type=Path, metavar="DIR", help="folder to write to (default: one under runs/, named by what is in it)")


def training_and_test_set(options):
    """Return the images to train and to test on, the mean to subtract being that of the images to train on."""
    train_set, test_set = load_data(options)
    if options.validation:
        kept = len(train_set) * 9 // 10
        whole, train_set = train_set, replace(train_set[:kept], train=None)
        test_set = replace(whole[kept:], train=train_set)
    return train_set, test_set


def fill_in(options, images):
    """Set what the command line left open, from the budget; ``options.out`` becomes a name for all that was asked."""
    budget = BUDGETS[options.budget]
    options.batch_size = options.batch_size or budget["batch_size"]
    epoch = math.ceil(images / options.batch_size)
    options.steps = options.steps or (options.epochs * epoch if options.epochs else budget["steps"])
    usual = max(1, min(epoch, options.steps // 8))
    options.eval_every = options.eval_every or usual
    words = [options.data, options.budget]
    words += [f"{options.steps}-steps"] * (options.steps != budget["steps"])
    words += [f"batches-of-{options.batch_size}"] * (options.batch_size != budget["batch_size"])
    words += [f"tests-every-{options.eval_every}"] * (options.eval_every != usual)
    words += ["validation"] * options.validation
    options.out = options.out or Path("runs", "-".join(words))


def train_by_recipe(net, folder, config, data, options, rng):
    """Train a net in its folder, or go on with it, or find it finished; return its log."""
    config = {**config, "data": data[0].name, "budget": options.budget}
    config |= {"validation": True} if options.validation else {}
    name = f"{config['net']}-{config['depth']}" if config["depth"] else config["net"]
    run, schedule = Run(folder, config, deviations(data[0], options)), schedule_for(config["depth"], options)
    how = {"rng": rng, "test_every": options.eval_every, "title": f"{name}, seed {config['seed']}"}
    return train_in_folder(net, data, run, options, schedule, BUDGETS[options.budget]["lr"], **how)


def schedule_for(depth, options):
    """The paper's two drops; or, for a short budget, a warm-up and then half a cosine."""
    steps, lr = options.steps, BUDGETS[options.budget]["lr"]
    if options.budget != "paper":
        return warm_up_then_cosine(lr, steps)
    drops = MultiStep(lr, [steps // 2, steps * 3 // 4])  # 32,000 and 48,000 of 64,000
    return WarmUpUntil(drops, low=0.01, error=0.8) if (depth or 0) >= 110 else drops


def rate_in_words(budget):
    if budget == "paper":
        return "learning rate 0.1, divided by 10 at 1/2 and 3/4 of the steps"
    return f"learning rate {BUDGETS[budget]['lr']} after a warm-up over 1/10 of the steps, then a cosine to 0"


def deviations(train_set, options):
    """In what the runs differ from the paper's, for run.json."""
    paper, found = BUDGETS["paper"], []
    if not train_set.name.startswith("CIFAR-10,") or options.data_note:
        found.append(f"images: {images_named(train_set, options)}")
    for key in ("steps", "batch_size"):
        if getattr(options, key) != paper[key]:
            found.append(f"{key}: {getattr(options, key)}, the paper {paper[key]}")
    if options.budget != "paper":
        found.append(f"{rate_in_words(options.budget)}; the paper: {rate_in_words('paper')}")
    if options.validation:
        found.append("tested on a tenth of the training images that was left out of training")
    return found


def setting(data, options):
    """What is run, in a few words."""
    (train_set, test_set), budget = data, BUDGETS[options.budget]
    as_planned = all(getattr(options, name) == budget[name] for name in ("steps", "batch_size"))
    named = f"Budget {options.budget}: " if as_planned else ""
    epochs = options.steps * options.batch_size / len(train_set)
    return (
        f"{images_named(train_set, options)}, {len(train_set):,} training and {len(test_set):,} test images. "
        f"{named}{options.steps:,} steps of {options.batch_size} images ({epochs:.3g} epochs), "
        f"{rate_in_words(options.budget)}; {seeds_in_words(options.seeds)}"
    )
