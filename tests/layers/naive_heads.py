"""The naive twin of the margin heads: one row, one class after the other, in float64."""

import math

import numpy as np


def naive_cosine(embedding, center):
    embedding, center = embedding.astype(np.float64), center.astype(np.float64)
    cosine = embedding @ center / math.sqrt(embedding @ embedding) / math.sqrt(center @ center)
    return min(max(cosine, -1.0), 1.0)


def naive_logits(embeddings, centers, labels, target, other=lambda row, cosine, of_target: cosine, scale=64.0):
    """`target(row, theta)` is the target's cosine with margin, `other` that of another class of a labelled row."""
    logits = np.zeros([len(embeddings), centers.shape[1]])
    for row, embedding in enumerate(embeddings):
        for column in range(centers.shape[1]):
            cosine = naive_cosine(embedding, centers[:, column])
            if column == labels[row]:
                cosine = target(row, math.acos(cosine))
            elif labels[row] >= 0:
                of_target = target(row, math.acos(naive_cosine(embedding, centers[:, labels[row]])))
                cosine = other(row, cosine, of_target)
            logits[row, column] = scale * cosine
    return logits


def naive_margin(theta, m1=1.0, m2=0.0, m3=0.0):
    """cos(m1 * theta + m2) - m3, and what it is continued by."""
    if m1 * theta + m2 <= math.pi:
        return math.cos(max(m1 * theta + m2, 0.0)) - m3
    turn = math.cos((math.pi - m2) / m1)
    return math.cos(theta) - max(m2 * math.sin(m2), 1 + turn) - m3


def at_cosines(head, cosines, norm=1.0):
    """Build a head of two classes; embeddings and labels whose cosines to class 0, the target, are the given ones."""
    head.build([None, 2])
    head.class_centers.assign([[1.0, 0.0], [0.0, 1.0]])
    embeddings = norm * np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    return embeddings.astype(np.float32), np.zeros(len(cosines), np.int32)
