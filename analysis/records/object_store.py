"""Studies in an object store (``s3://bucket/prefix``), read and written through pyarrow; requests that fail are tried again.

Credentials come from the environment variables (or the machine's role) that every S3 client reads. No address, file or message of
this program holds them. ``AWS_ENDPOINT_URL`` names a server that is not Amazon's.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from analysis.records.errors import StudyError
from analysis.records.segments import SEGMENT_NAME

SCHEME = "s3://"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 20.0
"""Seconds that one request may take to connect, and to be answered."""
_PATIENCE_SECONDS = 120.0
"""Seconds for which a request that fails is tried again, the client's own retries included."""
_LONGEST_PAUSE_SECONDS = 10.0
"""Longest pause between two tries; pauses double from 0.2 s."""
_PERMANENT_ERRORS = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|INVALID_CLIENT_TOKEN|"
    r"InvalidBucketName|EXPIRED_TOKEN|ExpiredToken|HTTP status 403|HTTP status 301"
)
"""Words in pyarrow's messages that stand for errors which trying again cannot mend."""
_SETTLED_SECONDS = 60.0
"""Age from which size and time identify an object's content. Times have whole seconds: a younger object may be replaced by one of
the same size and time."""
_TRANSFERS = 8
"""Number of objects that are copied at a time."""
_LISTINGS = 5
"""Number of times that a tree is listed. A running study may replace segments by a compacted one between listing and reading."""

Result = TypeVar("Result")


class StoreUnreachable(OSError):
    """The object store did not answer, however often it was asked."""


@dataclass(frozen=True)
class StoredObject:
    """Size and time of an object, from a listing."""

    size: int
    """Size in bytes."""
    time_ns: int
    """Time of writing in nanoseconds since 1970, by the store's clock; most stores count whole seconds."""


def is_remote(location: str | Path) -> bool:
    """Whether a location is an address of an object store and not a path."""
    return isinstance(location, str) and location.startswith(SCHEME)


def join_location(root: str | Path, name: str) -> str | Path:
    """Location of a name below a root, which is a folder or an address of an object store."""
    if isinstance(root, str) and is_remote(root):
        return f"{root.rstrip('/')}/{name}"
    return Path(root) / name


def local_copy(url: str, purpose: str) -> Path:
    """Folder on this machine's disk for files of an address; below ``$WBC_STUDY_CACHE`` or ``~/.cache/wbc-study``.

    Args:
        url: Address of a run directory or of a data set.
        purpose: Name of the purpose of the copy; two purposes never share a folder.
    """
    cache = Path(os.environ.get("WBC_STUDY_CACHE") or "~/.cache/wbc-study").expanduser().absolute()
    key = hashlib.sha256(f"{os.environ.get('AWS_ENDPOINT_URL', '')} {url.rstrip('/')}".encode()).hexdigest()[:16]
    return cache / purpose / key / url.rstrip("/").rpartition("/")[2]


