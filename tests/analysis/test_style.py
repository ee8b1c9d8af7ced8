"""A sampler's look is its own, in colour and without."""

import itertools
from itertools import combinations

import pytest

from hapens_bench.analysis.figures.definition import KINDS
from hapens_bench.analysis.figures.style import DASHES, LOOKS, MARKERS, line
from hapens_bench.config.paths import conf_dir


def lightness(colour: str) -> float:
    """CIE L*: 0 is black, 100 white."""
    linear = []
    for k in (1, 3, 5):
        value = int(colour[k : k + 2], 16) / 255
        linear.append(value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4)
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 116 * luminance ** (1 / 3) - 16 if luminance > 0.008856 else 903.3 * luminance


def test_no_two_samplers_look_alike():
    shipped = {path.stem for path in (conf_dir() / "sampler").glob("*.yaml")}
    looks = {(line(name)["color"], str(line(name)["linestyle"])) for name in shipped | set(LOOKS)}
    assert len(looks) == len(shipped | set(LOOKS)) >= 14
    assert len({colour for colour, _ in LOOKS.values()}) == len(LOOKS)


def test_samplers_are_told_apart_without_colour():
    for (a, (one, dash)), (b, (other, dash_b)) in combinations(LOOKS.items(), 2):
        assert dash != dash_b or abs(lightness(one) - lightness(other)) > 8, (a, b)
    assert all(lightness(colour) < 80 for colour, _ in LOOKS.values())  # on white paper
    assert len({str(dash) for dash in DASHES.values()}) == len(DASHES)


# rns is black, so its settings differ in markers alone.
@pytest.mark.parametrize("sampler", sorted(set(LOOKS) - {"rns"}))
def test_settings_keep_the_dash_get_darker_and_differ_in_markers(sampler):
    one, most = line(sampler), KINDS["curves"].most
    assert "marker" not in one
    settings = [line(sampler, k, most) for k in range(most)]
    assert settings[0]["color"] == one["color"]
    assert all(setting["linestyle"] == one["linestyle"] for setting in settings)
    steps = [lightness(a["color"]) - lightness(b["color"]) for a, b in itertools.pairwise(settings)]
    assert min(steps) > 0.5
    assert len({setting["marker"] for setting in settings}) == most == len(MARKERS)


NEW = [f"sampler_{k}" for k in range(200)]


def test_a_new_sampler_needs_no_entry_and_has_a_look_of_its_own():
    looks = {name: (line(name)["color"], str(line(name)["linestyle"])) for name in NEW}
    assert len(set(looks.values())) == len(NEW)
    assert not {colour for colour, _ in looks.values()} & {colour for colour, _ in LOOKS.values()}
    assert not {dash for _, dash in looks.values()} & set(map(str, DASHES.values()))
    assert all(lightness(colour) < 80 for colour, _ in looks.values())


def test_the_look_of_a_new_sampler_follows_from_its_name_alone():
    assert line("mine") == line("mine") != line("yours")
    assert line("mine")["color"] == "#040472"  # the same on every machine
    settings = [line("mine", k, 3) for k in range(3)]
    assert len({setting["marker"] for setting in settings}) == 3
    assert settings[0]["color"] == line("mine")["color"] != settings[2]["color"]
