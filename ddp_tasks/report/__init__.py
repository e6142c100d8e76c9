"""Figures and words arranged as pages that need no network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fragments": ["Fragment", "FragmentFiles"],
        "run_page": ["read_findings"],
    },
)
