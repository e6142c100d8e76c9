"""Addresses in object stores, such as ``s3://bucket/folder``, as paths.

What takes a ``Path`` takes an ``ObjectPath`` too, so a run's folder may be an address. There are no
folders in an object store: one "exists" as long as an object's name begins with it. An object is
written by one request, so it is there whole or not at all, and nothing need be renamed.

``obstore`` moves the bytes, signs and repeats requests. It is imported when the first object is.
Credentials come from the environment or the machine's role alone; see ``docs/howto``.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path, PosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

#: Kinds of addresses: Amazon's S3 and what speaks like it, and Google's store.
SCHEMES = ("s3", "gs")

Result = TypeVar("Result")

#: Tells one state of an object from every other.
Tag = dict[str, str]

_ADDRESS = re.compile(rf"({'|'.join(SCHEMES)}):/+(?=[^/])")
#: Bytes from which an object is sent in parts; it appears when all of them are there.
_IN_PARTS = 64 << 20
_PART = 16 << 20
#: A request that fails otherwise than by a refusal is sent again, after pauses that double.
_PATIENT: Any = {"max_retries": 8, "retry_timeout": timedelta(seconds=180)}
_IMPATIENT: Any = {"max_retries": 4, "retry_timeout": timedelta(seconds=5)}
_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0)
_NO_BUCKET = "NoSuchBucket"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")


def is_address(text: object) -> bool:
    """Whether a text or path is an address in an object store."""
    return isinstance(text, ObjectPath) or _ADDRESS.match(str(text)) is not None


def path_of(text: str | Path) -> Path:
    """A path on this machine's disks, or an ``ObjectPath`` where the text is an address."""
    return ObjectPath(text) if is_address(text) else Path(text)


