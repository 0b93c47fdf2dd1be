"""The git remote of a clone: what may name it, what is read from it, and how a version is published there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from infocl.runtime.errors import UserError
from pipelines.commands import CommandError
from pipelines.registry import NAME, tags_here
from pipelines.repository import branch, git

URL = re.compile(r"(?!-)(?:(?:https?|ssh|git|file)://[^-]|[\w.-]+@[\w.]|\.{0,2}/)[^\x00-\x1f\x7f]+")
TAGS = tuple(f"refs/tags/{NAME}{mark}*" for mark in "@#")
REJECTED = re.compile(r"! \[(?:remote )?rejected\]\s+\S+ -> \S+ \((.+)\)")


def require_names(track: str | None, remote: str | None) -> None:
    """Refuse a branch or a remote that git would take for something else, such as an option.

    Raises:
        UserError: so it is.
    """
    if track is not None and not _is_branch(track):
        raise UserError(f"track is {track!r}, but must be a branch such as main or origin/main")
    if remote is not None and not _is_remote(remote):
        raise UserError(
            f"git_remote is {remote!r}, but must be a git remote of this clone "
            f"({', '.join(git('remote').split()) or 'it has none; add one with git remote add'}) "
            "or a URL such as https://example.org/project.git"
        )


def _is_branch(name: str) -> bool:
    try:
        git("check-ref-format", f"refs/heads/{name}")
    except (CommandError, ValueError):  # ValueError: a NUL cannot be handed to a program
        return False
    return not name.startswith("-")


def _is_remote(name: str) -> bool:
    # `helper::address` would start the program git-remote-helper.
    return name in git("remote").splitlines() or bool(URL.fullmatch(name) and "::" not in name)


def tags_there(remote: str) -> dict[str, str]:
    """The encoder's tags on a remote, and the objects that they name.

    Raises:
        CommandError: the remote does not answer.
    """
    listed = git("ls-remote", "--refs", "--", remote, *TAGS)
    return {ref.removeprefix("refs/tags/"): name for name, ref in map(str.split, listed.splitlines())}


def take_tags(remote: str) -> None:
    """Take over which versions the remote says there are, and which is in service.

    Raises:
        UserError: a tag names one object here and another there.
        CommandError: the remote does not answer.
    """
    there, here = tags_there(remote), tags_here()
    if different := sorted(tag for tag in here if here[tag] != there.get(tag, here[tag])):
        raise UserError(
            f"{', '.join(different)}: not the same here and on {remote}; find out which is right and remove "
            f"the other (here: git tag -d TAG; there: git push {remote} --delete TAG), then run again"
        )
    if new := [f"refs/tags/{tag}:refs/tags/{tag}" for tag in there if tag not in here]:
        git("fetch", "--quiet", "--no-tags", "--", remote, *new)


def require_merged(remote: str) -> None:
    """Refuse to begin what could not be pushed in the end, because others pushed to this branch.

    Raises:
        UserError: the remote's branch has commits that are not merged here.
        CommandError: the remote does not answer.
    """
    tip = git("ls-remote", "--", remote, f"refs/heads/{branch()}").split()
    if not tip:
        return
    try:
        git("merge-base", "--is-ancestor", tip[0], "HEAD")
    except CommandError:
        raise UserError(
            f"{branch()} on {remote} has commits that this clone lacks, so that no version could be "
            f"published; {_merge_hint(remote)}"
        ) from None


def if_it_answers(remote: str, work: Callable[[str], None], log: Callable[[str], object]) -> None:
    """Do this with a remote, or go on without it."""
    try:
        work(remote)
    except CommandError as error:
        log(f"The git remote {remote} does not answer ({error}); the run goes on without it.")


def publish(remote: str, tags: Mapping[str, str], *, with_branch: bool = True) -> None:
    """Push tags and the current branch; the remote takes all of it or nothing.

    Args:
        remote: a name or URL that `require_names` let pass.
        tags: names, and the objects that they are to name.
        with_branch: the branch as well.

    Raises:
        CommandError: the remote refuses, or does not answer.
    """
    refs = [f"{name}:refs/tags/{tag}" for tag, name in tags.items()]
    heads = [f"HEAD:refs/heads/{branch()}"] if with_branch else []
    try:
        git("push", "--quiet", "--atomic", "--", remote, *heads, *refs)
    except CommandError as error:
        rejected = REJECTED.findall(error.output)
        if not rejected:
            message = f"pushing to the git remote {remote} failed ({error}), so that nothing was published"
            raise CommandError(
                f"{message}; the next run tries again without training", 1, error.retryable
            ) from None
        # All are atomic failures where another push came between git's look at the remote and its own.
        why = sorted({reason for reason in rejected if "atomic" not in reason}) or ["it changed meanwhile"]
        raise CommandError(
            f"the git remote {remote} refused the version ({', '.join(why)}), so that nothing was "
            f"published; if others published first, {_merge_hint(remote)}",
            1,
            False,
        ) from None


def _merge_hint(remote: str) -> str:
    return f"merge their commits (--track {remote}/{branch()}, or git pull) and run again"