class ObjectStore:
    """The objects below one address; keys are relative to it.

    It connects when it is first used, and pickling passes the address only. Every operation is tried again for two minutes where
    the store fails, answers too late or cuts the connection. An object is there completely or not at all.
    """

    def __init__(self, url: str, patience: float = _PATIENCE_SECONDS):
        """Remember the address.

        Args:
            url: ``s3://bucket/prefix``.
            patience: Seconds for which an operation is tried again.

        Raises:
            StudyError: The address has another form.
        """
        bucket, _, prefix = url.removeprefix(SCHEME).partition("/")
        parts = prefix.strip("/").split("/") if prefix.strip("/") else []
        if not url.startswith(SCHEME) or not _BUCKET.fullmatch(bucket) or {"", ".", ".."} & set(parts) or "?" in url:
            # An address that may hold a key is not shown.
            shown = "an address with @ or ?" if set("@?") & set(url) else repr(url)
            raise StudyError(
                f"found {shown}, expected s3://bucket/prefix. Credentials and the endpoint of another server than Amazon's belong"
                " into AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
            )
        self.url = SCHEME + "/".join([bucket, *parts])
        self._patience = patience

    def __reduce__(self) -> tuple[type[ObjectStore], tuple[str, float]]:
        return (ObjectStore, (self.url, self._patience))

    @cached_property
    def _files(self) -> Any:
        from pyarrow import fs

        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        if region is None:
            bucket = self.url.removeprefix(SCHEME).partition("/")[0]
            region = "us-east-1" if endpoint else self._patiently(lambda: fs.resolve_s3_region(bucket), bucket)
        return fs.S3FileSystem(
            region=region,
            endpoint_override=endpoint,
            connect_timeout=_CONNECT_SECONDS,
            request_timeout=_ANSWER_SECONDS,
            # One request writes one object, which is then there completely or not at all.
            allow_delayed_open=True,
            background_writes=False,
        )

    def _path(self, key: str) -> str:
        return f"{self.url.removeprefix(SCHEME)}/{key}".rstrip("/")

    def _patiently(self, operation: Callable[[], Result], what: str) -> Result:
        """Try an operation until it succeeds, cannot succeed, or patience has run out."""
        deadline, pause = time.monotonic() + self._patience, 0.2
        while True:
            try:
                return operation()
            except FileNotFoundError:
                raise
            except OSError as error:
                if _PERMANENT_ERRORS.search(str(error)):
                    raise StudyError(
                        f"{self.url}: {what} was refused ({error}). Check the address, and the permissions of the credentials in"
                        " this environment (AWS_ACCESS_KEY_ID or the machine's role)"
                    ) from error
                if time.monotonic() + pause > deadline:
                    raise StoreUnreachable(
                        f"{self.url}: {what} failed for {self._patience:.0f} s, at last with: {error}"
                    ) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def read(self, key: str) -> bytes:
        """Content of an object.

        Raises:
            FileNotFoundError: There is no such object.
        """

        def get() -> bytes:
            with self._files.open_input_stream(self._path(key)) as stream:
                return bytes(stream.read())

        return self._patiently(get, f"reading {key}")

    def write(self, key: str, content: bytes) -> None:
        """Write or replace an object; it is durable when this returns."""

        def put() -> None:
            with self._files.open_output_stream(self._path(key)) as stream:
                stream.write(content)

        self._patiently(put, f"writing {key}")

    def upload(self, key: str, file: Path) -> None:
        """Write or replace an object by a file's content."""
        self.write(key, file.read_bytes())

    def download(self, key: str, file: Path, found: StoredObject | None = None) -> None:
        """Write an object's content to a file, which is there completely or not at all.

        Args:
            key: Key of the object.
            file: The file, which is replaced where it exists; missing parent folders are made.
            found: The object's entry in a listing. The file gets its time when size and time identify the content.

        Raises:
            FileNotFoundError: There is no such object.
        """
        content = self.read(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f".{file.name}.{uuid4().hex}")
        try:
            temporary.write_bytes(content)
            moment = 0
            if (
                found is not None
                and len(content) == found.size
                and time.time() - found.time_ns / 1e9 > _SETTLED_SECONDS
            ):
                moment = found.time_ns
            os.utime(temporary, ns=(moment, moment))
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)

    def listing(self, prefix: str = "") -> dict[str, StoredObject]:
        """Objects whose keys lie below ``prefix/``, in the order of their keys; all when it is empty.

        Raises:
            StudyError: A key would lead out of a folder.
        """
        from pyarrow import fs

        selector = fs.FileSelector(self._path(prefix), recursive=True, allow_not_found=True)
        infos = self._patiently(lambda: self._files.get_file_info(selector), f"listing {prefix or 'all'}")
        start = len(self._path("")) + 1
        listed = {
            str(info.path)[start:]: StoredObject(int(info.size), int(info.mtime_ns))
            for info in sorted(infos, key=lambda info: str(info.path))
            if info.type == fs.FileType.File
        }
        strange = [key for key in listed if {"", ".", ".."} & set(key.split("/"))]
        if strange:
            # As a path this key would lead out of the folder that it is copied to.
            raise StudyError(f"{self.url}: an object is named {strange[0]!r}, expected names without . and .. in them")
        return listed

    def folders(self) -> list[str]:
        """Names of the folders right below the address."""
        from pyarrow import fs

        selector = fs.FileSelector(self._path(""), recursive=False, allow_not_found=True)
        infos = self._patiently(lambda: self._files.get_file_info(selector), "listing folders")
        return sorted(info.base_name for info in infos if info.type == fs.FileType.Directory)

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects; those that are not there count as deleted."""

        def remove(key: str) -> None:
            with suppress(FileNotFoundError):
                self._patiently(lambda: self._files.delete_file(self._path(key)), f"deleting {key}")

        self._at_once(remove, keys)

    def delete_folder(self, prefix: str = "") -> None:
        """Delete everything below ``prefix/``; all when it is empty."""
        with suppress(FileNotFoundError):
            self._patiently(lambda: self._files.delete_dir(self._path(prefix)), f"deleting {prefix or 'all'}")

    def move_to(self, other: ObjectStore) -> None:
        """Move every object to another address of the same server; all are copied before anything is deleted."""

        def copy(key: str) -> None:
            self._patiently(lambda: self._files.copy_file(self._path(key), other._path(key)), f"copying {key}")

        self._at_once(copy, self.listing())
        self.delete_folder()

    def download_tree(self, folder: Path, leave: Callable[[str], bool] = lambda _: False) -> None:
        """Make a folder equal to the store: missing and changed files are downloaded, others are deleted.

        Args:
            folder: The folder, which is made where it does not exist.
            leave: Whether a key is neither downloaded nor deleted.

        Raises:
            StudyError: Objects vanished while they were read, several times in a row.
        """
        for _ in range(_LISTINGS):
            found = {key: each for key, each in self.listing().items() if not leave(key)}
            there = {
                path.relative_to(folder).as_posix(): path
                for path in (folder.rglob("*") if folder.is_dir() else ())
                if path.is_file()
            }
            for key in there.keys() - found.keys():
                if not leave(key):
                    there[key].unlink(missing_ok=True)
            try:
                self._fetch_changed(folder, found, there)
            except FileNotFoundError:
                continue
            return
        raise StudyError(
            f"{self.url}: objects vanished while they were read, {_LISTINGS} times in a row. The study seems to be moved or"
            " deleted; read it again when that has ended."
        )

    def _fetch_changed(self, folder: Path, found: Mapping[str, StoredObject], there: Mapping[str, Path]) -> None:
        """Download objects whose file is missing or has another size or time; segments of records never change."""

        def current(key: str) -> bool:
            if key not in there:
                return False
            status = there[key].stat()
            same_time = SEGMENT_NAME.fullmatch(there[key].name) is not None or status.st_mtime_ns == found[key].time_ns
            return status.st_size == found[key].size and same_time

        self._at_once(
            lambda key: self.download(key, folder / key, found[key]), [key for key in found if not current(key)]
        )

    def publish(self, folder: Path, prefix: str) -> None:
        """Make the store equal to a folder below ``prefix/``: files are uploaded, other objects are deleted there."""
        below = folder / prefix
        files = {path.relative_to(folder).as_posix(): path for path in sorted(below.rglob("*")) if path.is_file()}
        self._at_once(lambda key: self.upload(key, files[key]), files)
        self.delete([key for key in self.listing(prefix) if key not in files])

    def _at_once(self, action: Callable[[str], None], keys: Collection[str]) -> None:
        """Do something with each key, several at a time."""
        if keys:
            with ThreadPoolExecutor(min(_TRANSFERS, len(keys))) as pool:
                list(pool.map(action, keys))


NEEDED_FOR_TRAINING = ("latents.npy", "latents.json", "weights.safetensors", "checkpoint.safetensors")
"""Files of a run directory that no table, figure or report is made from."""


def pull_study(url: str) -> Path:
    """Copy the files that tables, figures and report of a study are made from to this machine's disk.

    Only files that changed since the last time are copied.

    Returns:
        The folder of the copy, for `analysis.load_study`.

    Raises:
        StudyError: The address is wrong, or access is refused.
        StoreUnreachable: The store does not answer.
    """
    folder = local_copy(url, "read")
    store = ObjectStore(url)
    store.download_tree(
        folder, leave=lambda key: key.startswith(("checkpoints/", ".")) or key.endswith(NEEDED_FOR_TRAINING)
    )
    if not any(folder.rglob("*")):
        shutil.rmtree(folder, ignore_errors=True)
    return folder
