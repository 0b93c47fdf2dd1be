"""`infocl versions`: all versions of the encoder as a table and as a page, from git tags and files alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from dvc.api import DVCFileSystem
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from rich.table import Table
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from infocl.config.titles import method
from infocl.results.card import CARD_FILE, Measured, TaskScore, parse_measured
from infocl.runtime.console import Output
from infocl.runtime.errors import UserError
from infocl.runtime.files import parse_json, write_text
from infocl.runtime.mappings import changed_values
from infocl.runtime.paths import DETAILS, EXPORT
from infocl.runtime.text import file_size, interval, percent
from pipelines import service
from pipelines.commands import CommandError
from pipelines.registry import Registry, Version, export_md5, read_registry
from pipelines.repository import git

PAGE = Path("exports/reports/versions.html")
PIPED_WIDTH = 160  # columns, where the output is no terminal
LANE = 15  # px of height for each version in a picture
NOT_OF_RESULTS = ("gate.", "train.device", "train.checkpoint_minutes", "data.root", "transfer.root")


@dataclass(frozen=True)
class Entry:
    """A version and what is known of it; None where neither git nor DVC has it any more.

    `changes` are the params that differ from those of the version before.
    """

    version: Version
    state: str
    made: str
    about: dict[str, Any] | None
    measured: Measured | None
    images_per_second: float | None
    train_images: int | None
    data_sha256: str | None
    changes: list[str]

    @property
    def mean(self) -> tuple[float, tuple[float, float]] | None:
        """Mean accuracy of the targets, and its interval."""
        if self.about is None:
            return None
        metrics = self.about["metrics"]
        try:
            low, high = map(float, metrics["mean_transfer_accuracy_ci95"])
            return float(metrics["mean_transfer_accuracy"]), (low, high)
        except (KeyError, TypeError, ValueError):  # of an export in another format
            return None

    @property
    def method(self) -> str:
        """How it was trained."""
        names = ("objective", "regularizer", "reg_weight")
        return method(*(self.about[name] for name in names)) if self.about else ""


def read_entries(registry: Registry) -> list[Entry]:
    """All versions, the newest first; the cards come from DVC's cache or remote."""
    entries, before = list[Entry](), dict[str, Any]()
    for version in registry.versions:
        params = _yaml_at(version.commit, "params.yaml")
        entries.insert(0, _entry(version, registry, params, before))
        before = params
    return entries


def _entry(
    version: Version, registry: Registry, params: Mapping[str, Any], before: Mapping[str, Any]
) -> Entry:
    store = DVCFileSystem(".", rev=version.commit)
    about, measured = _read(store, EXPORT / CARD_FILE), None
    if about is not None:
        try:
            measured = parse_measured(about, Path(version.name, CARD_FILE))
        except UserError:
            about = None
    speed = (_read(store, DETAILS / "export.json") or {}).get("onnxruntime_images_per_second")
    images = (_read(store, Path("metrics/prepare.json")) or {}).get("train_images")
    changes = [line for line in changed_values(before, params) if not line.startswith(NOT_OF_RESULTS)]
    return Entry(
        version,
        _state(version, registry),
        git("show", "--no-patch", "--format=%cs", version.commit),
        about,
        measured,
        speed if isinstance(speed, float | int) else None,
        images if isinstance(images, int) else None,
        about.get("data_sha256") if about else None,
        changes if before else ["the first version"],
    )


def _state(version: Version, registry: Registry) -> str:
    if version == registry.in_service:
        return "in service"
    if version == registry.staged:
        return "in staging"
    if version.name in registry.rolled_back:
        return "rolled back"
    return "was in service" if version in registry.served else "registered"


def _read(store: DVCFileSystem, path: Path) -> dict[str, Any] | None:
    """A JSON object of a commit, tracked by git or DVC; None where it is not to be had."""
    try:
        value = parse_json(store.read_bytes(path.as_posix()))
    except Exception:  # a cache without it and a remote that is away fail in many ways
        return None
    return value if isinstance(value, dict) else None


