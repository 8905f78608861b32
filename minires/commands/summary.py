"""Walk through a network: shapes, parameters, multiply-adds."""

from minires.commands.arguments import net_of, net_options
from minires.walk import summary


def add_options(parser):
    net_options(parser, image="default 3,224,224 for ImageNet networks, else 3,32,32")


def run(options):
    net = net_of(options.net, options.args, "summary", classes=options.classes, rng=0)
    shape = options.input or ((3, 224, 224) if hasattr(net, "stage4") else (3, 32, 32))
    walk = summary(net, shape)
    print(f"{options.net} on an image of {'x'.join(map(str, shape))}\n\n{walk}\n")
    print("Multiply-adds are those of one image, forward; the papers call them FLOPs.")
    return 0
