"""Draw a layer made of layers."""

from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from minires.figures import FAINT, INK


def block_figure(block, title=""):
    """A layer made of layers, such as ``basic_block(16, 32, 2)``, as a diagram from x at the top to y at the bottom.

    It is drawn from the object: a Sequential is a column, a Residual two columns that meet in a plus, and so on; any
    other layer is a box. A whole network can be drawn as well, but is long.
    """
    width, height = _extent(block)
    figure = Figure(figsize=(width + 0.3, height + (1.35 if title else 1.05)), dpi=110, facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1))
    size = figure.get_size_inches()
    axis.set(xlim=(0, size[0]), ylim=(0, size[1]))
    axis.axis("off")
    middle, top = size[0] / 2, size[1] - (0.6 if title else 0.3)
    if title:
        axis.text(middle, size[1] - 0.2, title, fontsize=10, color=INK, ha="center", va="center")
    axis.text(middle, top + 0.08, "x", fontsize=10, color=INK, ha="center", va="center", style="italic")
    bottom = _draw(axis, block, middle, top - 0.1)
    _wire(axis, [(middle, bottom), (middle, bottom - 0.3)], arrow=True)
    axis.text(middle, bottom - 0.42, "y", fontsize=10, color=INK, ha="center", va="center", style="italic")
    return figure


BOX, GAP, SPLIT, BETWEEN = (2.05, 0.3), 0.2, 0.32, 0.25  # inches
SIGNS = {"Residual": "+", "StochasticResidual": "+", "Gated": "+", "Product": "×", "Concat": "‖"}
COLOURS = {"Conv2d": "#FBE3D2", "Linear": "#FBE3D2", "BatchNorm2d": "#DCE9F5", "ReLU": "#E3F1DE", "Sigmoid": "#F6E1EE"}


def _parts(layer):
    return [(path, part) for path, part in layer.named_layers() if path and "." not in path]


def _extent(layer):
    """Width and height of the drawing of a layer, in inches; the height without the lines into it and out of it."""
    kind, inside = type(layer).__name__, [_extent(part) for _, part in _parts(layer)]
    if kind == "Sequential" and inside:
        return max(w for w, _ in inside), sum(h for _, h in inside) + GAP * (len(inside) - 1)
    if kind in SIGNS:
        return sum(w for w, _ in inside) + BETWEEN * (len(inside) - 1), max(h for _, h in inside) + 2 * SPLIT + 0.34
    return (0.5, 0.05) if kind == "Identity" else BOX


def _draw(axis, layer, x, top):
    """Draw a layer with the middle of its upper edge at (x, top); return where its lower edge is."""
    kind, parts, (_, height) = type(layer).__name__, _parts(layer), _extent(layer)
    if kind == "Sequential" and parts:
        for i, (_, part) in enumerate(parts):
            if i:
                _wire(axis, [(x, top), (x, top - GAP)], arrow=type(part).__name__ not in (*SIGNS, "Identity"))
                top -= GAP
            top = _draw(axis, part, x, top)
        return top
    if kind in SIGNS:
        return _draw_paths(axis, layer, parts, x, top, height)
    if kind == "Identity":
        _wire(axis, [(x, top), (x, top - height)])
        return top - height
    corner, colours = (x - BOX[0] / 2, top - BOX[1]), {"facecolor": COLOURS.get(kind, "#F2F2F2"), "edgecolor": FAINT}
    axis.add_patch(FancyBboxPatch(corner, *BOX, "round,pad=0,rounding_size=0.06", lw=0.8, **colours))
    axis.text(x, top - BOX[1] / 2, _in_short(layer), fontsize=8.5, color=INK, ha="center", va="center")
    return top - BOX[1]


def _draw_paths(axis, layer, parts, x, top, height):
    """Paths side by side, from a point where x splits to a sign where they meet."""
    kind, widths = type(layer).__name__, [_extent(part)[0] for _, part in parts]
    left, places = x - _extent(layer)[0] / 2, []
    for width in widths:
        places.append(left + width / 2)
        left += width + BETWEEN
    bottom, meet = top - height, top - height + 0.17
    joint = meet + 0.17 + SPLIT / 2
    _wire(axis, [(x, top), (x, top - SPLIT / 2)])
    notes = {"branch": "· t", "gate": "t", "shortcut": "· (1 − t)"} if kind == "Gated" else {}
    if kind == "StochasticResidual":
        notes = {"branch": f"· b, kept with p = {layer.survival:.2g}"}
    for (name, part), place in zip(parts, places):
        dashed = (0, (3, 2)) if name == "gate" else "-"
        _wire(axis, [(x, top - SPLIT / 2), (place, top - SPLIT / 2), (place, top - SPLIT)])
        end = _draw(axis, part, place, top - SPLIT)
        _wire(axis, [(place, end), (place, joint), (x, joint)], ls=dashed)
        if name in notes:
            side = -1 if name == "shortcut" else 1  # the last path is at the edge of the figure
            where = {"ha": "right" if side < 0 else "left", "va": "center"}
            axis.text(place + 0.06 * side, joint + 0.08, notes[name], fontsize=8, color=INK, **where)
    _wire(axis, [(x, joint), (x, meet + 0.15)], arrow=True)
    axis.add_patch(Circle((x, meet), 0.14, facecolor="white", edgecolor=INK, lw=1))
    axis.text(x, meet, SIGNS[kind], fontsize=11, color=INK, ha="center", va="center")
    return bottom + 0.03


def _wire(axis, points, arrow=False, ls="-"):
    axis.plot(*zip(*points), color=INK, lw=1, ls=ls, solid_capstyle="round", solid_joinstyle="round")
    if arrow:
        (x, y), end = points[-2], points[-1]
        shape = {"arrowstyle": "-|>", "color": INK, "lw": 1, "mutation_scale": 8, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", end, (x, y), arrowprops=shape)


def _in_short(layer):
    """A layer in as many words as a box has room for."""
    kind = type(layer).__name__
    if kind == "Conv2d":
        (kh, kw), (step, _) = layer.kernel_size, layer.stride
        return f"{kh}x{kw} conv, {layer.in_channels} → {layer.out_channels}" + (f", stride {step}" if step > 1 else "")
    if kind == "Linear":
        return f"linear, {layer.in_features} → {layer.out_features}"
    if kind == "SubsampleShortcut":
        return f"every {layer.stride}. pixel, {layer.in_channels} → {layer.out_channels}"
    if kind == "MaxPool2d":
        return f"{layer.kernel_size[0]}x{layer.kernel_size[1]} max pool, stride {layer.stride[0]}"
    if kind in ("Dropout", "Scale"):
        return f"dropout, p = {layer.p}" if kind == "Dropout" else f"· {layer.factor}"
    return {"BatchNorm2d": "batch norm", "Sigmoid": "sigmoid"}.get(kind, kind)
