"""Git: what a run makes becomes a commit, and what others committed becomes the next run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from infocl.runtime.errors import UserError
from infocl.runtime.text import named
from pipelines.commands import CommandError, output_of

MADE = ("dvc.lock", "metrics")  # what a reproduction makes
RESULTS = (*MADE, "params.yaml")  # and what it commits, because it belongs together
OURS = "Retrain: "  # how the commits of our own runs begin
NOBODY = ("InfoCL", "infocl@localhost")  # name and address for commits and tags where the machine has none


def git(*arguments: str, given: str = "") -> str:
    """Run git in this folder, `given` on its standard input; its output without the last line break.

    Raises:
        CommandError: git failed; `retryable` where a connection was the reason.
    """
    return output_of(["git", *arguments], given)


def head() -> str:
    """The commit that is checked out."""
    return git("rev-parse", "HEAD")


def known(commit: str) -> bool:
    """Whether this clone has a commit."""
    try:
        git("cat-file", "-e", f"{commit}^{{commit}}")
    except CommandError:
        return False
    return True


def uncommitted() -> str:
    """Files that differ from the last commit, in words; empty where none does."""
    lines = git("status", "--porcelain", "--untracked-files=no").splitlines()
    return named([line[3:] for line in lines])


def branch() -> str:
    """The branch that is checked out.

    Raises:
        UserError: there is none.
    """
    try:
        return git("symbolic-ref", "--quiet", "--short", "HEAD")
    except CommandError:
        raise UserError(
            "HEAD is detached, so that results would be on no branch; check one out first (git switch BRANCH)"
        ) from None


def require_repository() -> None:
    """Refuse a folder that is not the root of a clone.

    Raises:
        UserError: it is not, or it has no commit.
    """
    if not Path("dvc.yaml").is_file() or not Path(".dvc").is_dir():
        raise UserError("this is not the project's root folder (no dvc.yaml and .dvc here); go there")
    try:
        head()
    except (CommandError, FileNotFoundError):
        raise UserError(
            "retraining needs git and a commit to start from; clone the project with git"
        ) from None


def commit_results(message: str, more: Sequence[str] = ()) -> str | None:
    """Commit what a reproduction wrote, and nothing else of the work tree.

    Returns:
        The new commit; None when there was nothing to commit.
    """
    paths = [path for path in (*RESULTS, *more) if Path(path).exists() or git("ls-files", "--", path)]
    if not git("status", "--porcelain", "--", *paths):
        return None
    git("add", "--", *paths)
    git(*author(), "commit", "--quiet", "--no-verify", "-m", message, "--", *paths)
    return head()


def author() -> tuple[str, ...]:
    """A name for commits where git knows none on this machine."""
    name, email = NOBODY
    try:
        git("config", "user.email")
    except CommandError:
        return "-c", f"user.name={name}", "-c", f"user.email={email}"
    return ()


def newest(upstream: str) -> str:
    """The newest commit of a tracked branch: `main` of this clone, or `origin/main` of a remote.

    Raises:
        CommandError: there is no such branch, or its remote does not answer.
    """
    remote, branch = split_upstream(upstream)
    if remote is None:
        return git("rev-parse", "--verify", f"refs/heads/{branch}")
    listed = git("ls-remote", "--", remote, f"refs/heads/{branch}").split()
    if not listed:
        raise CommandError(f"the git remote {remote} has no branch {branch}", 2, False)
    return listed[0]


def split_upstream(upstream: str) -> tuple[str | None, str]:
    """Remote, or None, and branch of a name such as origin/main."""
    first, _, rest = upstream.partition("/")
    return (first, rest) if rest and first in git("remote").splitlines() else (None, upstream)


def fetch(upstream: str) -> None:
    """Download a tracked branch of a remote.

    Raises:
        CommandError: the remote does not answer, or has no such branch.
    """
    remote, branch = split_upstream(upstream)
    if remote is not None:
        git("fetch", "--quiet", "--", remote, f"+refs/heads/{branch}:refs/remotes/{remote}/{branch}")


def bring_in(upstream: str) -> bool:
    """Merge the newest commit of a tracked branch into this work tree.

    Results of runs that both sides committed are taken from the other side as a whole: what of them does
    not fit the merged code and params is made again. The same holds for results that a run left uncommitted.

    Returns:
        Whether there was anything new.

    Raises:
        CommandError: the remote does not answer, or a person has to merge.
    """
    target = newest(upstream)
    fetch(upstream)
    base = git("merge-base", "HEAD", target)
    if base == target:
        return False
    if Path(git("rev-parse", "--git-path", "MERGE_HEAD")).exists():
        raise CommandError("a merge is unfinished here; finish it, or git merge --abort", 2, False)
    try:
        with _uncommitted_set_aside(base, target):
            if base == head():
                git("merge", "--quiet", "--ff-only", target)
            else:
                _merge(upstream, target, [path for path in MADE if _both_changed(path, base, target)])
    except CommandError as error:
        raise CommandError(f"{upstream} cannot be merged ({error}); merge it by hand", 2, False) from None
    return True


@contextmanager
def _uncommitted_set_aside(base: str, target: str) -> Iterator[None]:
    """Drop uncommitted results in files that the other side changed, too; keep them if the block fails.

    A run that was cancelled, failed or was killed leaves them, and git merges nothing over them.
    """
    git("reset", "--quiet", "--", *MADE)
    theirs = git("diff", "--name-only", "--no-renames", "-z", base, target, "--", *MADE).split("\0")
    status = git("status", "--porcelain", "--no-renames", "--untracked-files=all", "-z", "--", *MADE)
    dirty = [line[3:] for line in status.split("\0") if line and line[3:] in theirs]
    if not dirty:
        yield
        return
    git(*author(), "stash", "push", "--quiet", "--include-untracked", "--", *dirty)
    try:
        yield
    except BaseException:
        git("stash", "pop", "--quiet")
        raise
    git("stash", "drop", "--quiet")


def _both_changed(path: str, base: str, target: str) -> bool:
    return all(git("diff", "--name-only", base, side, "--", path) for side in ("HEAD", target))


def _merge(upstream: str, target: str, theirs: Sequence[str]) -> None:
    """Merge a commit, some paths as they are there; a conflict elsewhere leaves everything as it was."""
    try:
        git(*author(), "merge", "--quiet", "--no-commit", "--no-ff", target)
    except CommandError:
        if not Path(git("rev-parse", "--git-path", "MERGE_HEAD")).exists():
            raise
    try:
        for path in theirs:
            git("rm", "-r", "--force", "--quiet", "--ignore-unmatch", "--", path)
            if git("ls-tree", target, "--", path):
                git("checkout", "--quiet", target, "--", path)
        if conflicts := git("diff", "--name-only", "--diff-filter=U"):
            raise CommandError(f"both sides changed {', '.join(conflicts.splitlines())}", 1, False)
        git(*author(), "commit", "--quiet", "--no-verify", "-m", f"{OURS}merge of {upstream}")
    except BaseException:  # a cancelled run, too
        git("merge", "--abort")
        raise
