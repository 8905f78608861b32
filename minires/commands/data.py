"""Fetch CIFAR-10, or another set of images, unless it is there, and check it."""

from minires.data import SOURCES, find, load


def add_options(parser):
    add = parser.add_argument
    add("--dataset", choices=list(SOURCES), default="cifar10", help="which one (default: cifar10)")
    add("--data-dir", metavar="DIR", help="where it lies or shall lie (default: MINIRES_DATA, the cache)")
    add("--data-file", metavar="FILE", help="an archive that you have already")


def run(options):
    train_set, test_set = load(options.dataset, options.data_dir, options.data_file, download=True)
    place, title = find(options.dataset, options.data_dir, options.data_file), SOURCES[options.dataset].title
    print(f"{title} is in {place}, whole: {len(train_set):,} training and {len(test_set):,} test images of")
    print(", ".join(train_set.classes))
    return 0
