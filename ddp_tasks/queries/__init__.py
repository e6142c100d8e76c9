"""Queries of a finished run, from a terminal or a notebook."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "significance": ["StoredSignificance", "open_significance"],
        "signals": ["layer_signals"],
        "pictures": ["StoredPictures", "open_pictures"],
        "hypergraphs": ["stored_hypergraph"],
        "ablation": ["open_ablation", "open_removals", "vectors_table"],
        "controls": ["open_controls", "percentile_of"],
        "findings": ["RunFindings", "read_findings"],
        "descriptions": ["Descriptions", "describe"],
        "visualizations": ["open_visualizations"],
        "finished_run": ["FinishedRun", "open_finished"],
    },
)
