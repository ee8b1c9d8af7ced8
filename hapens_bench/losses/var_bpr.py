"""VarBPR's loss over several positives and negatives of a user."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.losses.base import Loss, Scored, pair_scores
from hapens_bench.models.base import Encoded
from hapens_bench.samplers.base import Batch, Negatives
from hapens_bench.samplers.pool import Positives

RAREST = 1e-12  # the most popular item's rarity, which is 0


class VarBPR(Loss):
    """BPR of a mean positive and a mean negative, weighted by variational distributions.

        softplus(sum_n beta_n s_n - sum_m alpha_m s_m)
        alpha_m ~ pi+_m e^(s_m / c_pos), beta_n ~ pi-_n e^(-s_n / c_neg)
        pi+_m = rare_m^pos_rarity e^(-pos_hardness s_m / tau)
        pi-_n = pop_n^neg_popularity e^(neg_hardness s_n / tau)

    over M positives m and N negatives n. alpha and beta have no gradient. pop = ln(2 + degree) /
    ln(2 + largest degree) in the train pairs, rare = 1 - pop. So the scores have the exponents
    (1/c_pos - pos_hardness/tau) and (neg_hardness/tau - 1/c_neg). With `sampler=var_bpr` the
    positives are the sampler's, else the batch's own: M = 1 and alpha = 1.

    `form: plugin` is the formula above; `exact` has sum_mn alpha_m beta_n softplus(s_n - s_m),
    which is never smaller (Jensen).

    Liu et al., "Variational Bayesian personalized ranking", IEEE TPAMI 2026.

    Deviations from the authors' code: the prior of an item's quality, its mean rating, is left out
    (data here have no ratings); L2 is of the rows in the loss, not Adam's weight decay of all.
    """

    takes_positives = True
    keys = {
        "c_pos": Key(float, above=0),
        "c_neg": Key(float, above=0),
        "pos_rarity": Key(float, low=0),
        "pos_hardness": Key(float, low=0),
        "neg_popularity": Key(float, low=0),
        "neg_hardness": Key(float, low=0),
        "tau": Key(float, above=0),
        "form": Key(str, choices=("plugin", "exact"), shared=True),
    }
    pos_slope: Tensor
    neg_slope: Tensor
    pos_rarity: Tensor
    neg_popularity: Tensor

    def __init__(
        self,
        c_pos: Tensor,
        c_neg: Tensor,
        pos_rarity: Tensor,
        pos_hardness: Tensor,
        neg_popularity: Tensor,
        neg_hardness: Tensor,
        tau: Tensor,
        form: str,
    ) -> None:
        super().__init__()
        self.form = form
        self.register_buffer("pos_slope", 1 / c_pos - pos_hardness / tau)
        self.register_buffer("neg_slope", neg_hardness / tau - 1 / c_neg)
        self.register_buffer("pos_rarity", pos_rarity)
        self.register_buffer("neg_popularity", neg_popularity)

    def start(self, positives: Positives) -> None:
        """Compute the logarithms of every item's popularity and rarity."""
        pop = (positives.degrees().float() + 2).log()
        pop = pop / pop.max()
        self.log_pop, self.log_rare = pop.log(), (1 - pop).clamp(min=RAREST).log()

    def score(self, encoded: Encoded, ego: Encoded, batch: Batch, drawn: Negatives) -> Scored:
        """See `Loss.score`."""
        positive, negative, squares = pair_scores(encoded, ego, batch, drawn)
        items, s = batch.items[..., None], positive[..., None]
        if drawn.positives is not None:
            items, others = drawn.positives, drawn.positives[..., 1:]
            query = encoded.query(batch.users)[..., None, :]
            s = torch.cat([s, (query * encoded.item(others)).sum(-1)], -1)
            squares = squares + 0.5 * ego.item(others).square().sum((-1, -2))
        losses = self(s, negative, self.log_rare[items], self.log_pop[drawn.items])
        return Scored(losses, squares, positive, negative)

    def forward(
        self, positive: Tensor, negative: Tensor, log_rare: Tensor, log_pop: Tensor
    ) -> Tensor:
        """Return the loss of each row.

        Shape:
            positive, log_rare: [T, B, M]; negative, log_pop: [T, B, N] -> [T, B].
        """
        with torch.no_grad():
            prior = self.pos_rarity * log_rare, self.neg_popularity * log_pop
            alpha = torch.softmax(self.pos_slope * positive + prior[0], -1)
            beta = torch.softmax(self.neg_slope * negative + prior[1], -1)
        if self.form == "plugin":
            return F.softplus((beta * negative).sum(-1) - (alpha * positive).sum(-1))
        gaps = F.softplus(negative[..., None, :] - positive[..., None])
        return (alpha[..., None] * beta[..., None, :] * gaps).sum((-1, -2))
