"""Damaged raw files of every format, within bounds of memory and time.

Each is parsed or refused in one sentence.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapens_bench.cli.errors import guarded
from hapens_bench.data.load import load
from hapens_bench.data.readers import READERS
from tests.conftest import make_config
from tests.faults.bounded import Bounded, cases

Files = Mapping[str, bytes]
PAIRS = [(u, (7 * u + 3 * k) % 11) for u in range(5) for k in range(4)]
ODD = [
    "",
    " ",
    "-1",
    "1.5",
    "nan",
    "inf",
    "x",
    "é",
    "\x00",
    '"',
    "1e9",
    "999999999999",
    "9223372036854775807",
    "1" + "0" * 40,
]
ODD += ["²", "١", "0x1", "1_0", "null", "[]", "{}", "::", "\r", "\t", ","]


def lines(form: str) -> bytes:
    return "".join(
        form.format(u=u, i=i, t=100 + n, r=1 + n % 5) for n, (u, i) in enumerate(PAIRS)
    ).encode()


def npz(pack: Callable = np.savez, **arrays: object) -> bytes:
    buffer = io.BytesIO()
    pack(buffer, **arrays)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def review(u: int, i: int, n: int) -> dict[str, object]:
    return {"reviewerID": f"A{u}", "asin": f"B{i}", "overall": 1.0 + n % 5, "unixReviewTime": n}


USERS, ITEMS = (np.array(column) for column in zip(*PAIRS, strict=True))
PUBLISHED = {
    "train": np.array(PAIRS[:10]),
    "valid": np.array(PAIRS[10:15]),
    "test": np.array(PAIRS[15:]),
    "shape": [5, 11],
}
GATHERED = {
    "train_user": USERS,
    "train_item": ITEMS,
    "valid_item_all55187": np.arange(5),
    "test_item_all55187": np.arange(5),
}
CONSUMED = {
    part: pickle.dumps(defaultdict(list, {u: [(3 * u + k) % 11 for k in own] for u in range(5)}), 3)
    for part, own in {"train": range(4), "valid": [5], "test": [7, 8]}.items()
}
ADJACENCY = b"0 1 2 3\n1 4 5\n2 6 7 10\n"
RATINGS = lines("{u}::{i}::{r}::{t}\n")
HEADED, PARTS = b"user_procid\titem_procid\n" + lines("{u}\t{i}\n"), ("train", "test")
VALID: dict[str, list[Files]] = {
    "movielens": [
        {"log": RATINGS},
        {"log": zipped(**{"ml-1m/ratings.dat": RATINGS})},
        {"log": zipped(**{"../../ratings.dat": RATINGS})},
    ],
    "amazon": [
        {"log": b"\n".join(json.dumps(review(u, i, n)).encode() for n, (u, i) in enumerate(PAIRS))}
    ],
    "ncf": [{"train": lines("{u}\t{i}\t{r}\t{t}\n"), "test": lines("{u}\t{i}\t{r}\t{t}\n")}],
    "irbenchmark": [
        {"train": HEADED, "test": HEADED},
        {part: zipped(**{"proc/train.tsv": HEADED, "proc/test.tsv": HEADED}) for part in PARTS},
    ],
    "adjacency": [{"train": ADJACENCY, "test": ADJACENCY}],
    "consumed": [CONSUMED],
    "user_behavior": [{"log": lines("{u},{i},7,pv,{t}\n")}],
    "tmall": [{"log": b"user_id,item_id,cat_id,time_stamp\n" + lines("{u},{i},1,{t}\n")}],
    "events": [
        {"log": npz(pack, user=USERS, item=ITEMS, time=ITEMS)}
        for pack in (np.savez, np.savez_compressed)
    ],
    "in_order": [{"log": npz(user=USERS, item=ITEMS)}],
    "leave_one_out": [
        {"log": npz(**PUBLISHED)},
        {"log": npz(**GATHERED, shape=[5, 11])},
        {"log": npz(**PUBLISHED, test_neg=np.ones((5, 3), int))},
    ],
}


def arrays() -> st.SearchStrategy[object]:
    """Draw arrays that a reader does not expect.

    They hold objects, texts, dates, numbers out of range, or have other shapes.
    """
    numbers = [-1, 0, 3, 2**31, 2**62, 10**9, 0.5, float("nan"), float("inf")]
    flat = st.lists(st.sampled_from(numbers), max_size=6).map(np.array)
    shaped = st.sampled_from(
        [
            np.zeros((2, 2), int),
            np.zeros((0, 2)),
            np.array(5),
            np.zeros((3, 1), int),
            np.zeros((2, 2, 2)),
        ]
    )
    odd = [
        np.array([{}], dtype=object),
        np.array(["a"]),
        np.array([1j]),
        np.array(["2020-01-01"], dtype="M8[s]"),
        np.array([True]),
        np.array([b"1"]),
    ]
    huge = st.sampled_from(
        [[10**9, 10**9], [2**62, 2**62], [-1, 5], [0, 0], [5], [5, 11, 2], [5.5, 11], ["5", "11"]]
    ).map(np.array)
    return st.one_of(flat, shaped, huge, st.sampled_from(odd))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Damage bytes, lines or fields, or compress the file."""
    kind = draw(
        st.sampled_from(
            ["flip", "cut", "drop", "field", "insert", "repeat", "code", "gzip", "gzip cut"]
        )
    )
    at = draw(st.integers(0, max(0, len(content) - 1)))
    rows = content.split(b"\n")
    row = draw(st.integers(0, len(rows) - 1))
    if kind == "flip":
        return (
            content[:at] + bytes([content[at] ^ draw(st.integers(1, 255))]) + content[at + 1 :]
            if content
            else b""
        )
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        return content[:at] + draw(st.binary(max_size=6)) + content[at:]
    if kind == "drop":
        return b"\n".join(rows[:row] + rows[row + 1 :])
    if kind == "repeat":
        return b"\n".join(rows[: row + 1] * draw(st.integers(1, 3)) + rows[row:])
    if kind == "code":
        return content.decode("latin-1").encode(
            draw(st.sampled_from(["utf-16", "utf-8-sig", "utf-32", "cp037", "utf-8"]))
        )
    if kind.startswith("gzip"):
        packed = gzip.compress(content)
        return packed[: at % len(packed)] if kind == "gzip cut" else packed
    separator = next((s for s in (b"::", b"\t", b",", b" ") if s in rows[row]), b" ")
    fields = rows[row].split(separator)
    fields[draw(st.integers(0, len(fields) - 1))] = draw(st.sampled_from(ODD)).encode()
    return b"\n".join([*rows[:row], separator.join(fields), *rows[row + 1 :]])


