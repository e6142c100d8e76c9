"""Which singular vectors are significant for which classes (section 5): numbers in and out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "significance": ["fractions", "significance_dataset", "thresholds"],
        "layer_table": ["LayerTable"],
        "tables": ["layer_frame"],
        "distinguishing": ["distinguishing"],
    },
)
