"""Many bags over a Ray cluster, or over this machine's cores: one task a bag, tried again where its worker is lost.

Ray schedules; here is only what it cannot know: which bags are done already, how a worker on another machine gets a bag
and gives its results back. Ray and fsspec are imported where they are used.
"""

import contextlib
import glob
import io
import os
import shutil
import socket
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import seg_node
from seg_node.evaluation.output_folder import put_in_place
from seg_node.replay import bag_names as names
from seg_node.replay import results_folder

ReplayOne = Callable[[Path, Path], Any]  # (bag, folder): writes folder/report.json and what belongs to it
Say = Callable[[str], None]
Progress = Callable[[int, int], None]  # bytes of bags that are done, of how many


class Spread(NamedTuple):
    """What became of the bags."""

    folders: dict[str, Path]  # bag -> folder with its report.json, in the order of the bags
    skipped: list[str]  # of them: were done by an earlier run
    failed: dict[str, str]  # bag -> why


def replay_on_ray(
    bags: Sequence[str],
    replay_one: ReplayOne,
    out: Path,
    *,
    key: str,
    retries: int = 3,
    cpus: float = 1.0,
    gpus: float = 0.0,
    say: Say = print,
    progress: Progress = lambda done, total: None,
) -> Spread:
    """Replay every bag into ``out/<its name>``; those that an earlier run has finished with the same ``key`` are kept.

    ``replay_one`` must be importable on the workers (a module's function, or a partial of one). ``retries``: how often
    a bag is begun again because its worker was lost; what ``replay_one`` raises is not tried again, and is told in
    ``failed``. ``cpus``, ``gpus``: what Ray is to keep free for a bag. Raises ImportError without Ray.
    """
    folders = {bag: out / name for bag, name in names.folder_names(bags).items()}
    todo, failed = {}, {}
    for bag in bags:
        try:
            todo[bag] = names.identity(bag, key)
            if not names.is_finished(folders[bag], todo[bag]):
                results_folder.check(folders[bag], None if "://" in bag else Path(bag), whole=True)
        except Exception as error:  # of this machine's files, or whatever a storage raises
            todo.pop(bag, None)
            failed[bag] = _plain(error, bag)
            say(f"{bag}: {failed[bag]}")
    sizes = {bag: names.size(known) for bag, known in todo.items()}
    skipped = [bag for bag in todo if names.is_finished(folders[bag], todo[bag])]
    done, total = sum(sizes[bag] for bag in skipped), sum(sizes.values())
    progress(done, total)
    left = {bag: known for bag, known in todo.items() if bag not in skipped}
    if left:
        out.mkdir(parents=True, exist_ok=True)
        for bag, problem in _on_ray(left, folders, replay_one, retries, {"num_cpus": cpus, "num_gpus": gpus}, say):
            if problem:
                failed[bag] = problem
                say(f"{bag}: {problem}")
            done += sizes[bag]
            progress(done, total)
    whole = {bag: folder for bag, folder in folders.items() if bag not in failed}
    return Spread(whole, skipped, failed)


def _on_ray(
    bags: Mapping[str, Mapping[str, Any]],
    folders: Mapping[str, Path],
    replay_one: ReplayOne,
    retries: int,
    needs: Mapping[str, float],
    say: Say,
) -> Iterator[tuple[str, str]]:
    """Give each bag as it is done, and why it failed ("" where it did not)."""
    with _swept(folders[bag] for bag in bags), _cluster(say) as ray, _mark(folders) as mark:
        task = ray.remote(_replay).options(max_retries=retries, name="seg_node_replay", **needs)
        parcel = ray.put(replay_one)
        waiting = {
            task.remote(parcel, bag, str(folders[bag].resolve()), str(mark), dict(known)): bag
            for bag, known in bags.items()
        }
        try:
            while waiting:
                ready, _ = ray.wait(list(waiting), num_returns=1)
                for reference in ready:
                    bag = waiting.pop(reference)
                    yield bag, _collect(ray, reference, bag, folders[bag])
        finally:
            for reference in waiting:  # interrupted: a cluster would go on
                ray.cancel(reference, force=True)


