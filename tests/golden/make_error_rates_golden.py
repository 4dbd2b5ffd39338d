"""What bob.measure 6.1.1 and PyEER 0.5.6 say of some scores; see make.py, which needs no checkout here but a venv:

python -m venv venv && venv/bin/pip install bob.measure==6.1.1 pyeer==0.5.6 && venv/bin/python make.py error_rates
"""

import numpy as np

CHECKOUTS: dict = {}
RATES = (0.1, 0.05, 0.01)


def scores(name):
    """Similarities of same and of different pairs, numbers of float32."""
    seed, distance, digits, same, different = {
        "smooth": (0, 2.0, None, 150, 250),
        # Ties within and between the classes.
        "ties": (1, 1.5, 1, 120, 200),
        "hard": (2, 0.3, 2, 90, 110),
        "apart": (3, 12.0, 3, 60, 80),
        "inverted": (4, -2.0, 2, 70, 50),
    }[name]
    random = np.random.default_rng(seed)
    rows = random.normal(size=same) + distance, random.normal(size=different)
    rows = tuple(row if digits is None else row.round(digits) for row in rows)
    return tuple(row.astype(np.float32).astype(np.float64) for row in rows)


CASES = ("smooth", "ties", "hard", "apart", "inverted")


def searches(seed=5, probes=80, gallery=12):
    """Similarities of probes and a gallery, `[probes, gallery]`, with ties; and the place of the mate, -1 if none."""
    random = np.random.default_rng(seed)
    similarity, mate = random.normal(size=[probes, gallery]).round(1), random.integers(-1, gallery, probes)
    mate[::3] = -1
    known = np.flatnonzero(mate >= 0)
    similarity[known, mate[known]] = (similarity[known, mate[known]] + 1.5).round(1)
    return similarity.astype(np.float32).astype(np.float64), mate


SEARCH_THRESHOLDS = (-5.0, 1.5, 1.75, 2.0, 2.25, 2.5, 5.0)


def make():
    import bob.measure
    from pyeer.eer_info import get_eer_stats

    golden = {}
    for name in CASES:
        same, different = scores(name)
        stats = get_eer_stats(same.tolist(), different.tolist())
        bob_points = {}
        for rate in RATES:
            threshold = bob.measure.far_threshold(different, same, rate)
            bob_points[str(rate)] = [float(threshold), *map(float, bob.measure.farfrr(different, same, threshold))]
        eer, far, frr = bob.measure.eer(different, same, also_farfrr=True)
        golden[name] = {
            "bob": {"points": bob_points, "eer": [float(eer), float(far), float(frr)]},
            "pyeer": {
                "thresholds": stats.thrs.tolist(),
                "fmr": stats.fmr.tolist(),
                "fnmr": stats.fnmr.tolist(),
                "auc": float(stats.auc),
                "eer": [float(stats.eer), float(stats.eer_low), float(stats.eer_high)],
                "points": {"0.1": [float(stats.fmr10_th), float(stats.fmr10)]}
                | {"0.05": [float(stats.fmr20_th), float(stats.fmr20)]}
                | {"0.01": [float(stats.fmr100_th), float(stats.fmr100)]},
            },
        }
    similarity, mate = searches()
    probes = [
        (np.delete(row, place) if place >= 0 else row, [row[place]] if place >= 0 else None)
        for row, place in zip(similarity, mate)
    ]
    golden["search"] = {
        "fpir": [float(bob.measure.false_alarm_rate(probes, threshold)) for threshold in SEARCH_THRESHOLDS],
        "tpir": [float(bob.measure.detection_identification_rate(probes, t, rank=1)) for t in SEARCH_THRESHOLDS],
    }
    return golden
