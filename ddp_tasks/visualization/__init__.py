"""What a singular vector looks like (section 6)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={"exemplars": ["exemplars_of_sets", "layer_exemplars"]},
)
