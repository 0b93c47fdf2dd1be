"""Names of objectives and regularisers as people write them."""

from __future__ import annotations

TITLES = {
    "simclr": "SimCLR",
    "byol": "BYOL",
    "barlow_twins": "Barlow Twins",
    "supervised": "Supervised",
    "vicreg": "VICReg",
    "simsiam": "SimSiam",
    "mocov3": "MoCo v3",
    "dcl": "DCL",
    "noise": "noise only",
    "rc": "RC",
    "lbe": "LBE",
    "ip": "IP",
    "mib": "MIB",
    "mixed": "mixed samples",
    "mveb": "MVEB entropy",
}
WITHOUT_TERM = ("none", "noise")  # their weight says nothing


def method(objective: str, regularizer: str, weight: float) -> str:
    """How the encoder was trained, such as "SimCLR + LBE (λ = 1)"."""
    name = TITLES.get(objective, objective)
    if regularizer == "none":
        return f"{name} without regulariser"
    added = f"{name} + {TITLES.get(regularizer, regularizer)}"
    return added if regularizer in WITHOUT_TERM else f"{added} (λ = {weight:g})"
