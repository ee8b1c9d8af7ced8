"""How samplers look in every picture: one colour and one dash each, told apart by dash and lightness where there is no colour."""

from __future__ import annotations

from typing import Any

DASHES = {
    "solid": "-",
    "dashed": "--",
    "dash-dot": "-.",
    "dotted": ":",
    "dash-dot-dot": (0, (5, 1, 1, 1, 1, 1)),
    "long": (0, (8, 2)),
    "short": (0, (2, 1)),
    "long-dot": (0, (8, 1.5, 1, 1.5)),
}
LOOKS = {  # the first eight colours are Okabe and Ito's; two samplers with one dash differ in lightness
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
}
SPARE = ("#555555", "solid")
MARKERS = "os^DvXP<>*"  # of several settings of one sampler
DARKEST = 0.8  # how far to black the last of them is


def colour(sampler: str) -> str:
    """Give a sampler's colour."""
    return LOOKS.get(sampler, SPARE)[0]


def line(sampler: str, setting: int = 0, of: int = 1) -> dict[str, Any]:
    """Give the keywords by which matplotlib draws a sampler's line.

    The one after the other `of` several settings of it are darker than the one before, and have markers.
    """
    own, dash = LOOKS.get(sampler, SPARE)
    look = {"color": own, "linestyle": DASHES[dash], "linewidth": 1.4}
    if of == 1:
        return look
    share = 1 - DARKEST * setting / (of - 1)
    dark = "#" + "".join(f"{round(share * int(own[k : k + 2], 16)):02X}" for k in (1, 3, 5))
    marker = {"marker": MARKERS[setting % len(MARKERS)], "markersize": 4.5, "markevery": 0.12}
    return look | marker | {"color": dark, "linewidth": 1}
