"""IRGAN as a sampler: a generator rewarded for negatives that the recommender scores high."""

from __future__ import annotations

import torch
from torch import Tensor

from hapens_bench.samplers.generator import GeneratorSampler


class IRGAN(GeneratorSampler):
    """Draw from a generator G, rewarded by the recommender D, without a baseline.

        j ~ softmax(s_G / temperature) over M candidates; reward = 2 (sigma(s_D(u, j)) - 1/2)

    Wang et al., "IRGAN: a minimax game for unifying generative and discriminative information
    retrieval models", SIGIR 2017, as a sampler of BPR negatives: the recommender is D, and D is
    what is reported. This is the usual simplification in tables that have IRGAN as a baseline; the
    paper's own game is `irgan_minimax`.

    Deviations from the paper: D's loss is the trial's (BPR), not cross entropy; candidates are M
    uniform ones, not the catalogue, so no importance weight is left; no item biases; both from
    scratch, or both from a trained model, where the paper's code starts G alone from a trained DNS
    model. The number of candidates, learning rate and L2 are those of XU-YaoKun/PERec, whose G
    learns from the candidate it thinks most probable, not from the drawn one.
    """

    def reward(self, score: Tensor) -> Tensor:
        """See `GeneratorSampler.reward`."""
        return 2 * (torch.sigmoid(score) - 0.5)
