"""The comparison of fine-tunings that `benchmarks/pose.py`, `resolution.py` and `occlusion.py` share."""
