"""AdvIR: adversarial sampling and adversarial training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from hapens_bench.config.keys import Key
from hapens_bench.models.base import Encoded
from hapens_bench.rng import Streams
from hapens_bench.samplers.base import Batch, Negatives
from hapens_bench.samplers.generator import GeneratorSampler


class AdvIR(GeneratorSampler):
    """Draw from a generator G, and train the recommender D on perturbed vectors too.

        j ~ softmax(s_G / temperature) over M candidates, G's reward is s_D(u, j)
        D learns from l(e) + lam l(e + delta), delta = eps g / |g|_2

    l is BPR. delta is for the positive's and for the negative's vector each, with g the gradient of
    l with respect to it. With d = s_uj - s_ui these gradients are -sigma(d) e_u and sigma(d) e_u,
    so delta is -eps e_u / |e_u| and eps e_u / |e_u|, and l(e + delta) = softplus(d + 2 eps |e_u|).
    Its gradient is that of l at e + delta with delta held fixed, because e_u . delta = eps |e_u|
    has the gradient delta.

    Park and Chang, "Adversarial sampling and training for semi-supervised information retrieval",
    WWW 2019. The paper's formulas were not at hand: the perturbation is the standard one of APR (He
    et al., SIGIR 2018); the reward and G's settings are those of XU-YaoKun/PERec, which leaves the
    perturbation out. The perturbed term is BPR whatever `loss` is.
    """

    keys = GeneratorSampler.keys | {"eps": Key(float, low=0), "lam": Key(float, low=0)}
    eps: Tensor
    lam: Tensor

    def __init__(self, eps: Tensor, lam: Tensor, **generator: Any) -> None:
        super().__init__(**generator)
        self.hyperparameters(eps=eps, lam=lam)

    def reward(self, score: Tensor) -> Tensor:
        """See `GeneratorSampler.reward`."""
        return score

    def draw(self, batch: Batch, encoded: Encoded, pool: Tensor, rng: Streams) -> Negatives:
        """Draw from G, and add the loss of the perturbed vectors."""
        drawn = super().draw(batch, encoded, pool, rng)
        positive, negative, _ = encoded.pairs(batch.users, batch.items, drawn.items)
        d = negative.squeeze(-1) - positive
        length = encoded.query(batch.users).norm(dim=-1)
        perturbed = F.softplus(d + 2 * self.eps.squeeze(-1) * length)
        assert drawn.extra is not None
        return replace(drawn, extra=drawn.extra + self.lam.view(-1) * perturbed.mean(-1))
