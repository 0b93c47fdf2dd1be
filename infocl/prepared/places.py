"""Where shards lie: a folder, whose files are read in place, or a bucket, whose files go through a cache."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from infocl.runtime.errors import UserError
from infocl.runtime.files import replacing
from infocl.runtime.paths import SHARDS

BUCKET = "s3://"
TRIES, CONNECT_SECONDS = 5, 10  # until a server counts as out of reach; the engine's own limit is 1,000 tries
NOT_THERE = ("404", "NoSuchKey", "NoSuchBucket")
REFUSED = ("401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken")


class Location(Protocol):
    """A folder or a bucket."""

    url: str

    def fetch(self, name: str, *, anew: bool = False) -> Path:
        """The file `name` on this machine; `anew` asks the bucket even where the cache has it.

        Raises:
            UserError: it is not there, or the place cannot be reached.
        """

    def discard(self, name: str) -> bool:
        """Remove this machine's copy, if `name` is one."""


def location_of(url: str) -> Location:
    """The place that a folder's path or `s3://bucket/prefix` names."""
    return Bucket(url) if url.startswith(BUCKET) else Folder(url)


class Folder:
    """A folder of this machine, or one that it mounts."""

    def __init__(self, url: str) -> None:
        self.url, self._path = url, Path(url)

    def fetch(self, name: str, *, anew: bool = False) -> Path:
        """The file `name`, where it lies."""
        if not (self._path / name).is_file():
            raise _missing(f"{self._path / name}")
        return self._path / name

    def discard(self, name: str) -> bool:
        """Nothing: the files are no copies."""
        return False


class Bucket:
    """A prefix of a bucket of S3, or of a server that speaks it, read by LitData's downloader.

    Credentials, region and the server's address come from the environment and files that all AWS tools
    read (`AWS_ENDPOINT_URL` names another server).

    Args:
        url: `s3://bucket/prefix`.

    Raises:
        UserError: LitData is not installed.
    """

    def __init__(self, url: str) -> None:
        if find_spec("litdata") is None:
            raise UserError(f"{url} needs litdata, which is not installed: pip install 'infocl[shards]'")
        self.url = url.rstrip("/")
        self.cache = SHARDS / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._downloader: Any = None

    def fetch(self, name: str, *, anew: bool = False) -> Path:
        """A copy of the file `name`, downloaded by one process of this machine."""
        from filelock import FileLock

        file = self.cache / name
        self.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self.cache / f"{name}.lock"):
            if anew or not file.is_file():
                with (
                    reached(f"{self.url}/{name}"),
                    replacing(file) as temporary,
                    temporary.open("wb") as stream,
                ):
                    self._connected().download_fileobj(f"{self.url}/{name}", stream)
        return file

    def _connected(self) -> Any:
        from litdata.streaming.downloader import get_downloader

        if self._downloader is None:
            self._downloader = get_downloader(self.url, str(self.cache), [], {"config": _patience()})
        return self._downloader

    def discard(self, name: str) -> bool:
        """Remove the copy of `name`; those who have it mapped keep it."""
        (self.cache / name).unlink(missing_ok=True)
        return True

    def put(self, file: Path, name: str) -> None:
        """Upload a file."""
        with reached(f"{self.url}/{name}"):
            self._client().upload_file(str(file), *self._address(name))

    def remove(self, name: str) -> None:
        """Delete an object; none there is fine."""
        with reached(f"{self.url}/{name}"):
            bucket, key = self._address(name)
            self._client().delete_object(Bucket=bucket, Key=key)

    def _client(self) -> Any:
        import boto3

        return boto3.client("s3", config=_patience())

    def _address(self, name: str) -> tuple[str, str]:
        bucket, _, prefix = self.url.removeprefix(BUCKET).partition("/")
        return bucket, f"{prefix}/{name}".lstrip("/")


def _patience() -> Any:
    from botocore.config import Config

    return Config(retries={"mode": "standard", "total_max_attempts": TRIES}, connect_timeout=CONNECT_SECONDS)


@contextmanager
def reached(url: str) -> Iterator[None]:
    """Log in one line why an object cannot be reached.

    Raises:
        UserError: it is not there, not allowed, or the server does not answer.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in NOT_THERE:
            raise _missing(url) from None
        if code in REFUSED:
            raise UserError(
                f"{url} is refused ({code}); check the AWS credentials and their rights"
            ) from None
        raise _unreachable(url, error) from None
    except (BotoCoreError, Boto3Error) as error:
        raise _unreachable(url, error) from None


def _missing(where: str) -> UserError:
    return UserError(f"{where} is not there; write the shards with `infocl shard`, or correct train.shards")


def _unreachable(url: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(
        f"{url} cannot be reached ({reason}); check the network, AWS_ENDPOINT_URL and credentials"
    )
