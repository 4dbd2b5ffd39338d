"""The losses that DDL is compared with, the slow way, in NumPy with loops, as the papers' texts say it."""

import itertools

import numpy as np


def unit(embeddings):
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def triplet(embeddings, identity, margin=0.2):
    """Mean over (anchor, positive) of the hinge with the semi-hard negative, on squared distances."""
    points, losses = unit(embeddings), []
    for a, p in itertools.permutations(range(len(points)), 2):
        if identity[a] != identity[p]:
            continue
        to_positive = np.sum((points[a] - points[p]) ** 2)
        negatives = [np.sum((points[a] - points[n]) ** 2) for n in range(len(points)) if identity[n] != identity[a]]
        farther = [d for d in negatives if d > to_positive]
        to_negative = min(farther) if farther else max(negatives)
        losses.append(max(0.0, to_positive - to_negative + margin))
    return np.mean(losses)


def histogram(values, num_bins):
    """Node r gets a triangular share of every value that is less than one step away."""
    step = 2 / (num_bins - 1)
    nodes = -1 + np.arange(num_bins) * step
    return sum(np.maximum(0.0, 1 - np.abs(s - nodes) / step) for s in values) / len(values)


def probability_of_reverse(positives, negatives, num_bins):
    positive, negative = histogram(positives, num_bins), histogram(negatives, num_bins)
    return sum(negative[r] * positive[: r + 1].sum() for r in range(num_bins))


def histogram_loss(embeddings, identity, num_bins=201):
    points, positives, negatives = unit(embeddings), [], []
    for i, j in itertools.combinations(range(len(points)), 2):
        (positives if identity[i] == identity[j] else negatives).append(points[i] @ points[j])
    return probability_of_reverse(positives, negatives, num_bins)


def matched(embeddings, identity, group, student):
    """`[n, dim]` means of the teacher's and of a student's normalised rows, for each common identity."""
    points = unit(embeddings)
    common = sorted(set(identity[group == 0]) & set(identity[group == student]))
    return tuple(
        np.array([points[(identity == i) & (group == g)].mean(axis=0) for i in common]).reshape(-1, points.shape[1])
        for g in (0, student)
    )


def huber(x):
    return 0.5 * x**2 if abs(x) < 1 else abs(x) - 0.5


def rkd_distance(teacher, student):
    n = len(teacher)
    if n < 2:
        return 0.0
    relative = []
    for points in (teacher, student):
        distance = np.array([[np.linalg.norm(a - b) for b in points] for a in points])
        mean = np.mean([distance[i, j] for i in range(n) for j in range(n) if i != j])
        relative.append(distance / mean)
    return np.mean([huber(relative[0][i, j] - relative[1][i, j]) for i in range(n) for j in range(n)])


def rkd_angle(teacher, student):
    n = len(teacher)
    if n < 3:
        return 0.0

    def cosine(points, i, j, k):
        a, b = points[j] - points[i], points[k] - points[i]
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return a @ b / lengths if lengths else 0.0

    triples = itertools.product(range(n), repeat=3)
    return np.mean([huber(cosine(teacher, *triple) - cosine(student, *triple)) for triple in triples])


def similarity_preserving(teacher, student):
    n = len(teacher)
    if n < 2:
        return 0.0
    matrices = [unit(np.array([[a @ b for b in points] for a in points])) for points in (teacher, student)]
    return np.sum((matrices[0] - matrices[1]) ** 2) / n**2


def over_students(relation, embeddings, identity, group):
    return sum(relation(*matched(embeddings, identity, group, student)) for student in range(1, group.max() + 1))


def rkd(embeddings, identity, group, weights=(25.0, 50.0)):
    def relation(teacher, student):
        return weights[0] * rkd_distance(teacher, student) + weights[1] * rkd_angle(teacher, student)

    return over_students(relation, embeddings, identity, group)


def sp(embeddings, identity, group):
    return over_students(similarity_preserving, embeddings, identity, group)


def cross_entropies(labels, logits, smoothing=0.0):
    """Those of the labelled rows."""
    losses = []
    for label, row in zip(labels, logits.astype(np.float64)):
        if label >= 0:
            to_each = [np.log(np.sum(np.exp(row - logit))) for logit in row]
            losses.append((1 - smoothing) * to_each[label] + smoothing * np.mean(to_each))
    return losses


def focal(labels, logits, gamma=2.0):
    return np.mean([(1 - np.exp(-loss)) ** gamma * loss for loss in cross_entropies(labels, logits)])


def ohem(labels, logits, keep):
    """Mean of the `keep` largest."""
    return np.mean(sorted(cross_entropies(labels, logits))[-keep:])
