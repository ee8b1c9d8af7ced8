"""A log of ratings with names for ids, as a user's own file may have it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def ratings(columns: Sequence[str], user: str, item: str) -> pd.DataFrame:
    """200 users and 150 items, several ratings of a few pairs; ids begin with `user` and `item`."""
    generator = np.random.default_rng(0)
    users, items = generator.integers(0, 200, 4000), generator.geometric(0.03, 4000) % 150
    values = [
        [f"{user}{u}" for u in users],
        [f"{item}{i}" for i in items],
        generator.integers(1, 6, 4000),
        893286638 + generator.integers(0, 10**7, 4000),
    ]
    return pd.DataFrame(dict(zip(columns, values, strict=True)))
