"""Where decoded images are kept, and locks for what one process prepares and the others wait for."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/firstlight``, else ``~/.cache/firstlight``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "firstlight").expanduser()


@contextlib.contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Wait for a lock file and hold it: the runs of a study prepare their data at the same moment.

    The kernel frees the lock when the process dies. The file stays, as removing it would let two processes hold two
    files of one name.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def download_lock(root: str) -> Path:
    """The lock file of downloads into a folder; it lies elsewhere, so that a failure leaves nothing in the folder."""
    return cache_folder() / f"download-{hashlib.sha256(str(Path(root).resolve()).encode()).hexdigest()[:16]}.lock"
