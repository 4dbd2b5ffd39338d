from .faces import SyntheticSettings, prepare_synthetic, render, synthetic_samples

__all__ = [
    "SyntheticSettings",
    "prepare_synthetic",
    "render",
    "synthetic_samples",
]
