"""Which singular vectors are significant for which classes (section 5): numbers in and out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "significance": ["fractions", "layer_table", "significance_dataset", "thresholds"],
        "tables": ["layer_frame"],
        "distinguishing": ["distinguishing"],
    },
)
