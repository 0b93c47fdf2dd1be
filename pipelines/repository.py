"""Git: what a run makes becomes a commit, and what others committed becomes the next run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from infocl.errors import UserError
from pipelines.commands import CommandError, output_of

RESULTS = ("dvc.lock", "params.yaml", "metrics")  # what a reproduction writes into git
NOBODY = ("-c", "user.name=InfoCL", "-c", "user.email=infocl@localhost")


def git(*arguments: str) -> str:
    """Run git in this folder; its output without the last line break.

    Raises:
        CommandError: git failed; `passing` where a connection was the reason.
    """
    return output_of(["git", *arguments])


def head() -> str:
    """The commit that is checked out."""
    return git("rev-parse", "HEAD")


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
    paths = [path for path in (*RESULTS, *more) if Path(path).exists()]
    if not git("status", "--porcelain", "--", *paths):
        return None
    git("add", "--", *paths)
    git(*_author(), "commit", "--quiet", "--no-verify", "-m", message, "--", *paths)
    return head()


def _author() -> tuple[str, ...]:
    """A name for commits where the machine has none."""
    try:
        git("config", "user.email")
    except CommandError:
        return NOBODY
    return ()


def newest(upstream: str) -> str:
    """The newest commit of a tracked branch: `main` of this clone, or `origin/main` of a remote.

    Raises:
        CommandError: there is no such branch, or its remote does not answer.
    """
    remote, branch = split_upstream(upstream)
    if remote is None:
        return git("rev-parse", "--verify", f"refs/heads/{branch}")
    listed = git("ls-remote", "--exit-code", remote, f"refs/heads/{branch}")
    return listed.split()[0]


def split_upstream(upstream: str) -> tuple[str | None, str]:
    """Remote, or None, and branch of a name such as origin/main."""
    first, _, rest = upstream.partition("/")
    return (first, rest) if rest and first in git("remote").splitlines() else (None, upstream)


def bring_in(upstream: str) -> bool:
    """Merge the newest commit of a tracked branch into this work tree.

    Results of runs that both sides committed are taken from the other side: what of them does not fit
    the merged code and params is made again.

    Returns:
        Whether there was anything new.

    Raises:
        CommandError: the remote does not answer, or a person has to merge.
    """
    remote, branch = split_upstream(upstream)
    if remote is not None:
        git("fetch", "--quiet", remote, f"+refs/heads/{branch}:refs/remotes/{remote}/{branch}")
    target = git("rev-parse", "--verify", f"{upstream}^{{commit}}")
    if git("merge-base", "HEAD", target) == target:
        return False
    if Path(git("rev-parse", "--git-path", "MERGE_HEAD")).exists():
        raise CommandError("a merge is unfinished here; finish it, or git merge --abort", 2, False)
    try:
        git(*_author(), "merge", "--quiet", "--no-edit", "-X", "theirs", target)
    except CommandError as error:
        if Path(git("rev-parse", "--git-path", "MERGE_HEAD")).exists():
            git("merge", "--abort")
        raise CommandError(f"{upstream} cannot be merged ({error}); merge it by hand", 2, False) from None
    return True


def publish(remote: str, tags: Sequence[str]) -> None:
    """Push the current branch and the named tags.

    Raises:
        CommandError: the remote does not answer or refuses.
    """
    git("push", "--quiet", remote, "HEAD", *(f"refs/tags/{tag}" for tag in tags))
