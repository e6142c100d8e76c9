"""Writing files whole, and the system's refusals in words."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "whole": ["clear_parts", "replacing", "write_whole"],
        "system_errors": ["refusal_of"],
    },
)
