"""What every recommender shares that is fitted to the train pairs, without negatives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array
from torch import Tensor

from hapens_bench.config.components import component_class
from hapens_bench.config.keys import Key
from hapens_bench.data.interactions import IntArray

Sparse = csr_array  # [U, I] or [I, U], float32 ones, the columns of a row ascending


class Fitted(ABC):
    """A recommender for one trial, fitted on the CPU to all train pairs of a stage at once.

    `keys` declares the YAML keys of the model, except `name` and `_target_`; they go to the
    constructor, after the train matrix X (`Sparse`, [U, I]) and the trial's seed.
    """

    keys: ClassVar[dict[str, Key]] = {}
    closed_form: ClassVar[bool] = True  # else each call of `fit` is an epoch

    @classmethod
    @abstractmethod
    def n_bytes(cls, section: Mapping[str, Any], n_users: int, n_items: int) -> int:
        """Return a lower bound on the bytes that a trial's fit needs."""

    @abstractmethod
    def fit(self) -> dict[str, float]:
        """Fit the model, or take an epoch; return what the history notes of it.

        Raises:
            Terminated: between blocks of work, when termination was requested.
        """

    @abstractmethod
    def scores(self, users: Tensor) -> Tensor:
        """Return the scores of some users over all items; the caller may overwrite them.

        Shape:
            users: [n] int64 -> [n, I] float32.
        """

    def state(self) -> dict[str, Tensor]:
        """Return what an epoch changes, by name; empty for a closed form."""
        return {}


def is_fitted(config: Mapping[str, Any]) -> bool:
    """Return whether the model of a config is fitted, not trained on negatives."""
    return issubclass(component_class(config["model"]), Fitted)


def is_closed_form(config: Mapping[str, Any]) -> bool:
    """Return whether the model of a config is fitted in a single epoch."""
    return is_fitted(config) and component_class(config["model"]).closed_form


def train_matrix(pairs: IntArray, n_users: int, n_items: int) -> Sparse:
    """Return the train pairs as a sparse matrix of ones.

    Shape:
        pairs: [n, 2], without duplicates -> [U, I].
    """
    ones = np.ones(len(pairs), np.float32)
    matrix = csr_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n_users, n_items))
    matrix.sort_indices()
    return matrix
