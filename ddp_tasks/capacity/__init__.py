"""The capacity metric of a network, from the spectra of its weights (section 4.1)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "metric": ["Matrization", "alpha_hat", "capacity"],
        "power_law": ["PowerLaw", "fit_power_law"],
        "toeplitz": ["toeplitz_spectrum"],
    },
)
