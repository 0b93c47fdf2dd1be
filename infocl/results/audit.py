"""What the stage audit found out, in figures and words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from infocl.config.titles import regularizer_title
from infocl.results.comparison import Figure
from infocl.results.reading import Metrics, parse_details, read_details, rows_of

Word = Literal["kept", "forgotten", "brought back"]
WORDS: tuple[Word, ...] = ("kept", "forgotten", "brought back")
KINDS = ("raw", "untrained", "plain", "regularised")


class AuditedFactor(Metrics):
    """One change of the image: R2 by reader, with 95 % intervals by the same names; None was not asked."""

    raw: float
    untrained: float | None
    plain: float | None
    regularised: float | None
    difference: float | None
    ci95: dict[str, tuple[float, float]]
    verdict: Word | None

    @property
    def figures(self) -> Iterator[Figure]:
        """What was asked, in the order of `KINDS`; `accuracy` is R2."""
        for kind in KINDS:
            value = getattr(self, kind)
            if value is not None:
                yield Figure(kind, value, self.ci95[kind])

    @property
    def seen(self) -> bool:
        """Whether anything that was asked can tell the change at all: its interval is above 0."""
        return any(figure.ci95[0] > 0 for figure in self.figures)


class AuditResult(Metrics):
    """All factors by name, none where `audit.factors` is empty."""

    regularizer: str
    train_images: int
    test_images: int
    factors: dict[str, AuditedFactor]

    @property
    def kinds(self) -> list[str]:
        """What was asked, in order; the same for all factors."""
        return [figure.kind for row in list(self.factors.values())[:1] for figure in row.figures]

    def with_word(self, word: Word) -> list[str]:
        """Names of the factors that have this word."""
        return [name for name, row in self.factors.items() if row.verdict == word]

    def sentence(self, factor: str) -> str:
        """What the figures of a factor allow to say."""
        row, name = self.factors[factor], factor.capitalize()
        if not row.seen:
            return f"{name} cannot be told from these images by any of the readers."
        if row.verdict is None:
            return f"{name}: the intervals allow no word."
        others = f"raw pixels {row.raw:.2f}, untrained {row.untrained or 0.0:.2f}"
        told = f"by plain training ({row.plain or 0.0:.2f}; {others})"
        if row.verdict != "brought back":
            return f"{name} was {row.verdict} {told}."
        low, high = row.ci95["difference"]
        gap = f"difference {row.difference or 0.0:.2f}, 95 % interval {low:.2f} to {high:.2f}"
        by = regularizer_title(self.regularizer)
        return f"{name} was forgotten {told} and brought back by {by} ({row.regularised or 0.0:.2f}; {gap})."

    def sentences(self) -> list[str]:
        """One line for each word that a factor has."""
        by = {"brought back": f"by {regularizer_title(self.regularizer)}"}
        return [
            f"{word.capitalize()} {by.get(word, 'by plain training')}: {', '.join(names)}."
            for word in WORDS
            if (names := self.with_word(word))
        ]


def read_audit() -> AuditResult:
    """The result of the stage audit.

    Raises:
        UserError: metrics/details/audit.json is missing, corrupt or incomplete.
    """
    raw = read_details("audit")
    return parse_details(AuditResult, raw | {"factors": rows_of(raw)}, "audit")
