"""Signals of images along singular vectors, and their spread over positions (section 4.3)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"signals": ["extract", "signal_vector"], "layer_steps": ["layer_steps"]},
)
