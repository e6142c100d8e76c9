"""Queries of a finished run, from a terminal or a notebook: ``open_run`` opens one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "run": ["Run", "open_run"],
        "run_layer": ["RunLayer"],
        "compared_runs": ["ComparedRuns"],
        "gallery": ["Gallery", "Picture"],
        "findings": ["RunFindings", "read_findings"],
        "descriptions": ["Descriptions", "describe"],
        "finished_run": ["FinishedRun", "open_finished"],
    },
)
