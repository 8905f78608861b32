"""What the classes are called, of the data sets that this package reads or other people's weights were trained on."""

from pathlib import Path

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FASHION = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FILES = {100: "cifar100_classes.txt", 1000: "imagenet_classes.txt"}  # one name per line, from class 0 on


def class_names(count):
    """Return the names of ``count`` classes: CIFAR-10's, CIFAR-100's or ImageNet's; else "class 0", "class 1", ...

    ImageNet's are the first words of its synsets, in the order of ILSVRC 2012, which is that of all published weights.

    Examples
    --------
    >>> class_names(1000)[207], class_names(100)[99], class_names(10)[8], class_names(2)
    ('golden retriever', 'worm', 'ship', ['class 0', 'class 1'])
    """
    if count in FILES:
        return Path(__file__).with_name(FILES[count]).read_text(encoding="utf-8").splitlines()
    return list(CIFAR10) if count == 10 else [f"class {k}" for k in range(count)]
