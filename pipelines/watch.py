"""The watch: looks at data, params, branches and imports, and asks for one run per settled change."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from threading import Event

from infocl.errors import InfoCLError, UserError
from infocl.files import read_json, write_json
from infocl.layout import raw_folder
from infocl.params_file import PARAMS_FILE, load_params
from pipelines.repository import OURS, fetch, git, newest
from pipelines.service import SERVICE
from pipelines.sources import outdated_imports

SEEN = SERVICE / "watch.json"
SECONDS = 10.0  # between two looks; a change starts a run after the second look that finds it the same
SLOWEST = 0.2  # share of the time that looking may take

State = dict[str, str]
Ask = Callable[[str, str], object]


class Watch:
    """What was seen last lies on disk, so that changes made while nobody watched are found at the start.

    Args:
        track: a branch of another clone, such as origin/main; None: only this work tree.
        ask: asks for a run; takes what changed, in words, and a key that is the same for the same change,
            whoever sees it.
        say: takes lines for people.
    """

    def __init__(self, track: str | None, ask: Ask, say: Callable[[str], object]) -> None:
        self.track = track
        self.ask = ask
        self.say = say
        self._pending: State | None = None
        self._roots: list[Path] = []
        self._complaint = ""

    def run(self, stop: Event) -> None:
        """Look again and again until told to stop."""
        while not stop.is_set():
            start = time.monotonic()
            try:
                self.look()
                self._complaint = ""
            except Exception as error:  # a watch outlives servers, remotes and disks that come and go
                self._complain(" ".join(str(error).split()) or type(error).__name__)
            stop.wait(max(SECONDS, (time.monotonic() - start) / SLOWEST))

    def look(self) -> None:
        """Look once; ask for a run when a change was already there, just so, at the look before."""
        now, seen = self._state(), self._seen()
        if now == seen:
            self._pending = None
        elif now != self._pending:
            self._pending = now
        else:
            changed = sorted(
                name for name in now.keys() | (seen or {}) if now.get(name) != (seen or {}).get(name)
            )
            what = "first look" if seen is None else f"{' and '.join(changed)} changed"
            self.ask(what, _digest({"from": _digest(seen or {}), "to": _digest(now)}))
            write_json(SEEN, now)
            self._pending = None
            self.say(f"{what[0].upper()}{what[1:]}: a run was asked for.")

    def _state(self) -> State:
        state = {PARAMS_FILE.name: _file(PARAMS_FILE)}
        for root in self._data_roots():
            state[f"data in {root}"] = folder_state(root)
        if self.track is None:
            state["the checked-out branch"] = _newest_of_others("HEAD")
        else:
            state |= _branches(self.track)
        if imports := outdated_imports():
            state["imported data"] = _digest({"imports": " ".join(imports)})
        return state

    def _data_roots(self) -> list[Path]:
        """Folders of raw data; while params.yaml is broken, those it named before."""
        try:
            params = load_params()
        except UserError:
            return self._roots
        self._roots = sorted({raw_folder(params.data.root), raw_folder(params.transfer.root)})
        return self._roots

    @staticmethod
    def _seen() -> State | None:
        try:
            return {name: str(value) for name, value in read_json(SEEN, "").items()}
        except UserError:
            return None

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            self.say(f"The watch goes on after a problem: {what}")
        self._complaint = what


def folder_state(root: Path) -> str:
    """A name for the files below a folder: changes when one is added, removed, renamed or written."""
    digest, count = hashlib.sha256(), 0
    for path, size, changed in _files(root):
        digest.update(f"{path}\0{size}\0{changed}\n".encode(errors="surrogateescape"))
        count += 1
    return f"{count} files, {digest.hexdigest()[:16]}"


def _files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[str, int, int]]:
    real = folder.resolve()
    if real in above:
        return  # a link to a folder that it lies in
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir():
            yield from _files(Path(entry.path), (*above, real))
        else:
            try:
                about = entry.stat()
            except FileNotFoundError:
                continue
            yield entry.path, about.st_size, about.st_mtime_ns


def _file(path: Path) -> str:
    try:
        return f"{hashlib.sha256(path.read_bytes()).hexdigest()[:16]} of {path.stat().st_mtime_ns}"
    except FileNotFoundError:
        return "missing"


def _branches(track: str) -> State:
    """The newest commits that people made: on the tracked branch, and here beside it.

    A merge moves none of the two, so that a run that merged is not followed by another.
    """
    tip = newest(track)
    if not _known(tip):
        fetch(track)
    return {
        f"the branch {track}": _newest_of_others(tip),
        "the checked-out branch": _newest_of_others("HEAD", f"^{tip}"),
    }


def _newest_of_others(*revisions: str) -> str:
    return git("log", "-1", "--format=%H", "--invert-grep", f"--grep=^{OURS}", *revisions, "--")


def _known(commit: str) -> bool:
    try:
        git("cat-file", "-e", f"{commit}^{{commit}}")
    except InfoCLError:
        return False
    return True


def _digest(value: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
