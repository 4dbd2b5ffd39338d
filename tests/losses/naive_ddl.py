"""Distribution Distillation Loss the slow way, in NumPy with loops, as the paper's text says it."""

import itertools

import numpy as np


def similarities(embeddings, identity, group, threshold=0.0):
    """Lists of positive and of hardest negative similarities of each group."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    positives, negatives = [], []
    for g in range(max(0, group.max()) + 1):
        rows = np.flatnonzero(group == g)
        pairs = [float(unit[i] @ unit[j]) for i, j in itertools.combinations(rows, 2) if identity[i] == identity[j]]
        positives.append([s for s in pairs if s > threshold])
        hardest = []
        for i in rows:
            others = [float(unit[i] @ unit[j]) for j in rows if identity[j] != identity[i]]
            if others:
                hardest.append(max(others))
        negatives.append(hardest)
    return positives, negatives


def histogram(values, num_nodes=1000, low=0.0, high=1.0, bandwidth=0.1):
    h = np.zeros(num_nodes)
    nodes = low + np.arange(num_nodes) * (high - low) / num_nodes
    for s in values:
        h += np.exp(-((s - nodes) ** 2) / (2 * bandwidth**2))
    return h / h.sum()


def kl(teacher, student):
    return float(np.sum((teacher + 1e-9) * (np.log(teacher + 1e-9) - np.log(student + 1e-9))))


def loss(positives, negatives, weights=(0.1, 0.02, 0.5, 0.0), **histogram_arguments):
    """The loss of groups that all have similarities, and its four terms."""
    p = [histogram(s, **histogram_arguments) for s in positives]
    q = [histogram(s, **histogram_arguments) for s in negatives]
    positive_kl = sum(kl(p[0], x) for x in p[1:])
    negative_kl = sum(kl(q[0], x) for x in q[1:])
    order = sum(np.mean(n) - np.mean(s) for n in negatives for s in positives)
    # A group's negative at least as similar as its positive, every pair of nodes looked at.
    overlap = sum(np.triu(np.outer(x, y)).sum() for x, y in zip(p, q))
    terms = (positive_kl, negative_kl, order, overlap)
    return float(np.dot(weights, terms)), terms
