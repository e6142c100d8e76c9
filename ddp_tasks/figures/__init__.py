"""Datasets in, HoloViews elements out; nothing else draws."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "hierarchy_figures": ["hierarchy_figure"],
        "hypergraph_figures": ["hypergraph_figure"],
        "class_heatmaps": ["significance_heatmap"],
        "capacity_figures": ["alpha_hat_figure"],
    },
)
