"""The comparison of fine-tuning arms that `benchmarks/pose.py`, `resolution.py` and `occlusion.py` share."""
