"""Damaged inputs for every reader: what is damaged, how, and what comes of it. `break_it.py` and the tests run it."""
