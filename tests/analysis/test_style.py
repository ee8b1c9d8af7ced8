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


def test_every_sampler_has_a_look():
    shipped = {path.stem for path in (conf_dir() / "sampler").glob("*.yaml")}
    assert shipped <= set(LOOKS) and len(shipped) >= 14
    assert len({look for look, _ in LOOKS.values()}) == len(LOOKS)


def test_samplers_are_told_apart_without_colour():
    for (a, (one, dash)), (b, (other, dash_b)) in combinations(LOOKS.items(), 2):
        assert dash != dash_b or abs(lightness(one) - lightness(other)) > 8, (a, b)
    assert all(lightness(colour) < 80 for colour, _ in LOOKS.values())  # on white paper
    assert len({str(dash) for dash in DASHES.values()}) == len(DASHES)


@pytest.mark.parametrize(
    "sampler", sorted(set(LOOKS) - {"rns"})
)  # it is black: its settings have markers alone
def test_settings_of_a_sampler_keep_its_dash_get_darker_and_differ_in_their_markers(sampler):
    one, most = line(sampler), KINDS["curves"].most
    assert "marker" not in one
    settings = [line(sampler, k, most) for k in range(most)]
    assert settings[0]["color"] == one["color"]
    assert all(setting["linestyle"] == one["linestyle"] for setting in settings)
    steps = [lightness(a["color"]) - lightness(b["color"]) for a, b in itertools.pairwise(settings)]
    assert min(steps) > 0.5
    assert len({setting["marker"] for setting in settings}) == most == len(MARKERS)


def test_a_sampler_from_elsewhere_is_drawn_too():
    assert line("mine")["color"] not in {colour for colour, _ in LOOKS.values()}
