"""Damaged files of one's own, of every format: each is read, or refused in one sentence."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapens_bench.cli.errors import guarded
from hapens_bench.data.own.read import read_own
from tests.conftest import make_config
from tests.faults.bounded import Bounded, cases
from tests.faults.test_fuzz_readers import ADJACENCY, PAIRS, as_it_should_be, damaged, lines, zipped

FRAME = pd.DataFrame(PAIRS, columns=["user", "item"]).assign(rating=4.5, time=range(100, 120))
PARQUET = io.BytesIO()
FRAME.to_parquet(PARQUET)
CSV = FRAME.to_csv(index=False).encode()
VALID = [
    CSV,
    lines("{u}\t{i}\t{r}\t150000000{t}\n"),
    lines("{u}::{i}::{r}::150000000{t}\n"),
    lines("{u} {i} {t}\n"),
    b"user_id:token\titem_id:token\n" + lines("{u}\t{i}\n"),
    ADJACENCY,
    "\n".join(map(json.dumps, FRAME.to_dict("records"))).encode(),
    PARQUET.getvalue(),
    gzip.compress(CSV),
    zipped(**{"a.csv": CSV}),
]


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Draw a file that is damaged once or twice."""
    content = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 2))):
        content = draw(damaged(content))
    return content


def read(content: bytes) -> int:
    """Read the file as a run does."""
    Path("file").write_bytes(content)
    dataset = make_config("dataset=mine", "dataset.path=file")["dataset"]
    return guarded(lambda: read_own(dataset) and 0)


@pytest.mark.parametrize("n", [100, pytest.param(2000, marks=pytest.mark.faults)])
def test_every_own_file_is_read_or_refused_in_one_sentence(n, tmp_path):
    with Bounded(read, tmp_path) as outcome_of:

        @cases(n)
        @given(contents())
        def fuzz(content: bytes) -> None:
            outcome = outcome_of(content)
            assert as_it_should_be(outcome), f"{content}\n{outcome.printed}\n{outcome.uncaught}"

        fuzz()
