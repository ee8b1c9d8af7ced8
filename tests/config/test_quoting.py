"""What is printed can be pasted: through a shell and Hydra it composes the same config."""

import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from hapens_bench.analysis.rerun import overrides, rerun_command
from hapens_bench.config.compose import compose_config
from hapens_bench.config.identity import run_id
from hapens_bench.config.quoting import hapens_command, hydra_value, wrapped
from hapens_bench.config.sweeps import combinations
from hapens_bench.launch.job import Job

ODD = st.text(st.sampled_from("ab01 =,:;'\"\\[]{}()$#~+-*!?&|<>`\n\t.@%/é名"), max_size=14)
NAMES = [
    "run[/x]",
    "a=b, c",
    "it's (1)",
    '"q"',
    "end\\",
    "\\\n",
    "a${b}",
    "\\${seed}",
    "né",
    "null",
]


def read(text: str) -> object:
    """What a config holds after an override."""
    config = OmegaConf.create({"key": "before"})
    OmegaConf.update(config, "key", OverridesParser.create().parse_override(text).value())
    return OmegaConf.to_container(config, resolve=True)["key"]


def swept(text: str) -> str:
    """What Hydra's sweeper makes of an override."""
    parsed = OverridesParser.create().parse_overrides([text])
    ((override,),) = combinations(parsed)
    return override


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.sampled_from(NAMES), ODD))
@example("???\n")
def test_a_text_is_the_same_after_the_shell_the_sweeper_and_hydra(text):
    override = swept(f"key={hydra_value(text)}")
    command = Job({}, [override]).command
    hapens, train, pasted = shlex.split(command)
    assert (hapens, train) == ("hapens", "train")
    assert read(pasted) == text
    if "${" not in text:  # Hydra takes the quotes off there, and then it is a reference
        assert read(swept(f"key=choice({hydra_value(text)})")) == text


@settings(max_examples=300, deadline=None)
@given(st.lists(ODD.filter(bool), min_size=1, max_size=8), st.integers(10, 60))
def test_a_command_in_lines_is_the_same_to_a_shell(words, width):
    lines = wrapped(hapens_command(*words), width)
    assert shlex.split("\n".join(lines).replace(" \\\n", " ")) == ["hapens", *words]


@pytest.mark.parametrize("name", [name for name in NAMES if "${" not in name])
def test_a_printed_command_composes_the_same_config(name):
    typed = [f"paths.runs={hydra_value(name)}", "sampler=ahns", "sampler.alpha=0.3", "seed=3"]
    config = compose_config([swept(override) for override in typed])
    assert config["paths"]["runs"] == name
    pasted = shlex.split(Job(config, typed).command)[2:]
    assert compose_config(pasted) == config
    again = rerun_command(config, "seed=3", f"paths.runs={hydra_value(name)}")
    pasted = shlex.split(again)[2:]
    assert pasted[:-2] == overrides(config)
    composed = compose_config(pasted)
    assert run_id(composed) == run_id(config) and composed["paths"] == config["paths"]


def test_numbers_and_words_are_not_quoted():
    values = [1, 0.5, True, None, "word", [1, "a b"], {"k": "v"}]
    assert [hydra_value(v) for v in values] == [
        *("1", "0.5", "true", "null", "word"),
        "[1,'a b']",
        "{k:v}",
    ]