def _yaml_at(commit: str, path: str) -> dict[str, Any]:
    try:
        value = YAML(typ="safe").load(git("show", f"{commit}:{path}"))
    except (CommandError, YAMLError):
        return {}
    return value if isinstance(value, dict) else {}


def decisions(registry: Registry) -> list[dict[str, str]]:
    """All decisions of the journal, the newest first: date, decision, version or candidate, and why."""
    made = {export_md5(version.commit): version.name for version in registry.versions}
    return [
        {
            "at": str(line.get("at", ""))[:16].replace("T", " "),
            "decision": str(line.get("decision", "")),
            "what": str(line.get("version") or made.get(line.get("candidate")) or _short(line)),
            "why": str(line.get("reason", "")),
            "by": str(line.get("by", "")),
        }
        for line in reversed(list(service.journal()))
    ]


def _short(line: Mapping[str, Any]) -> str:
    return f"candidate {str(line.get('candidate', ''))[:7]}"


@dataclass(frozen=True)
class Picture:
    """A task with a lane for each version that has it: height in px, version, in service, accuracy."""

    task: str
    lanes: list[tuple[int, str, bool, TaskScore]]

    @property
    def height(self) -> int:
        """Of the picture in px."""
        return LANE * (len(self.lanes) + 1)


def pictures(entries: list[Entry]) -> Iterator[Picture]:
    """The source task and each target, versions from the newest down."""
    tasks: dict[str, list[tuple[str, bool, TaskScore]]] = {}
    for entry in entries:
        if entry.measured is None or entry.about is None:
            continue
        metrics = entry.measured.metrics
        source = {f"{entry.about['data']} (source)": metrics.source} if metrics.source else {}
        for task, row in (source | metrics.transfer).items():
            tasks.setdefault(task, []).append((entry.version.name, entry.state == "in service", row))
    for task, rows in tasks.items():
        yield Picture(task, [(LANE * number, *row) for number, row in enumerate(rows, start=1)])


def write_page(path: Path = PAGE) -> list[Entry]:
    """Write the page; returns its versions.

    Raises:
        UserError: there are neither versions nor decisions.
    """
    registry = read_registry()
    entries, made = read_entries(registry), decisions(registry)
    if not entries and not made:
        raise UserError("there is no version of the encoder yet; `infocl retrain` makes one")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": interval, "size": file_size}
    page = environment.get_template("versions.html").render(
        style=Markup(files("infocl.report").joinpath("style.css").read_text(encoding="utf-8")),
        entries=entries,
        decisions=made,
        pictures=list(pictures(entries)),
        now=registry.in_service,
    )
    write_text(path, page)
    return entries


def print_versions() -> None:
    """Write the page and print its table."""
    entries = write_page()
    table = Table(box=None, pad_edge=False, header_style="")
    for column in ("version", "state", "made", "mean", "95 %", "source", "size", "images/s", "changed"):
        table.add_column(column, no_wrap=column != "changed")
    for entry in entries:
        source = entry.measured.metrics.source if entry.measured else None
        mean = entry.mean
        table.add_row(
            entry.version.name,
            entry.state,
            entry.made,
            percent(mean[0]) if mean else "-",
            interval(mean[1]) if mean else "-",
            source.shown if source else "-",
            file_size(entry.about["bytes"]) if entry.about and "bytes" in entry.about else "-",
            f"{entry.images_per_second:,.0f}" if entry.images_per_second else "-",
            "; ".join(entry.changes[:3]) + ("; ..." if len(entry.changes) > 3 else ""),
        )
    output = Output(PIPED_WIDTH)
    output.print(table)
    for line in decisions(read_registry()):
        if line["decision"] in ("refused", "failed"):
            output.print(f"{line['at']}  {line['decision']}: {line['what']}: {line['why']}")
    output.print(f"Open {PAGE} in a browser for every task and every decision.")