@st.composite
def commands(draw: st.DrawFn) -> tuple[str, Files]:
    """Draw a reader and its files.

    One file is damaged once or twice, or is an archive with unexpected arrays.
    """
    reader = draw(st.sampled_from(sorted(VALID)))
    files = dict(draw(st.sampled_from(VALID[reader])))
    name = draw(st.sampled_from(sorted(files)))
    if files[name][:2] == b"PK" and reader != "movielens" and draw(st.booleans()):
        with np.load(io.BytesIO(files[name])) as found:
            parts = dict(found)
        for part in draw(st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=2)):
            parts[part] = draw(arrays())
        return reader, {**files, name: npz(**parts)}
    for _ in range(draw(st.integers(1, 2))):
        files[name] = draw(damaged(files[name]))
    return reader, files


def read(case: tuple[str, Files]) -> int:
    """Parse, split and check the files, as a run does."""
    reader, files = case
    for name, content in files.items():
        Path(name).write_bytes(content)
    assert reader in READERS
    sources = {
        "raw": {"reader": reader, "files": {name: {"name": name, "mirror": name} for name in files}}
    }
    dataset = {"name": "fuzzed", "source": "raw", "sources": sources}
    fitting = {"ncf": "gdns", "leave_one_out": "gdns", "consumed": "sdns"}
    rules = protocol(fitting.get(reader, "ahns"))
    no_cache = Path(next(iter(files))) / "cache"  # below a file there can be none
    return guarded(lambda: load(dataset, rules, no_cache, Path(".")) and 0)


@lru_cache
def protocol(name: str) -> Mapping[str, Any]:
    return make_config(f"protocol={name}")["protocol"]


def as_it_should_be(outcome) -> bool:
    said = [line for line in outcome.printed.splitlines() if "the cache cannot be used" not in line]
    refused = outcome.code == 2 and len(said) == 1 and said[0].startswith("error: ")
    return not outcome.uncaught and (outcome.code == 0 or refused)


@pytest.mark.parametrize("n", [100, pytest.param(2000, marks=pytest.mark.faults)])
def test_every_file_is_parsed_or_refused_in_one_sentence(n, tmp_path):
    with Bounded(read, tmp_path / "deep" / "within") as outcome_of:

        @cases(n)
        @given(commands())
        def fuzz(case: tuple[str, Files]) -> None:
            outcome = outcome_of(case)
            assert as_it_should_be(outcome), (
                f"{case}\n{outcome.code}\n{outcome.printed}\n{outcome.uncaught}"
            )

        fuzz()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["deep"]


def test_the_readers_are_all_fuzzed():
    assert set(VALID) == set(READERS)
    assert set(VALID["ncf"][0]) == {"train", "test"}
