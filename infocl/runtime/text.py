"""Numbers and names as people read them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


def percent(share: float) -> str:
    """A share in 0..1 with one decimal, such as "81.4 %"."""
    return f"{100 * share:.1f} %"


def interval(bounds: tuple[float, float]) -> str:
    """A 95 % interval of shares, such as "79.3 to 83.3 %"."""
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number of things, such as "7 targets" or "1 target"; `plural` where an s does not make it."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def named(names: Sequence[str], most: int = 10, separator: str = ", ") -> str:
    """Names in a row, such as "a, b, c and 7 more"."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def near(given: object, names: Sequence[str], otherwise: str, most: int = 1) -> str:
    """The question that names what is close to `given`; `otherwise` when nothing is."""
    close = difflib.get_close_matches(str(given), names, n=most, cutoff=0.6)
    if not close:
        return otherwise
    return f"did you mean {' or '.join([', '.join(close[:-1]), close[-1]] if close[1:] else close)}?"


def file_size(size: int) -> str:
    """A number of bytes in the unit that suits it, such as "2.8 MB" (1 MB = 10^6 bytes)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
