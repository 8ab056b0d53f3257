"""Bags by name: patterns, storage such as s3://, names for their results, and whether those are up to date.

Paths of this machine need nothing else; what has a scheme (s3://, gs://, https://) goes through fsspec.
"""

import contextlib
import glob
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import seg_node
from seg_node.model_card import CARD_NAME, load_card, sha256
from seg_node.sources import BAGS, SourceError

FINISHED = "finished.json"  # lies beside a report that is whole: what it was made of
_CHANGES = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated")  # of a stored file


def expand(patterns: Sequence[str]) -> list[str]:
    """Return the bags that patterns name, each once: ``drives/*.mcap``, ``s3://bucket/2024-*/*.mcap``, or as it is.

    Raises SourceError for a pattern that fits nothing, ImportError where fsspec is missing.
    """
    found: list[str] = []
    for pattern in patterns:
        if glob.has_magic(pattern) and not os.path.exists(pattern):
            matches = _matches(pattern)
            if not matches:
                raise SourceError(f"{pattern}: no bag fits; put it in quotes so that the shell leaves it alone")
            found += matches
        else:
            found.append(pattern)
    return list(dict.fromkeys(found))


def _matches(pattern: str) -> list[str]:
    if "://" not in pattern:
        return sorted(glob.glob(pattern, recursive=True))
    system, path = _storage(pattern)
    return [system.unstrip_protocol(match) for match in sorted(system.glob(path))]


def folder_names(bags: Sequence[str]) -> dict[str, str]:
    """Return a folder's name for each bag: its own; where several have the same, with a part of their path's hash."""
    own = {bag: own_name(bag) for bag in bags}
    often = Counter(own.values())
    return {
        bag: name if often[name] == 1 else f"{name}-{hashlib.sha256(_place(bag).encode()).hexdigest()[:8]}"
        for bag, name in own.items()
    }


def own_name(bag: str) -> str:
    """Return a bag's name without its folder, and without a file's suffix."""
    name = bag.rstrip("/").rpartition("/")[2] if "://" in bag else Path(bag).resolve().name
    stem, suffix = os.path.splitext(name)
    return stem if suffix in BAGS else name


def _place(bag: str) -> str:
    return bag if "://" in bag else str(Path(bag).resolve())


def key_of(settings: Mapping[str, Any], models: Sequence[str], folders: Sequence[str] = ()) -> str:
    """Return a hash of all that results depend on beside the bag: settings, the models' files, this version.

    ``folders``: whose files count as well, such as ground truth. Raises what ``load_card`` raises.
    """
    parts: list[Any] = [seg_node.__version__, dict(settings)]
    for model in models:
        card = load_card(model)
        files = [file.path for _, file in sorted(card.files.items()) if file.path.is_file()]
        parts.append([sha256(path) for path in [card.folder / CARD_NAME, *files] if path.is_file()])
    parts += [_files(folder) for folder in folders]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def identity(bag: str, key: str) -> dict[str, Any]:
    """Return what a bag's results depend on. Raises FileNotFoundError where there is none, ImportError for fsspec."""
    files = _files(bag)
    if not files:
        raise FileNotFoundError(f"{bag}: no such bag")
    return {"bag": _place(bag), "files": files, "key": key}


def size(known: Mapping[str, Any]) -> int:
    """Return the bytes of a bag's files by its ``identity``, 1 at least."""
    return sum(entry[1] for entry in known["files"]) or 1


def _files(bag: str) -> list[list[Any]]:
    """Return [name, bytes, what changes when its content does] of each file, in order."""
    if "://" in bag:
        system, path = _storage(bag)
        entries = system.find(path, detail=True)
        return [
            [name, int(info.get("size") or 0), str(next((info[k] for k in _CHANGES if k in info), ""))]
            for name, info in sorted(entries.items())
        ]
    here = Path(bag)
    paths = [here] if here.is_file() else sorted(p for p in here.rglob("*") if p.is_file())
    return [[p.name, p.stat().st_size, str(p.stat().st_mtime_ns)] for p in paths]


@contextlib.contextmanager
def local(bag: str) -> Iterator[Path]:
    """Give a path at which the bag can be read; what comes from storage is there until the context ends."""
    if "://" not in bag:
        yield Path(_place(bag))
        return
    system, path = _storage(bag)
    with tempfile.TemporaryDirectory(prefix="seg_node_bag_") as folder:
        target = Path(folder) / path.rstrip("/").rpartition("/")[2]
        system.get(path.rstrip("/"), str(target), recursive=system.isdir(path))
        yield target


def _storage(bag: str) -> tuple[Any, str]:
    """Return fsspec's file system for a bag, and the path in it."""
    scheme = bag.partition("://")[0]
    try:
        import fsspec  # type: ignore[import-untyped,import-not-found,unused-ignore]

        system, path = fsspec.core.url_to_fs(bag)
    except ImportError as error:
        driver = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs", "https": "aiohttp"}
        raise ImportError(f"{bag}: {scheme}:// needs pip install fsspec {driver.get(scheme, '')}".rstrip()) from error
    except ValueError as error:
        raise SourceError(f"{bag}: {error}") from error
    return system, str(path)


def is_finished(folder: Path, known: Mapping[str, Any]) -> bool:
    """Return whether a folder holds a whole report that was made of just this."""
    try:
        told = json.loads((folder / FINISHED).read_text(encoding="utf-8"))
        json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return told == json.loads(json.dumps(known))


def finish(folder: Path, known: Mapping[str, Any]) -> None:
    """Note what a whole report was made of."""
    (folder / FINISHED).write_text(json.dumps(known, indent=1), encoding="utf-8")


def call_by_its_name(folder: Path, bag: str, path: Path) -> None:
    """Write the bag's own name into its report where it was read from a copy."""
    if "://" not in bag:
        return
    file = folder / "report.json"
    report = json.loads(file.read_text(encoding="utf-8"))
    report["bag"]["path"] = bag
    file.write_text(json.dumps(report), encoding="utf-8")
