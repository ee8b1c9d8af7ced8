"""A generator that learns, by REINFORCE, which candidates to give the recommender as negatives."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hapens_bench.config.keys import Key
from hapens_bench.kernels import Engine
from hapens_bench.models.base import Encoded
from hapens_bench.models.initial import xavier_uniform
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch, Negatives, PoolSize, Sampler, choose, place_by
from hapens_bench.samplers.prerequisite import first_config, first_problems


class Factors(nn.Module):
    """The tables of a matrix factorisation beside the recommender, Xavier-uniform.

    Shape:
        user: [T, U, D]; item: [T, I, D].
    """

    def __init__(self, seeds: list[int], D: int, n_users: int, n_items: int) -> None:
        super().__init__()
        streams = Streams(seeds, Purpose.GENERATOR)
        self.user = xavier_uniform(streams, 0, n_users, D)
        self.item = xavier_uniform(streams, n_users * D, n_items, D)

    def encode(self, engine: Engine) -> Encoded:
        """Return the vectors of the two tables."""
        return Encoded(self.user, self.item, engine)


class Earnings(nn.Module):
    """The mean reward of a generator's draws in an epoch, and the mean entropy of its distribution.

    Both means are over the draws.
    """

    tally: Tensor

    def __init__(self, T: int) -> None:
        super().__init__()
        # The sums of rewards and entropies, and the number of draws.
        self.register_buffer("tally", torch.zeros(T, 3, dtype=torch.float64))

    def add(self, reward: Tensor, entropy: Tensor) -> None:
        """Count the draws of a step, with reward and entropy [T, B]."""
        self.tally += torch.stack([reward, entropy, torch.ones_like(reward)], -1).double().sum(1)

    def close(self) -> dict[str, Tensor]:
        """Return the epoch's means, [T] each, and start the next epoch's count."""
        reward, entropy, n = self.tally.T
        means = {"sampler/reward": reward / n, "sampler/entropy": entropy / n}
        self.tally.zero_()
        return means


class Adversary(Sampler):
    """A sampler that trains a matrix factorisation beside the recommender.

    It has its own learning rate. Each epoch logs the mean reward of the generator's draws, and the
    mean entropy of the distributions they were drawn from.
    """

    keys = {"temperature": Key(float, above=0), "lr": Key(float, above=0), "l2": Key(float, low=0)}
    differentiable = True
    temperature: Tensor
    lr: Tensor
    l2: Tensor

    def __init__(self, temperature: Tensor, lr: Tensor, l2: Tensor) -> None:
        super().__init__()
        self.hyperparameters(temperature=temperature, lr=lr, l2=l2)
        self.earnings = Earnings(len(lr))

    @classmethod
    def n_bytes(cls, section: Mapping[str, Any], D: int, n_users: int, n_items: int) -> int:
        """Return the bytes of the second model's tables."""
        return 4 * (n_users + n_items) * D

    def learning_rate(self) -> Tensor:
        """See `Sampler.learning_rate`."""
        return self.lr

    def close_epoch(self, epoch: int, encoded: Encoded) -> dict[str, Tensor]:
        """See `Sampler.close_epoch`."""
        return self.earnings.close()


class GeneratorSampler(Adversary):
    """Draw from a generator G, a matrix factorisation that learns by REINFORCE.

        j ~ p_G(j | u) = softmax(s_G(u, j) / temperature) over M uniform candidates

    G is trained in the same step as D, the recommender, by

        - mean ln p_G(j) (r(s_D(u, j)) - b) + l2 mean 1/2 (|u_G|^2 + sum_m |e_m|^2)

    Its gradient is the REINFORCE estimate (Williams, Machine Learning 1992) of that of the expected
    reward, and it reaches nothing but G. As a number it means nothing, so it adds 0 to the loss
    that is logged. A subclass defines the reward r. The baseline b is 0, or with `baseline` the
    mean reward of the previous epoch, 0 in the first. The reward is logged before b is subtracted;
    the entropy is at most ln M.

    With `start: trained`, the training described by `first` comes before. D starts from its model
    at the epoch that validation chose, and G from that model's vectors, so at first both give the
    same scores. Otherwise both start from scratch.
    """

    keys = {
        "M": PoolSize(int, low=2, shared=True),
        **Adversary.keys,
        "start": Key(str, choices=("scratch", "trained"), shared=True, host=True),
        "first": Key(dict, host=True),
    }
    baseline = False
    mean_reward: Tensor

    def __init__(
        self,
        M: int,
        temperature: Tensor,
        lr: Tensor,
        l2: Tensor,
        seeds: list[int],
        D: int,
        n_users: int,
        n_items: int,
        inherited: list[tuple[Tensor, Tensor] | None],
    ) -> None:
        super().__init__(temperature, lr, l2)
        self.pool_size = M
        self.register_buffer("mean_reward", torch.zeros(len(seeds), 1))  # of the previous epoch
        # All trials inherit vectors, or none does.
        given = [vectors for vectors in inherited if vectors is not None]
        if given:
            D = given[0][0].shape[-1]  # of pooled vectors: need not be the embedding size
        self.generator = Factors(seeds, D, n_users, n_items)
        for t, (users, items) in enumerate(given):
            self.generator.user.data[t], self.generator.item.data[t] = users, items

    @classmethod
    def problems(cls, section: Mapping[str, Any]) -> list[str]:
        """See `Sampler.problems`."""
        return first_problems("sampler.first", section["first"])

    @classmethod
    def prerequisite(cls, config: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the config of the training that both start from; None from scratch."""
        section = config["sampler"]
        if section["start"] == "scratch":
            return None
        return first_config(config, section["first"], leaves="best_model")

    @classmethod
    def inherited(
        cls,
        section: Mapping[str, Any],
        seed: int,
        artefact: Mapping[str, NDArray[np.float32]] | None,
    ) -> tuple[Tensor, Tensor] | None:
        """Return the vectors that G starts from, users [U, D] and items [I, D]."""
        if section["start"] == "scratch":
            return None
        assert artefact is not None, "the training `first` must be done before"
        return torch.from_numpy(artefact["users"]), torch.from_numpy(artefact["items"])

    @abstractmethod
    def reward(self, score: Tensor) -> Tensor:
        """Return G's reward for the recommender's score of the draw: [T, B] -> [T, B]."""

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Draw one candidate by p_G, and let G learn from its reward."""
        G = self.generator.encode(encoded.engine)
        first, others, squares = G.pairs(batch.users, pool[..., 0], pool[..., 1:])
        ln_p = torch.log_softmax(torch.cat([first[..., None], others], -1) / self.temperature, -1)
        p, B = ln_p.detach().exp(), batch.users.shape[1]
        place = place_by(p, rng.uniform(batch.step * B, B))
        j = choose(pool, place)[..., None]
        r = self.reward(encoded.score(batch.users, j).squeeze(-1))
        self.earnings.add(r, -(p * ln_p.detach()).sum(-1))
        gain = choose(ln_p, place) * (r - self.mean_reward)
        surrogate = self.l2.view(-1) * squares.mean(-1) - gain.mean(-1)
        return Negatives(j, extra=surrogate - surrogate.detach())

    def close_epoch(self, epoch: int, encoded: Encoded) -> dict[str, Tensor]:
        """See `Sampler.close_epoch`."""
        columns = super().close_epoch(epoch, encoded)
        if self.baseline:
            self.mean_reward.copy_(columns["sampler/reward"][:, None])
        return columns
