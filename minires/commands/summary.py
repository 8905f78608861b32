"""Walk through a network: shapes, parameters, multiply-adds."""

from minires.commands.arguments import UsageError, image_shape, net_of
from minires.walk import summary


def add_options(parser):
    add = parser.add_argument
    add("net", metavar="NET", help="plain-20, resnet-56, resnet-20-B, resnet18, wrn-16-4, ..., or FILE.py:NAME")
    add("--args", default="", help='arguments of NAME in FILE.py, such as --args "4, stride=2"')
    add("--input", metavar="C,H,W", help="of an image (default 3,224,224 for ImageNet networks, else 3,32,32)")
    add("--classes", type=int, metavar="K", help="default 1000 for an ImageNet network, else 10")


def run(options):
    shape = None if options.input is None else image_shape(options.input)
    if options.classes is not None and options.classes < 1:
        raise UsageError(f"--classes: expected at least 1, got {options.classes}")
    net = net_of(options.net, options.args, "summary", classes=options.classes, rng=0)
    shape = shape or ((3, 224, 224) if hasattr(net, "stage4") else (3, 32, 32))
    walk = summary(net, shape)
    print(f"{options.net} on an image of {'x'.join(map(str, shape))}\n\n{walk}\n")
    print("Multiply-adds are those of one image, forward; the papers call them FLOPs.")
    return 0