def _collect(ray: Any, reference: Any, bag: str, folder: Path) -> str:
    """Take a task's results; return why it failed, or ""."""
    try:
        archive = ray.get(reference)
        if archive is not None:
            with _attempt(folder) as work, tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(work, filter="data")
    except ray.exceptions.RayTaskError as error:
        return _plain(error.cause, bag)
    except ray.exceptions.RayError as error:  # its worker was lost, again and again
        return f"its worker was lost every time ({_plain(error)[:300]}); is there enough memory?"
    return ""


@contextlib.contextmanager
def _swept(folders: Iterable[Path]) -> Iterator[None]:
    """Remove, at the end, what workers have left that were lost."""
    try:
        yield
    finally:
        for folder in folders:
            for rest in folder.parent.glob(f".{glob.escape(folder.name)}.part-*"):
                shutil.rmtree(rest, ignore_errors=True)


@contextlib.contextmanager
def _cluster(say: Say) -> Iterator[Any]:
    """Join the cluster that RAY_ADDRESS names ("auto": the one that runs here), or make this machine one."""
    try:
        import ray  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise ImportError("many bags at once need Ray: pip install 'ray>=2.9', or leave --ray out") from error
    if ray.is_initialized():  # the caller's own: left as it is
        yield ray
        return
    # workers find this copy of seg_node where there is one at the same place, or else the installed one
    paths = [str(Path(seg_node.__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    options["runtime_env"] = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, paths))}}
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        options["include_dashboard"] = False
    ray.init(address=address, **options)
    try:
        resources = ray.cluster_resources()
        nodes = sum(node["Alive"] for node in ray.nodes())
        say(f"Ray: {nodes} machine{'s' * (nodes != 1)}, {resources.get('CPU', 0):g} cores")
        yield ray
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _mark(folders: Mapping[str, Path]) -> Iterator[Path]:
    """Leave a file among the results: a worker that sees it may write there itself."""
    mark = next(iter(folders.values())).parent.resolve() / f".seen-{uuid.uuid4().hex}"
    mark.touch()
    try:
        yield mark
    finally:
        mark.unlink(missing_ok=True)


def _replay(replay_one: ReplayOne, bag: str, folder: str, mark: str, known: Mapping[str, Any]) -> bytes | None:
    """Runs on a worker. Returns None where it has written into ``folder``, else its files as a tar archive."""
    with names.local(bag) as path:
        if os.path.exists(mark):
            with _attempt(Path(folder)) as work:
                _fill(work, replay_one, path, bag, known)
            return None
        with tempfile.TemporaryDirectory(prefix="seg_node_replay_") as spare:
            work = Path(spare)
            _fill(work, replay_one, path, bag, known)
            archive = io.BytesIO()
            with tarfile.open(fileobj=archive, mode="w") as tar:
                tar.add(work, ".")
            return archive.getvalue()


def _fill(work: Path, replay_one: ReplayOne, path: Path, bag: str, known: Mapping[str, Any]) -> None:
    if not path.exists():
        raise FileNotFoundError(
            f"{bag}: not there on {socket.gethostname()}. Bags must lie where every worker sees them: "
            "a shared folder, or storage such as s3://"
        )
    replay_one(path, work)
    names.call_by_its_name(work, bag, path)
    names.finish(work, known)


@contextlib.contextmanager
def _attempt(folder: Path) -> Iterator[Path]:
    """Give a folder to write into, which becomes ``folder`` once all is there: a lost worker leaves no half results."""
    work = folder.with_name(f".{folder.name}.part-{uuid.uuid4().hex[:8]}")
    work.mkdir(parents=True)
    try:
        yield work
        put_in_place(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _plain(error: BaseException, bag: str = "") -> str:
    """Return an error's text, without the bag's name before it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text[len(bag) + 2 :] if bag and text.startswith(f"{bag}: ") else text
