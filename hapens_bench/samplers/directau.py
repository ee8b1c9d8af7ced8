"""DirectAU: no negatives in the loss."""

from __future__ import annotations

from hapens_bench.samplers.rns import RNS


class DirectAU(RNS):
    """Draw nothing for the loss: `loss=directau` takes the users and positives of a batch only.

    Wang et al., "Towards representation alignment and uniformity in collaborative filtering", KDD
    2022.

    For each positive one uniform uninteracted item is drawn, for measuring hardness only.
    """

    negatives = False
