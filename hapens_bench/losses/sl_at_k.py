"""SL@K: a softmax loss weighted by whether the positive is near the top of the ranking."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import Loss, Scored, pair_scores
from hapens_bench.losses.elementwise import sigmoid
from hapens_bench.losses.log_sum_exp import softmax_loss
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Purpose, Streams
from hapens_bench.samplers.base import Batch, Negatives
from hapens_bench.samplers.pool import Positives, draw_pool

CHUNK = 512  # users whose thresholds are estimated at a time


class SLAtK(Loss):
    """Softmax loss, weighted for the top K of each user's ranking.

        sigmoid((s_ui - beta_u) / tau_w) ln sum_k e^((s_uk - s_ui)/tau_d)

    beta_u estimates the score of the item at rank `top` (the paper's K): the `top`-th highest score
    among the user's train items and N uniform other items. It is 0 at first and estimated anew
    after every `every` epochs (T in the paper). The gradient flows through the weight, too, but not
    through beta_u. Yang et al., "Breaking the top-K barrier: Advancing top-K ranking metrics
    optimization in recommender systems", KDD 2025; there s is a cosine: `model.similarity=cosine`.

    Deviations: the authors' code estimates beta_u step by step during each T-th epoch, from that
    step's negatives and at most as many train items as 90% of the users have; here all users are
    estimated together when the epoch ends, from all of their train items.

    Shape:
        beta: [T, U]; stream: [T].
    """

    keys = {
        "tau_d": Key(float, above=0),
        "tau_w": Key(float, above=0),
        "top": Key(int, low=1, shared=True),
        "N": Key(int, low=1, shared=True),
        "every": Key(int, low=1, shared=True),
    }
    tau_d: Tensor
    tau_w: Tensor
    beta: Tensor
    stream: Tensor
    positives: Positives

    def __init__(
        self,
        tau_d: Tensor,
        tau_w: Tensor,
        top: int,
        N: int,
        every: int,
        seeds: list[int],
        n_users: int,
    ) -> None:
        super().__init__()
        self.top, self.N, self.every = top, N, every
        self.register_buffer("tau_d", tau_d)
        self.register_buffer("tau_w", tau_w)
        self.register_buffer("beta", torch.zeros(len(seeds), n_users))
        self.register_buffer("stream", Streams(seeds, Purpose.QUANTILE).keys)

    @property
    def remembered(self) -> dict[str, Tensor]:
        """See `Loss.remembered`."""
        return {"beta": self.beta}

    def start(self, positives: Positives) -> None:
        """Keep the train pairs of a stage, whose scores the estimates need."""
        self.positives = positives

    def score(self, encoded: Encoded, ego: Encoded, batch: Batch, drawn: Negatives) -> Scored:
        """See `Loss.score`."""
        positive, negative, squares = pair_scores(encoded, ego, batch, drawn)
        losses = self(positive, negative, self.beta.gather(1, batch.users))
        return Scored(losses, squares, positive, negative)

    def forward(self, positive: Tensor, negative: Tensor, beta: Tensor) -> Tensor:
        """Return the loss of each positive.

        Shape:
            positive, beta: [T, B]; negative: [T, B, K] -> [T, B].
        """
        softmax = softmax_loss(positive, negative, self.tau_d)
        return sigmoid((positive - beta) / self.tau_w[..., 0]) * softmax

    @torch.no_grad()
    def close_epoch(self, epoch: int, encoded: Encoded) -> None:
        """Estimate the thresholds of all users after every `every` epochs."""
        if (epoch + 1) % self.every:
            return
        n_users, streams = self.beta.shape[1], Streams.of(self.stream)
        for begin in range(0, n_users, CHUNK):
            users = torch.arange(begin, min(begin + CHUNK, n_users), device=self.beta.device)
            users = users.expand(len(self.beta), -1).contiguous()
            counter = torch.tensor((epoch * n_users + begin) * self.N, device=users.device)
            others = draw_pool(self.positives, users, self.N, streams, counter)
            own, inside = self.positives.padded(users)
            scores = torch.cat(
                [
                    encoded.score(users, own).masked_fill(~inside, -torch.inf),
                    encoded.score(users, others),
                ],
                -1,
            )
            best = scores.topk(min(self.top, scores.shape[-1]), -1).values
            self.beta[:, begin : begin + users.shape[1]] = best[..., -1]
