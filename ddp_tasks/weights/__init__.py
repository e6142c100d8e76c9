"""Linear algebra of one weight: unfolding, singular value decomposition (sections 3 and 4)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "unfolding": ["receptive_fields", "unfold_weight"],
        "tensor_svd": ["TensorSVD", "decompose"],
        "svd_convolutions": ["svd_convolutions"],
    },
)
