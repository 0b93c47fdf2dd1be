"""The watch: looks at data, params, branches and imports, and asks for one run per settled change."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import TypeVar

from infocl.config.file import PARAMS_FILE, load_params
from infocl.runtime.errors import UserError, one_line
from infocl.runtime.files import read_json, write_json
from infocl.runtime.lock import BusyError, holder
from infocl.runtime.paths import raw_folder
from pipelines.repository import OURS, fetch, git, known, newest
from pipelines.service import SERVICE, digest
from pipelines.sources import outdated_imports
from pipelines.unfinished import killed_run

SEEN = SERVICE / "watch.json"
SECONDS = 10.0  # between two looks; a change starts a run after the second look that finds it the same
IMPORTS, HERE = "imported data", "the checked-out branch"
SLOWEST = 0.2  # share of the time that looking may take

State = dict[str, str]
R = TypeVar("R")
Ask = Callable[[str, str], object]


class Watch:
    """What was seen last lies on disk, so that changes made while nobody watched are found at the start.

    Each start looks anew whether there is anything to do: what a watch before it asked for may have been lost
    with its process.

    Args:
        track: a branch of another clone, such as origin/main; None: only this work tree.
        idle: whether a run would find nothing to do in this work tree; raises BusyError where that cannot
            be told now.
        ask: asks for a run; takes what changed, in words, and a key that is the same for the same change,
            whoever sees it.
        log: takes lines for people.
    """

    def __init__(
        self, track: str | None, idle: Callable[[], bool], ask: Ask, log: Callable[[str], object]
    ) -> None:
        self.track = track
        self._branch = f"the branch {track}"
        self.idle = idle
        self.ask = ask
        self.log = log
        self._pending: State | None = None
        self._roots: list[Path] = []
        self._complaints: dict[str, str] = {}
        self._start: str | None = uuid.uuid4().hex

    def run(self, stop: Event) -> None:
        """Look again and again until told to stop."""
        while not stop.is_set():
            start = time.monotonic()
            self._outlive("this work tree or the server", self.look)
            stop.wait(max(SECONDS, (time.monotonic() - start) / SLOWEST))

    def look(self) -> None:
        """Look once; ask for a run when a change was already there, just so, at the look before.

        While somebody works here nothing is judged: what a run itself changes is no reason for the next.
        """
        if holder() is not None:
            return
        if killed := killed_run():
            self.ask("a killed run goes on", digest({"after": killed}))
        seen = self._seen()
        now = self._state(seen)
        if now == seen and self._start is None:
            self._pending = None
        elif now != self._pending:
            self._pending = now
        else:
            with suppress(BusyError):  # another watch looks at the same moment; the next look tells
                self._judge(now, seen)

    def _judge(self, now: State, seen: State | None) -> None:
        changed = sorted(name for name in now if now[name] != (seen or {}).get(name))
        what = f"{' and '.join(changed)} changed" if seen is not None and changed else "first look"
        self._pending = None
        if not changed and self._start is None:  # a source is gone, or its news has been taken in
            write_json(SEEN, now)
            return
        if not {self._branch, IMPORTS} & set(changed) and self.idle():
            message = f"{what}, and no stage has anything to do."
        else:
            change = {"from": digest(seen or {}), "to": digest(now), "at": self._start or ""}
            self.ask(what, digest(change))
            message = f"{what}: a run was asked for."
        write_json(SEEN, now)
        self._start = None
        self.log(f"Watch: {message}")

    def _state(self, seen: State | None) -> State:
        state = {PARAMS_FILE.name: _file(PARAMS_FILE)}
        for root in self._data_roots():
            state[f"data in {root}"] = folder_state(root)
        state |= self._elsewhere(IMPORTS, _imports, seen)
        if (track := self.track) is None:
            state[HERE] = _newest_of_others("HEAD")
        else:
            state |= self._elsewhere(self._branch, lambda: _branches(track), seen, HERE)
        return state

    def _elsewhere(self, what: str, look: Callable[[], State], seen: State | None, *more: str) -> State:
        """The state of a source on other machines; what was seen last while it does not answer."""
        found = self._outlive(what, look)
        if found is not None:
            return found
        return {name: seen[name] for name in (what, *more) if seen and name in seen}

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

    def _outlive(self, what: str, look: Callable[[], R]) -> R | None:
        """Go on when servers, remotes and disks come and go; each problem is said once."""
        try:
            found = look()
        except Exception as error:
            message = one_line(error)
            if self._complaints.get(what) != message:
                self.log(f"The watch of {what} goes on after a problem: {message}")
            self._complaints[what] = message
            return None
        self._complaints.pop(what, None)
        return found


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
    if not known(tip):
        fetch(track)
    return {
        f"the branch {track}": _newest_of_others(tip),
        HERE: _newest_of_others("HEAD", f"^{tip}"),
    }


def _newest_of_others(*revisions: str) -> str:
    return git("log", "-1", "--format=%H", "--invert-grep", f"--grep=^{OURS}", *revisions, "--")


def _imports() -> State:
    outdated = outdated_imports()
    return {IMPORTS: " ".join(outdated)} if outdated else {}
