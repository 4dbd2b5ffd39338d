from .pair_sets import PairSet, read_bin, read_cfp, read_lfw, read_stored

__all__ = ["PairSet", "read_bin", "read_cfp", "read_lfw", "read_stored"]
