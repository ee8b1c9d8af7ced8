"""Slow, obvious versions of the models that are fitted, in float64, and the data to compare on."""

import numpy as np


def toy(n_users=40, n_items=25, seed=0) -> np.ndarray:
    """Train pairs; user 3 and items 4 and 5 have none."""
    drawn = np.random.default_rng(seed).random((n_users, n_items)) < 0.3
    drawn[3], drawn[:, 4:6] = False, False
    return np.argwhere(drawn).astype(np.int64)


def dense(pairs, n_users=40, n_items=25) -> np.ndarray:
    X = np.zeros((n_users, n_items))
    X[pairs[:, 0], pairs[:, 1]] = 1
    return X


def popularity(X, keys, seed):
    return np.array([[sum(X[v, i] for v in range(len(X))) for i in range(X.shape[1])]] * len(X))


def itemknn(X, keys, seed):
    I = X.shape[1]
    W = np.zeros((I, I))
    for i in range(I):
        c = {}
        for j in range(I):
            together = sum(X[u, i] * X[u, j] for u in range(len(X)))
            if j != i and together:
                c[j] = together / (np.sqrt(X[:, i].sum() * X[:, j].sum()) + keys["shrink"])
        for j in sorted(c, key=lambda j: (-c[j], j))[: keys["k"]]:
            W[j, i] = c[j]
    return X @ W


def ease(X, keys, seed):
    """Column by column: the ridge regression of item j on all others."""
    I = X.shape[1]
    B = np.zeros((I, I))
    for j in range(I):
        others = [i for i in range(I) if i != j]
        A = X[:, others]
        B[others, j] = np.linalg.solve(A.T @ A + keys["lam"] * np.eye(I - 1), A.T @ X[:, j])
    return X @ B


def ials_objective(X, P, Q, keys):
    """All pairs, one by one."""
    (U, I), total = X.shape, 0.0
    for u in range(U):
        for i in range(I):
            s = P[u] @ Q[i]
            total += (s - 1) ** 2 * X[u, i] + keys["alpha0"] * s**2
    for rows, table, n in ((X, P, I), (X.T, Q, U)):
        for row, vector in zip(rows, table):
            total += keys["lam"] * (row.sum() + keys["alpha0"] * n) ** keys["nu"] * vector @ vector
    return total


def ials_tables(X, start, keys, epochs):
    """Each row is the minimum of its part of the objective, as a weighted least-squares problem."""

    def half(X, own, other):
        found = []
        turn = np.linalg.eigh(keys["alpha0"] * other.T @ other)[1]
        for x, vector in zip(X, own):
            l2 = keys["lam"] * (x.sum() + keys["alpha0"] * len(x)) ** keys["nu"]
            A, b = l2 * np.eye(other.shape[1]), np.zeros(other.shape[1])
            for observed, q in zip(x, other):
                A += (observed + keys["alpha0"]) * np.outer(q, q)
                b += observed * q
            if keys["cg"] is None:
                found.append(np.linalg.solve(A, b))
            elif not x.any():
                found.append(0 * vector)
            else:
                found.append(turn @ steps(turn.T @ A @ turn, turn.T @ b, turn.T @ vector))
        return np.array(found)

    def steps(A, b, x):
        """Conjugate gradients with the diagonal as preconditioner, as in textbooks."""
        r = b - A @ x
        z = r / np.diag(A)
        p = z
        for _ in range(keys["cg"]):
            if np.abs(r).max() < 1e-12:
                break
            a = r @ z / (p @ A @ p)
            x, last, r = x + a * p, r @ z, r - a * A @ p
            z = r / np.diag(A)
            p = z + r @ z / last * p
        return x

    P, Q = np.zeros((len(X), start.shape[1])), start
    for _ in range(epochs):
        P = half(X, P, Q)
        Q = half(X.T, Q, P)
    return P, Q