class ObjectPath(PosixPath):
    """A place in an object store: an object, or the beginning of objects' names.

    Its first part is the kind of address (``s3:``), the second the bucket. Every operation on files
    that has no meaning here raises ``TypeError``, since the path is not one of this machine.
    """

    def __str__(self) -> str:
        if self._is_relative:
            return "/".join(self.parts) or "."
        return f"{self.parts[0]}//{'/'.join(self.parts[1:])}"

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is an address of an object, not a file on this machine")

    def __rtruediv__(self, _: object) -> ObjectPath:
        return self  # as an absolute path, it starts anew

    @property
    def _is_relative(self) -> bool:
        return len(self.parts) < 2 or self.parts[0].removesuffix(":") not in SCHEMES

    @property
    def bucket(self) -> str:
        """The address of the bucket."""
        return f"{self.parts[0]}//{self.parts[1]}"

    @property
    def key(self) -> str:
        """The name in the bucket; empty for the bucket itself."""
        return "/".join(self.parts[2:])

    @property
    def _below(self) -> str:
        return f"{self.key}/" if self.key else ""

    def as_uri(self) -> str:
        """The address."""
        return str(self)

    def is_absolute(self) -> bool:
        """An address always is."""
        return not self._is_relative

    def absolute(self) -> ObjectPath:
        """The address itself."""
        return self

    def resolve(self, strict: bool = False) -> ObjectPath:
        """The address itself: there are no links."""
        del strict
        return self

    def expanduser(self) -> ObjectPath:
        """The address itself."""
        return self

    def is_symlink(self) -> bool:
        """There are no links."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size and time of an object; its ``st_ino`` is made of the tag that changes with it."""
        del follow_symlinks
        import obstore

        with as_system_errors(self):
            if not self.key:
                raise FileNotFoundError
            found = obstore.head(opened_bucket(self), self.key)
        tag = hashlib.sha256(f"{found['e_tag']} {found['version']}".encode()).digest()
        seconds = found["last_modified"].timestamp()
        nanoseconds = int(seconds * 10**9)
        whole = (stat.S_IFREG | 0o600, int.from_bytes(tag[:8]), 0, 1, 0, 0, found["size"])
        times = dict.fromkeys(("st_atime_ns", "st_mtime_ns", "st_ctime_ns"), nanoseconds)
        return os.stat_result((*whole, seconds, seconds, seconds), times)

    def lstat(self) -> os.stat_result:
        """As ``stat``."""
        return self.stat()

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        """Whether an object's name begins with this one and a slash."""
        import obstore

        with as_system_errors(self):
            pages = obstore.list(opened_bucket(self), self._below, chunk_size=1)
            return any(map(len, pages))

    def exists(self) -> bool:
        """Whether it is an object or the beginning of one's name."""
        return self.is_file() or self.is_dir()

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a folder is there as soon as something is in it."""

    def open(self, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """The object, read into memory; there is no opening to write, see ``files.whole``."""
        del args, kwargs  # how a file is buffered and encoded
        if mode not in ("r", "rb"):
            raise io.UnsupportedOperation(f"{self} is an object, which is written at once")
        content = io.BytesIO(self.read_bytes())
        return content if mode == "rb" else io.TextIOWrapper(content, encoding="utf-8")

    def read_bytes(self) -> bytes:
        """The object's content."""
        import obstore

        with as_system_errors(self):
            return bytes(obstore.get(opened_bucket(self), self.key).bytes())

    def read_range(self, start: int, length: int) -> bytes:
        """Bytes of the object from ``start`` on; fewer, or none, at its end."""
        import obstore

        with as_system_errors(self):
            return bytes(
                obstore.get_range(opened_bucket(self), self.key, start=start, length=length)
            )

    def read_last(self, length: int) -> bytes:
        """The last bytes of the object, or all of it if it is shorter."""
        import obstore

        with as_system_errors(self):
            part: Any = {"range": {"suffix": length}}
            return bytes(obstore.get(opened_bucket(self), self.key, options=part).bytes())

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """The object's content as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def write_bytes(self, data: Any) -> int:
        """Write the object, whole or not at all."""
        import obstore

        content = bytes(data)
        with as_system_errors(self):
            obstore.put(
                opened_bucket(self),
                self.key,
                content,
                use_multipart=len(content) > _IN_PARTS,
                chunk_size=_PART,
            )
        return len(content)

    def write_text(
        self,
        data: str,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> int:
        """Write a text as the object."""
        del newline
        return self.write_bytes(data.encode(encoding or "utf-8", errors or "strict"))

    def write_if(self, data: bytes, tag: Tag | None) -> Tag | None:
        """Write the object only if it is as it was, and return its new tag; else None.

        Parameters
        ----------
        tag
            that the object must have; None if there must be no object yet.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError

        with as_system_errors(self):
            try:
                condition: Any = "create" if tag is None else tag
                put = obstore.put(opened_bucket(self), self.key, data, mode=condition)
            except (AlreadyExistsError, PreconditionError):
                return None
            except NotFoundError:
                if tag is None:
                    raise
                return None
        return _tag_of(put)

    def read_tagged(self) -> tuple[bytes, Tag, float]:
        """Content, tag, and time of the last change in seconds since 1970 by the store's clock."""
        import obstore

        with as_system_errors(self):
            got = obstore.get(opened_bucket(self), self.key)
            content, found = bytes(got.bytes()), got.meta
        return content, _tag_of(found), found["last_modified"].timestamp()

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object; there need not be one, since S3 does not say whether there was."""
        del missing_ok
        self.remove_all([self])

    def remove_all(self, objects: list[ObjectPath]) -> None:
        """Remove objects of this bucket, many by one request; missing ones do not matter."""
        import obstore

        keys, bucket = [one.key for one in objects], opened_bucket(self)

        def request() -> None:
            with as_system_errors(self):
                try:
                    obstore.delete(bucket, keys)
                except FileNotFoundError as error:
                    if _NO_BUCKET in str(error):
                        raise
                    # Google's store refuses what is not there, and the others may be left.
                    for key in keys:
                        with suppress(FileNotFoundError):
                            obstore.delete(bucket, key)

        if keys:
            repeated(request)

    def copy_to(self, other: ObjectPath) -> None:
        """Copy the object inside its store, in place of another."""
        import obstore

        with as_system_errors(self):
            obstore.copy(opened_bucket(self), self.key, other.key)

    def iterdir(self) -> Generator[ObjectPath, None, None]:
        """The objects and folders directly below."""
        import obstore

        with as_system_errors(self):
            found = obstore.list_with_delimiter(opened_bucket(self), self._below)
        # A console makes a folder by an empty object of its name.
        names = [*found["common_prefixes"], *(one["path"] for one in found["objects"])]
        for name in dict.fromkeys(name.rstrip("/") for name in names):
            if name != self.key:
                yield self / name.rpartition("/")[2]

    def folders_below(self) -> list[str]:
        """Names of the folders directly below."""
        import obstore

        with as_system_errors(self):
            found = obstore.list_with_delimiter(opened_bucket(self), self._below)
        return [name.rstrip("/").rpartition("/")[2] for name in found["common_prefixes"]]

    def glob(self, pattern: str, **_: Any) -> Generator[ObjectPath, None, None]:
        """Objects and folders directly below whose name matches a pattern without slashes."""
        yield from (one for one in self.iterdir() if one.match(pattern))

    def rglob(self, pattern: str, **_: Any) -> Generator[ObjectPath, None, None]:
        """Objects at any depth whose name matches a pattern without slashes."""
        yield from (one for one, _ in self.walked() if one.match(pattern))

    def walked(self) -> Iterator[tuple[ObjectPath, int]]:
        """Every object at any depth below, with its size."""
        import obstore

        with as_system_errors(self):
            for page in obstore.list(opened_bucket(self), self._below):
                for one in page:
                    if one["path"] != self.key:  # as in ``iterdir``
                        yield self / one["path"][len(self._below) :], one["size"]

    def check_readable(self) -> None:
        """Raise within seconds why the object cannot be read: it, or its store, is not there.

        Raises
        ------
        OSError
            Naming the address.
        """
        import obstore

        with as_system_errors(self):
            try:
                obstore.head(_opened(self.bucket, patient=False), self.key)
            except FileNotFoundError:
                # The answer has no content, which would say that there is no bucket.
                with suppress(PermissionError):
                    self.answers()
                raise

    def answers(self) -> None:
        """Raise within seconds what the store refuses: no bucket, no credentials, no answer.

        Raises
        ------
        OSError
            Naming the address.
        """
        import obstore

        with as_system_errors(self):
            obstore.list_with_delimiter(_opened(self.bucket, patient=False), self._below)


def _tag_of(written: Mapping[str, Any]) -> Tag:
    """What a write on condition is held against: S3 takes the tag, Google's store the version."""
    return {name: written[name] for name in ("e_tag", "version") if written.get(name)}


