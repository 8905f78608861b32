"""Figures. The only folder that imports matplotlib; none of it needs a screen.

Each function returns a ``matplotlib.figure.Figure``, which a notebook shows and ``figure.savefig(path)`` writes.
"""

from minires.plots.ablation import ablation_figure
from minires.plots.depth import overfitting_figure, preactivation_figure, width_figure
from minires.plots.diagrams import block_figure, equation_svg
from minires.plots.ensembles import (
    boosting_figure,
    identity_figure,
    lesions_figure,
    paths_figure,
    residuals_figure,
    telescoping_figure,
)
from minires.plots.explanations import explanations_figure, responses_figure, shattered_figure
from minires.plots.flow import flow_history_figure, gradient_flow_figure, river_figure
from minires.plots.gates import gates_figure, inside_figure
from minires.plots.landscape import lines_figure, planes_figure
from minires.plots.panels import error_figures, response_figures
from minires.plots.roofline import roofline_figure
from minires.plots.training import degradation_figure

__all__ = [
    "ablation_figure",
    "block_figure",
    "boosting_figure",
    "degradation_figure",
    "equation_svg",
    "error_figures",
    "explanations_figure",
    "flow_history_figure",
    "gates_figure",
    "gradient_flow_figure",
    "identity_figure",
    "inside_figure",
    "lesions_figure",
    "lines_figure",
    "overfitting_figure",
    "paths_figure",
    "planes_figure",
    "preactivation_figure",
    "residuals_figure",
    "response_figures",
    "responses_figure",
    "river_figure",
    "roofline_figure",
    "shattered_figure",
    "width_figure",
    "telescoping_figure",
]
