"""How samplers look in every picture: a colour and a dash each.

In black and white they differ in dash or in lightness.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
from itertools import count
from typing import Any

Dash = str | tuple[float, tuple[float, ...]]  # as matplotlib takes it

DASHES: dict[str, Dash] = {
    "solid": "-",
    "dashed": "--",
    "dash-dot": "-.",
    "dotted": ":",
    "dash-dot-dot": (0, (5, 1, 1, 1, 1, 1)),
    "long": (0, (8, 2)),
    "short": (0, (2, 1)),
    "long-dot": (0, (8, 1.5, 1, 1.5)),
}
# The first eight colours are Okabe and Ito's; two samplers with the same dash differ in lightness.
LOOKS = {
    "rns": ("#000000", "solid"),
    "dns": ("#0072B2", "dashed"),
    "ahns": ("#D55E00", "dash-dot"),
    "ssm": ("#009E73", "dotted"),
    "mixgcf": ("#CC79A7", "dash-dot-dot"),
    "dens": ("#E69F00", "long"),
    "dns_mn": ("#56B4E9", "solid"),
    "cuco": ("#B8A800", "dashed"),
    "ahns_p1": ("#882255", "dash-dot"),
    "pns": ("#888888", "long"),
    "softmax": ("#44AA99", "long-dot"),
    "dins": ("#332288", "long"),
    "ans": ("#999933", "short"),
    "dns_mn_sum": ("#88CCEE", "short"),
    "aobpr": ("#661100", "dashed"),
    "sdns": ("#DDAA77", "dash-dot"),
    "hard_bpr": ("#004488", "dotted"),
    "srns": ("#225522", "dash-dot-dot"),
    "gdns": ("#CCBB44", "dash-dot-dot"),
    "enmf": ("#005566", "short"),
    "irgan": ("#444400", "long-dot"),
    "advir": ("#BBCC33", "long-dot"),
    "rns_as": ("#667788", "short"),
    "irgan_minimax": ("#AA4499", "dotted"),
    "hapens": ("#9933DD", "solid"),
    "worst_case": ("#6A7A10", "long-dot"),
    "bns": ("#53D466", "dotted"),
    "var_bpr": ("#B91526", "long"),
    "in_batch": ("#1B24C4", "solid"),
    "mixed": ("#B94851", "dash-dot-dot"),
    "dcans": ("#510DE6", "dashed"),
    "stabcf": ("#337254", "dash-dot"),
    "divns": ("#F70282", "solid"),
}
NEAR = 40  # two colours nearer than this in RGB look alike in a thin line
MARKERS = "os^DvXP<>*"  # of several settings of one sampler
DARKEST = 0.8  # how far to black the last of them is


def look(sampler: str) -> tuple[str, Dash]:
    """Return a sampler's colour and matplotlib dash.

    A sampler without an entry in `LOOKS` gets both from a hash of its name: the same ones in every
    picture and on every machine, and none that `LOOKS` or `DASHES` holds.
    """
    if sampler in LOOKS:
        colour, dash = LOOKS[sampler]
        return colour, DASHES[dash]
    for attempt in count():
        digest = hashlib.sha256(f"{sampler}/{attempt}".encode(errors="surrogatepass")).digest()
        hue, lightness, saturation = (byte / 255 for byte in digest[:3])
        rgb = colorsys.hls_to_rgb(hue, 0.22 + 0.16 * lightness, 0.4 + 0.6 * saturation)
        colour = "#" + "".join(f"{round(255 * part):02X}" for part in rgb)
        if min(_distance(colour, known) for known, _ in LOOKS.values()) > NEAR:
            break
    return colour, (0, (3.0 + digest[3] % 8, 1.5, 0.5 + digest[4] % 3, 1.5, 2.5, 1.5))


def colour(sampler: str) -> str:
    """Return a sampler's colour."""
    return look(sampler)[0]


def line(sampler: str, setting: int = 0, of: int = 1) -> dict[str, Any]:
    """Return matplotlib's keywords for a sampler's line.

    Where a sampler has several settings (`of`), each is darker than the one before and has a
    marker of its own.
    """
    tone, dash = look(sampler)
    keywords = {"color": tone, "linestyle": dash, "linewidth": 1.4}
    if of == 1:
        return keywords
    share = 1 - DARKEST * setting / (of - 1)
    dark = "#" + "".join(f"{round(share * channel):02X}" for channel in _channels(tone))
    marker = {"marker": MARKERS[setting % len(MARKERS)], "markersize": 4.5, "markevery": 0.12}
    return keywords | marker | {"color": dark, "linewidth": 1}


def _channels(colour: str) -> list[int]:
    return [int(colour[k : k + 2], 16) for k in (1, 3, 5)]


def _distance(colour: str, other: str) -> float:
    return math.dist(_channels(colour), _channels(other))
