"""RNS-AS: the reinforced negative sampler without exposure data."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.samplers.generator import GeneratorSampler


class RNSAS(GeneratorSampler):
    """Draw from a generator G, rewarded by the recommender D, with a baseline.

        j ~ softmax(s_G / temperature) over M candidates
        reward = -sigma(-s_D(u, j)), less the mean of the previous epoch

    Ding et al., "Reinforced negative sampling for recommendation with exposure data", IJCAI 2019,
    without its exposure data: the adversarial sampler (AS) of the tables of SRNS (NeurIPS 2020) and
    GDNS (WWW 2022), model type KBGAN in dingjingtao/ReinforceNS. As in that code, D and G start
    from a trained BPR model.

    Deviations from it: G has no weight vector; its losses are sums over the batch, as ours are with
    `trainer.reduction=sum`.
    """

    baseline = True

    def reward(self, score: Tensor) -> Tensor:
        """See `GeneratorSampler.reward`."""
        return -torch.sigmoid(-score)
