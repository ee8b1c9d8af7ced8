"""What a negative sampler is: one method that picks negatives for a batch."""

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
    """The positives of a step, or its users, and where in the training we are.

    Shape:
        users, items: [T, B] int64, of a sampler that works on user groups items [T, B, 0]; epoch, step: [] int64 on the same device.

    `epoch` counts from 0, `epochs` is the scheduled number, `step` counts over all epochs. The two counters are tensors because a
    captured step is replayed: the host may not know their values.
    """

    users: Tensor
    items: Tensor
    epoch: Tensor
    step: Tensor
    epochs: int


@dataclass(frozen=True)
class Negatives:
    """What the loss is given for each positive.

    `weights` go to losses that take them, without a gradient. `layers` are synthesised negatives, the embedding of
    each layer, that take the items' place in the loss and in L2; `items` then says which items they come from.
    `extra` is a loss of the sampler's own. A sampler that works on user groups gives `positives` too, whose first is what hardness
    is measured against.

    Shape:
        items: [T, B, K] int64; weights: [T, B, K]; layers: [T, B, K, L+1, D]; extra: [T]; positives: [T, B, N] int64.
    """

    items: Tensor
    weights: Tensor | None = None
    layers: Tensor | None = None
    extra: Tensor | None = None
    positives: Tensor | None = None

    @property
    def group(self) -> Tensor:
        """The positives of a sampler that works on user groups.

        Raises:
            TypeError: when the sampler works on interactions.
        """
        if self.positives is None:
            raise TypeError("this sampler works on interactions and draws no positives")
        return self.positives


@dataclass(frozen=True)
class PoolSize(Key):
    """The key that says how many candidates the pool holds for each positive."""


class Sampler(nn.Module, ABC):
    """A rule that picks K negatives for each positive of a batch.

    `keys` declares the YAML keys beside `name` and `_target_`. Keys that are not `shared` arrive as
    tensors [T, 1, 1], so a rule written over [..., M] serves every trial of a pack. The constructor
    gets what its signature names: keys, and of `seeds` (one a trial), `D`, `n_users`, `n_items` and
    `inherited` (see the class method of that name) what it asks for.

    The pool holds `pool_size` candidates for each positive, none of them a train item of the user:
    excluding positives is the pool's duty, never the sampler's. A `PoolSize` key sizes it.

    What `hyperparameters` registers follows from the config; other buffers are what the sampler
    remembers from step to step (`state_dict`): a checkpoint holds them. Buffers and parameters have
    the trial axis first.

    A `differentiable` sampler returns layer embeddings or an extra loss, and gets vectors with a
    gradient. One with `groups` gets users instead of interactions: an epoch goes over the users who
    have a train item, B of them a step, and the sampler draws their positives itself.
    """

    keys: ClassVar[dict[str, Key]] = {}
    pool_key: ClassVar[str | None] = None  # the name of the PoolSize key
    differentiable: ClassVar[bool] = False
    groups: ClassVar[bool] = False
    pool_size: int = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        sizing = [name for name, key in cls.keys.items() if isinstance(key, PoolSize)]
        cls.pool_key = sizing[0] if sizing else None

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """Say what is wrong with keys that are each allowed but not together."""
        return []

    @classmethod
    def gives_weights(cls, section: Mapping[str, Any]) -> bool:
        """Tell whether the loss must take weights."""
        return False

    @classmethod
    def prerequisite(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Give the resolved config of the trial that must be done before this one, where there is one.

        It has `trainer.user_hardness` or `trainer.best_model`: what that leaves in its run folder is the artefact that a sampler can
        inherit; and a trial whose prerequisite left its model starts from it.
        """
        return None

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], D: int, n_users: int, n_items: int) -> int:
        """Return how many bytes a trial's buffers and parameters take that grow with users or items, at least."""
        return 0

    @classmethod
    def inherited(cls, section: Mapping[str, Any], seed: int, artefact: Any) -> Any:
        """Return what a trial takes over from the artefact of its prerequisite (None without one).

        A constructor that names `inherited` gets a list of these, one a trial.
        """
        raise TypeError(
            f"{cls.__name__} asks for `inherited` and has no class method that makes it"
        )

    def hyperparameters(self, **values: Tensor) -> None:
        """Keep tensors [T, ...] that follow from the config, as buffers that no checkpoint holds."""
        for name, value in values.items():
            self.register_buffer(name, value, persistent=False)

    @property
    def remembered(self) -> dict[str, Tensor]:
        """The buffers that change from step to step, by name."""
        kept = self.state_dict(keep_vars=True)
        return {name: kept[name] for name, _ in self.named_buffers() if name in kept}

    def allocate(self, encoded: Encoded) -> None:
        """Register buffers to remember, [T, ...], sized by the model's vectors; called once, before `start`."""

    def start(self, positives: Positives) -> None:
        """Look at the train pairs of a stage before its first step."""

    def learning_rate(self) -> Tensor | None:
        """Give the learning rate of its parameters, [T, 1, 1]; None where it is the trainer's."""
        return None

    def close_epoch(self, epoch: int, encoded: Encoded) -> dict[str, Tensor]:
        """Give what the history should hold of the epoch that is over, by column, [T] each; and make ready for the next one.

        `encoded` are the vectors after it. What this changes must be buffers that are remembered.
        """
        return {}

    def indicators(self, t: int, users: Tensor, items: Tensor) -> dict[str, Tensor]:
        """Give what trial t remembers of pairs (u, j), by name; runs write it down where the truth about pairs is known.

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
    """Give the one entry at `index` of each row.

    Shape:
        pool: [T, B, M]; index: [T, B] -> [T, B].
    """
    return pool.gather(-1, index[..., None]).squeeze(-1)


def place_by(p: Tensor, u: Tensor) -> Tensor:
    """Give the place in each row that a uniform number falls on, where places are as long as their probabilities.

    Shape:
        p: [T, B, M]; u: [T, B] -> [T, B] int64.
    """
    return (p.double().cumsum(-1) <= u[..., None]).sum(-1).clamp(max=p.shape[-1] - 1)


def pick(pool: Tensor, index: Tensor) -> Negatives:
    """Give the one candidate at `index` of each pool.

    Shape:
        pool: [T, B, M]; index: [T, B] -> Negatives.items [T, B, 1].
    """
    return Negatives(choose(pool, index)[..., None])
