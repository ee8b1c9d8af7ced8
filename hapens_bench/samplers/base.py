"""The interface of a negative sampler: one method that picks negatives for a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.pool import Positives


@dataclass(frozen=True)
class Batch:
    """The positives of a step, or its users, and where in the training the step is.

    Shape:
        users: [T, B] int64; items: [T, B] int64, or [T, B, 0] for a sampler with `groups`;
        epoch, step: [] int64 on the same device.

    `epoch` counts from 0, `epochs` is the scheduled number, `step` counts over all epochs. `epoch`
    and `step` are tensors because a captured step is replayed: the host may not know their values.
    """

    users: Tensor
    items: Tensor
    epoch: Tensor
    step: Tensor
    epochs: int


@dataclass(frozen=True)
class Negatives:
    """The negatives of each positive, as a sampler returns them to the loss.

    `weights` go to losses that take them, without a gradient. `layers` are synthesised negatives,
    as embeddings of each layer. They replace the items in the loss and in L2; `items` then names
    the items they come from. `positive_layers` beside them replace the positive in the same way.
    `extra` is a loss of the sampler's own. A sampler with `groups` returns `positives` too;
    hardness is measured against the first of them. A sampler on interactions may add positives to
    the batch's own, which comes first. Where all rows of a trial have the same items but for places
    that hold the row's stand-in, `shared` and `stand_in` name them, and the scores are a matrix
    product.

    Shape:
        items: [T, B, K] int64; weights: [T, B, K]; layers: [T, B, K, L+1, D]; extra: [T];
        positives: [T, B, N] int64; positive_layers: [T, B, L+1, D]; shared: [T, K] int64;
        stand_in: [T, B] int64.
    """

    items: Tensor
    weights: Tensor | None = None
    layers: Tensor | None = None
    extra: Tensor | None = None
    positives: Tensor | None = None
    shared: Tensor | None = None
    stand_in: Tensor | None = None
    positive_layers: Tensor | None = None

    @property
    def group(self) -> Tensor:
        """The positives drawn by a sampler that works on user groups.

        Raises:
            TypeError: when the sampler works on interactions.
        """
        if self.positives is None:
            raise TypeError("this sampler works on interactions and draws no positives")
        return self.positives


@dataclass(frozen=True)
class PoolSize(Key):
    """The key that sets how many candidates the pool holds for each positive."""


class Sampler(nn.Module, ABC):
    """A rule that picks K negatives for each positive of a batch.

    `keys` declares the YAML keys, beside `name` and `_target_`. Keys that are not `shared` arrive
    as tensors [T, 1, 1], so a rule written over [..., M] serves every trial of a pack. The
    constructor gets the arguments that its signature names: the keys, and any of `seeds` (one per
    trial), `D`, `n_users`, `n_items`, `n_pairs` (train pairs of the stage) and `inherited` (see the
    class method of that name).

    The pool holds `pool_size` candidates for each positive, none of them a train item of the user:
    excluding positives is the pool's duty, never the sampler's. `pool_size` follows from the
    `PoolSize` key, where there is one.

    What `hyperparameters` registers follows from the config. Other buffers are what the sampler
    remembers from step to step (`state_dict`), and checkpoints hold them. Buffers and parameters
    have the trial axis first.

    A `differentiable` sampler returns layer embeddings or an extra loss, and gets vectors with a
    gradient. A sampler with `groups` gets users instead of interactions: an epoch goes over the
    users who have a train item, B of them per step, and the sampler draws their positives itself.
    One without `negatives` draws for measuring hardness only.
    """

    keys: ClassVar[dict[str, Key]] = {}
    pool_key: ClassVar[str | None] = None  # the name of the PoolSize key
    differentiable: ClassVar[bool] = False
    groups: ClassVar[bool] = False
    negatives: ClassVar[bool] = True
    pool_size: int = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        sizing = [name for name, key in cls.keys.items() if isinstance(key, PoolSize)]
        cls.pool_key = sizing[0] if sizing else None

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """Return what is wrong with keys that are each allowed, but not together."""
        return []

    @classmethod
    def gives_weights(cls, section: Mapping[str, Any]) -> bool:
        """Return whether the loss must take weights."""
        return False

    @classmethod
    def gives_positives(cls, section: Mapping[str, Any]) -> bool:
        """Return whether the loss must take several positives of an interaction."""
        return False

    @classmethod
    def prerequisite(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the resolved config of the trial that must be done before this one, or None.

        That config sets `trainer.user_hardness` or `trainer.best_model`: what this leaves in the
        run folder is the artefact that a sampler can inherit. A trial whose prerequisite left its
        model starts from that model.
        """
        return None

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], D: int, n_users: int, n_items: int) -> int:
        """Return a lower bound on a trial's bytes in tables that grow with users or items."""
        return 0

    @classmethod
    def pair_bytes(cls, section: Mapping[str, Any]) -> int:
        """Return a trial's bytes for each train pair, in tables that grow with their number."""
        return 0

    @classmethod
    def inherited(cls, section: Mapping[str, Any], seed: int, artefact: Any) -> Any:
        """Return what a trial takes over from the artefact of its prerequisite (None without one).

        A constructor that names `inherited` gets a list of these, one per trial.
        """
        raise TypeError(
            f"{cls.__name__} names `inherited` in its constructor, but does not override the class "
            "method `inherited`"
        )

    def hyperparameters(self, **values: Tensor) -> None:
        """Register tensors [T, ...] that follow from the config, as buffers outside checkpoints."""
        for name, value in values.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def remembered(self) -> dict[str, Tensor]:
        """The buffers that change from step to step, by name."""
        kept = self.state_dict(keep_vars=True)
        return {name: kept[name] for name, _ in self.named_buffers() if name in kept}

    def allocate(self, encoded: Encoded) -> None:
        """Register the buffers to remember, [T, ...], sized by the model's vectors.

        Called once, before `start`.
        """

    def start(self, positives: Positives) -> None:
        """Look at the pairs that are never drawn as negatives, before the first step of a stage.

        They are its train pairs, and the held-out ones too with
        `protocol.negatives=exclude_held_out`. A sampler with `groups` gets the train pairs.
        """

    def observe(self, train: Positives) -> None:
        """Look at the train pairs of a stage, before its first step.

        What a sampler learns from positives (their popularity, a user's history) comes from here.
        """

    def learning_rate(self) -> Tensor | None:
        """Return the learning rate of the parameters, [T, 1, 1], or None for the trainer's."""
        return None

    def close_epoch(self, epoch: int, encoded: Encoded) -> dict[str, Tensor]:
        """Return the history's columns for the epoch just ended, [T] each; prepare the next one.

        `encoded` holds the vectors after the epoch. Whatever this method changes must be a
        remembered buffer.
        """
        return {}

    def indicators(self, t: int, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """Return what trial t remembers of pairs (u, j), by name.

        Runs write it down where the truth about pairs is known.

        Shape:
            users, items: [n] int64 -> [n] each.
        """
        return {}

    @abstractmethod
    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Pick the negatives; no gradient flows through the choice itself.

        Shape:
            pool: [T, B, M] int64 -> Negatives.items [T, B, K].
        """


def choose(pool: Tensor, index: Tensor) -> Tensor:
    """Return the entry at `index` of each row.

    Shape:
        pool: [T, B, M]; index: [T, B] -> [T, B].
    """
    return pool.gather(-1, index[..., None]).squeeze(-1)


def place_by(p: Tensor, u: Tensor) -> Tensor:
    """Draw an index of each row with probabilities p, from the uniform numbers u.

    Shape:
        p: [T, B, M]; u: [T, B] -> [T, B] int64.
    """
    return (p.double().cumsum(-1) <= u[..., None]).sum(-1).clamp(max=p.shape[-1] - 1)


def pick(pool: Tensor, index: Tensor) -> Negatives:
    """Return the candidate at `index` of each pool, as the negative.

    Shape:
        pool: [T, B, M]; index: [T, B] -> Negatives.items [T, B, 1].
    """
    return Negatives(choose(pool, index)[..., None])
