"""How samplers look in every picture: one colour and one dash each, distinct to the colour-blind and in grey."""

from __future__ import annotations

from typing import Any

COLOURS = {  # Okabe and Ito's eight, then Paul Tol's muted ones
    "rns": "#000000",
    "dns": "#0072B2",
    "ahns": "#D55E00",
    "ssm": "#009E73",
    "mixgcf": "#CC79A7",
    "dens": "#E69F00",
    "dns_mn": "#56B4E9",
    "cuco": "#B8A800",
    "ahns_p1": "#882255",
    "pns": "#888888",
    "softmax": "#44AA99",
    "dins": "#332288",
    "ans": "#999933",
    "dns_mn_sum": "#88CCEE",
}
DASHES = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2))]
SPARE = "#555555"


def line(sampler: str) -> dict[str, Any]:
    """Give the keywords by which matplotlib draws a sampler's line."""
    place = list(COLOURS).index(sampler) if sampler in COLOURS else len(COLOURS)
    return {"color": COLOURS.get(sampler, SPARE), "linestyle": DASHES[place % len(DASHES)], "linewidth": 1.4}
