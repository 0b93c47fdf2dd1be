"""Versions of the encoder as git tags that GTO reads: which there are, which is in service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gto.constants import Action
from gto.tag import parse_name
from gto.versions import SemVer
from ruamel.yaml import YAML

from pipelines.commands import CommandError
from pipelines.repository import author, git

NAME = "encoder"  # of the artifact in dvc.yaml
STAGE, STAGING = "production", "staging"  # GTO's names for "in service" and "waits for approval"
FIRST = "v1.0.0"
ROLLED_BACK = "Rolled back from "  # how the tag of a rollback begins; the version that it took out follows
FORCED = "Forced: "  # how the tag begins of a version that a person put in service against the gate


@dataclass(frozen=True)
class Version:
    """A registered encoder: its name such as v1.2.0, and the commit that made it."""

    name: str
    commit: str

    @property
    def number(self) -> SemVer:
        """For comparison."""
        return SemVer(self.name)

    @property
    def tag(self) -> str:
        """The git tag."""
        return f"{NAME}@{self.name}"


@dataclass(frozen=True)
class Registry:
    """All versions, oldest first, and those that were put in service, in that order.

    The order of the latter is that of GTO's counters, not of clocks. `rolled_back` names those that a
    rollback took out of service and that were not put there again; `staged` waits for approval. What is in
    `served` before the index `since` is no measure for new ones any more: another was then put in service
    against the gate.
    """

    versions: list[Version]
    served: list[Version]
    rolled_back: frozenset[str] = frozenset()
    staged: Version | None = None
    since: int = 0

    @property
    def in_service(self) -> Version | None:
        """The version in service."""
        return self.served[-1] if self.served else None

    def find(self, name: str) -> Version | None:
        """A version by its name, with or without the v."""
        return next(
            (version for version in self.versions if version.name.lstrip("v") == name.lstrip("v")), None
        )

    def made_by(self, export: str) -> Version | None:
        """The version whose commit names this hash of exports/encoder."""
        return next((version for version in self.versions if export_md5(version.commit) == export), None)

    def withdrawn(self, export: str) -> Version | None:
        """The version of an export that was in service until a rollback put an older one there."""
        taken_out = [version for version in self.versions if version.name in self.rolled_back]
        return next((version for version in taken_out if export_md5(version.commit) == export), None)

    def before(self) -> Version | None:
        """The newest version older than the one in service that was in service once."""
        now = self.in_service
        older = [version for version in self.served if now and version.number < now.number]
        return max(older, key=lambda version: version.number, default=None)

    def rivals(self) -> list[Version]:
        """Versions that were in service and still are a measure for new ones, without the one in service."""
        passed = dict.fromkeys(self.served[self.since :])
        return [
            version
            for version in passed
            if version != self.in_service and version.name not in self.rolled_back
        ]

    def next_name(self, change: str) -> str:
        """The name of the next version; `change` is major, minor or patch."""
        if not self.versions:
            return FIRST
        newest = max(version.number for version in self.versions)
        return str(getattr(newest, f"bump_{change}")().version)


def read_registry() -> Registry:
    """Read the tags of this clone."""
    fields = "%(refname:short)%09%(*objectname)%09%(objectname)%09%(contents:subject)"
    listed = git("tag", "--list", f"{NAME}[@#]*", f"--format={fields}")
    versions: dict[str, Version] = {}
    removed, assigned = set(), list[tuple[int, str, str, str]]()
    for line in listed.splitlines():
        tag, target, own, message = line.split("\t", 3)
        commit = target or own  # a tag without a message is the commit itself
        parsed = parse_name(tag, raise_on_fail=False)
        if not parsed:
            continue
        action = parsed["action"]
        if action == Action.REGISTER:
            versions[commit] = Version(parsed["version"], commit)
        elif action == Action.DEREGISTER:
            removed.add(parsed["version"])
        elif action == Action.ASSIGN and parsed["stage"] in (STAGE, STAGING):
            assigned.append((int(parsed["counter"]), commit, parsed["stage"], message))
        elif action == Action.UNASSIGN and parsed["stage"] == STAGING:
            assigned.append((int(parsed["counter"]), commit, "", message))
    for commit in [commit for commit, version in versions.items() if version.name in removed]:
        del versions[commit]
    served, rolled_back, staged, since = list[Version](), set[str](), None, 0
    forced = {commit for _, commit, _, message in assigned if message.startswith(FORCED)}
    for _, commit, stage, message in sorted(assigned):
        if stage == STAGING:
            staged = versions.get(commit)
            continue
        if staged is not None and commit == staged.commit:
            staged = None
        if stage != STAGE:
            continue
        if commit in forced:
            since = len(served)
        if message.startswith(ROLLED_BACK):
            rolled_back.add(message.removeprefix(ROLLED_BACK))
        if commit in versions:
            served.append(versions[commit])
            rolled_back.discard(versions[commit].name)
    in_order = sorted(versions.values(), key=lambda version: version.number)
    return Registry(in_order, served, frozenset(rolled_back), staged, since)


def export_md5(revision: str | None = None) -> str | None:
    """DVC's hash of exports/encoder in `dvc.lock`, of this work tree or of a commit."""
    try:
        text = git("show", f"{revision}:dvc.lock") if revision else _lock_text()
        outs = YAML(typ="safe").load(text)["stages"]["export"]["outs"]
        return str(outs[0]["md5"])
    except (CommandError, OSError, KeyError, TypeError, IndexError):
        return None


def _lock_text() -> str:
    return Path("dvc.lock").read_text(encoding="utf-8")


def draft(version: Version, message: str, stage: str = STAGE) -> dict[str, str]:
    """Write the tags that put a version in a stage, as objects that no ref names before `adopt`.

    GTO's own functions would show the tags in this clone before they are published. GTO orders by the dates
    of tags, so each is dated after all others: a clock that was set back would put old versions in service.

    Returns:
        Tags, and the objects that they are to name.
    """
    ident, now, _ = git(*author(), "var", "GIT_COMMITTER_IDENT").rsplit(" ", 2)
    date = max(int(now), 1 + max(map(int, _tags("%(creatordate:unix)").values()), default=0))
    known = tags_here()
    counters = [
        int(parsed["counter"]) for tag in known if (parsed := parse_name(tag, False)) and "counter" in parsed
    ]
    names = [version.tag, f"{NAME}#{stage}#{1 + max(counters, default=0)}"]
    about = f"object {version.commit}\ntype commit\ntag {{}}\ntagger {ident} {date} +0000\n\n"
    return {
        name: git("mktag", given=about.format(name) + message + "\n") for name in names if name not in known
    }


def adopt(tags: Mapping[str, str]) -> None:
    """Let this clone know tags, all of them at once."""
    git(
        "update-ref",
        "--stdin",
        given="".join(f"update refs/tags/{tag} {name}\n" for tag, name in tags.items()),
    )


def tags_here() -> dict[str, str]:
    """The encoder's tags in this clone, and the objects that they name."""
    return _tags("%(objectname)")


def tags_of(version: Version) -> dict[str, str]:
    """The tags that a consumer needs to see in which stages this version is and was."""
    tags = _tags("%(objectname)", "--points-at", version.commit)
    return {tag: name for tag, name in tags.items() if tag == version.tag or tag.startswith(f"{NAME}#")}


def _tags(field: str, *options: str) -> dict[str, str]:
    listed = git("tag", "--list", *options, f"--format=%(refname:strip=2) {field}", f"{NAME}[@#]*")
    return dict(line.split() for line in listed.splitlines())
