"""Fetch CIFAR-10 unless it is there, and check it."""

from minires.data import find_cifar10, load_cifar10


def add_options(parser):
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="where it lies or shall lie (default: MINIRES_DATA, the cache)")
    add("--data-file", metavar="FILE", help="an archive that you have already")


def run(options):
    train_set, test_set = load_cifar10(options.data_dir, options.data_file, download=True)
    place = find_cifar10(options.data_dir, options.data_file)
    print(f"CIFAR-10 is in {place}, whole: {len(train_set):,} training and {len(test_set):,} test images of")
    print(", ".join(train_set.classes))
    return 0
