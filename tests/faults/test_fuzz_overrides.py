"""Overrides of all kinds, within bounds of memory and time.

Each command either trains or ends in one sentence and exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapens_bench.cli.train import train
from hapens_bench.config.paths import conf_dir
from tests.conftest import make_config
from tests.faults.bounded import Bounded, Outcome, cases

TINY = {
    "dataset.users": 40,
    "dataset.items": 600,
    "dataset.observed": 12,
    "model.D": 4,
    "trainer.batch_size": 16,
    "trainer.epochs": 2,
    "trainer.eval_every": 1,
    "trainer.threads": 1,
    "trainer.engine": "reference",
}
GROUPS = (
    "model",
    "sampler",
    "loss",
    "protocol",
    "trainer",
    "tuned",
    "debug",
    "logger",
    "dataset",
    "experiment",
)
NOT_FUZZED = ("trainer.epochs",)  # a very large number is a training that never ends, as was asked
NUMBERS = [
    "0",
    "-1",
    "1",
    "2",
    "3",
    "7",
    "0.5",
    "0.3",
    "0.99",
    "1e-3",
    "1e3",
    "-0.0",
    "1e-320",
    "1e38",
    "1e400",
    "nan",
    "inf",
    "-inf",
    "100000",
    "2147483648",
]
NUMBERS += [
    "1000000000",
    "9223372036854775808",
    "1" + "0" * 400,
    "-1" + "0" * 30,
    "1_000",
    "0x10",
    "1.5",
]
WORDS = [
    "",
    "null",
    "true",
    "false",
    "auto",
    "no such word",
    "''",
    '" "',
    "a/b",
    "../../up",
    "ümlaut",
    "名前",
    "\x00",
    "\\n",
]
WORDS += [
    "cuda:99",
    "meta",
    "mps",
    "os.getcwd",
    "builtins.print",
    "Recall@0",
    "Recall@99999999999",
    "hapens_bench.cli",
]
LISTS = [
    "[]",
    "[1]",
    "[valid]",
    "[valid,valid]",
    "[null]",
    "[[]]",
    "{}",
    "{a: 1}",
    "[Recall@20]",
    "[NDCG@5,full/NDCG@5]",
]
INTERPOLATIONS = [
    "${seed}",
    "${nope}",
    "${trainer}",
    "${oc.env:NOPE}",
    "${oc.env:HOME}",
    "${",
    "${.lr}",
    "${model.D}",
    "???",
]
SWEEPS = ["1,2", "range(2)", "choice(1,2)", "interval(0,1)", "glob(*)", "sort(2,1)"]


def leaves(section: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Return the values of a config by dotted name, sections included."""
    for name, value in section.items():
        yield f"{path}{name}", value
        if isinstance(value, Mapping):
            yield from leaves(value, f"{path}{name}.")


@lru_cache
def options(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_dir() / group).glob("*.yaml"))


@lru_cache
def keys(group: str, option: str) -> dict[str, Any]:
    """Return the values of the config composed with one option of a group, by key."""
    more = ["loss=worst_case"] if option == "worst_case" else []
    pairs = leaves(make_config("tuned=none", f"{group}={option}", *more))
    return {key: value for key, value in sorted(pairs, key=str) if key not in NOT_FUZZED}


def near(value: Any) -> list[str]:
    """Return values of the same kind, most of them allowed."""
    if isinstance(value, bool):
        return ["true", "false"]
    if isinstance(value, (int, float)):
        return [str(type(value)(value * factor)) for factor in (0.5, 1, 1.5, 2)]
    return (
        ["null", "{}", "[]"]
        if value is None or isinstance(value, (Mapping, list))
        else [str(value)]
    )


def values() -> st.SearchStrategy[str]:
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/~"), max_size=8)
    anything = st.one_of(text, st.integers().map(str), st.floats().map(repr))
    kinds = [
        st.sampled_from(kind)
        for kind in (NUMBERS, NUMBERS, NUMBERS, WORDS, LISTS, INTERPOLATIONS, SWEEPS)
    ]
    return st.one_of(*kinds, anything)


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """Draw the arguments of `hapens train`.

    They are a component, one to three keys of it or of anything else, and tiny sizes.
    """
    group = draw(st.sampled_from(["model", "sampler", "loss", "protocol"]))
    option = draw(st.sampled_from(options(group)))
    typed = [f"{group}={option}"]
    known, named = keys(group, option), {}
    own = [key for key in known if key.startswith(group)]
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3]))):
        key = draw(
            st.sampled_from(
                draw(st.sampled_from([own, own, own, list(known), list(known), GROUPS]))
            )
        )
        allowed = draw(st.booleans()) and key in known
        value = draw(st.sampled_from(near(known[key])) if allowed else values())
        if draw(st.integers(0, 19)) == 0:
            at = draw(st.integers(0, len(key) - 1))
            key = key[:at] + draw(st.sampled_from(["", "x", ".", "@", "=", "é"])) + key[at + 1 :]
        prefix = draw(st.sampled_from([*[""] * 17, "+", "++", "~"]))
        named[key] = f"{prefix}{key}" + ("" if prefix == "~" else f"={value}")
    tiny = [f"{key}={value}" for key, value in TINY.items() if key not in named]
    multirun = ["-m"] if draw(st.integers(0, 9)) == 0 else []
    return [
        *multirun,
        *typed,
        *tiny,
        *(["tuned=none"] if "tuned" not in named else []),
        *named.values(),
    ]


def as_it_should_be(outcome: Outcome) -> bool:
    """Return whether it trained, diverged, or was refused in one sentence."""
    said = [line for line in outcome.printed.splitlines() if line.startswith("error: ")]
    if outcome.uncaught or "Traceback" in outcome.printed or "Error:" in outcome.printed:
        return False
    if outcome.code == 1:  # a number that is out of all proportion, but in range
        return "the loss is" in outcome.printed
    return outcome.code == 0 or (outcome.code == 2 and len(said) == 1)


@pytest.mark.parametrize("n", [40, pytest.param(2000, marks=pytest.mark.faults)])
def test_every_command_trains_or_is_refused_in_one_sentence(n, tmp_path):
    with Bounded(train, tmp_path / "deep" / "within") as run:

        @cases(n)
        @given(commands())
        def fuzz(typed: list[str]) -> None:
            outcome = run(typed)
            assert as_it_should_be(outcome), (
                f"{typed}\n{outcome.code}\n{outcome.printed}\n{outcome.uncaught}"
            )

        fuzz()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["deep"]