def opened_bucket(path: ObjectPath) -> Any:
    """The bucket of a path as ``obstore`` opens it; one for each process."""
    return _opened(path.bucket)


def repeated(request: Callable[[], Result]) -> Result:
    """What a request gives, sent again if no answer comes.

    obstore sends again by itself what is refused for a while, and what may safely be sent twice;
    removals and writes on a condition it counts as neither.

    Raises
    ------
    OSError
        Of the last attempt.
    """
    for pause in _PAUSES:
        try:
            return request()
        except (FileNotFoundError, PermissionError):
            raise
        except OSError:
            time.sleep(pause)
    return request()


def forget_buckets() -> None:
    """Open buckets anew, since the environment that names their credentials has changed."""
    _opened.cache_clear()


@lru_cache(maxsize=16)
def _opened(bucket: str, patient: bool = True) -> Any:
    from obstore.store import from_url

    options: Any = {"connect_timeout": "3s", "timeout": "120s" if patient else "4s"}
    endpoint = next(filter(None, map(os.environ.get, _ENDPOINTS)), "")
    if bucket.startswith("s3:") and urlsplit(endpoint).hostname in _LOOPBACK:
        options["allow_http"] = True  # of a server on this machine
    given: Any = {"endpoint": endpoint} if bucket.startswith("s3:") and endpoint else {}
    return from_url(
        bucket, client_options=options, retry_config=_PATIENT if patient else _IMPATIENT, **given
    )


@contextmanager
def as_system_errors(path: ObjectPath) -> Iterator[None]:
    """Raise what an object store refuses as the system raises it for a file."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError as error:
        if _NO_BUCKET in str(error):
            raise OSError(errno.ENXIO, _cause(error), path.bucket) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise PermissionError(errno.EACCES, f"refused: {_cause(error)}", str(path)) from None
    except BaseError as error:
        raise OSError(errno.EIO, _cause(error), str(path)) from None


def _cause(error: Exception) -> str:
    """What happened, in one line without queries of addresses, which may hold signatures."""
    text = re.sub(r"\?[^\s)]*", "", str(error).partition("Debug source")[0])
    if "169.254." in text or "metadata.google" in text:
        return "no credentials: the environment names none, and the machine has no role"
    if _NO_BUCKET in text:
        return "there is no such bucket"
    if code := re.search(r"<Code>(\w+)</Code>", text):
        return f"the store answers {code[1]}"
    if failed := re.search(r"(\w+://[^/\s]+)/\S* in .*? - (.*)", text, re.DOTALL):
        text = f"{failed[1]}: {failed[2]}"
    return re.sub(r"\s+", " ", text).strip()[:200]
