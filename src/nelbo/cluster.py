"""A Ray cluster: processes that train one model together, and tasks side by side. Only this module knows Ray.

``ray.init()`` joins the cluster that RAY_ADDRESS names, or one that runs on this machine, or else starts one here.
"""

import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Generator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch

from nelbo.files import check_storage
from nelbo.launcher import versions

T = TypeVar("T")
Say = Callable[[Any], None]

_RETRIES = 10  # lost processes that a training, or all tasks together, survive
_LOOK_EVERY = 0.5  # seconds
_RAY = ".ray"  # what Ray keeps of a training, in the folder of the run, until it ends


def check_workers(workers: int) -> None:
    """Raise a ValueError where no number of processes can be meant."""
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"ray must be a number of processes such as ray=2, got {workers!r}")


def check_installed(workers: int) -> None:
    """Raise an ImportError where Ray is not installed; it is not imported, which takes seconds."""
    if find_spec("ray") is None:
        raise _without_ray(workers)


def announce(workers: int) -> None:
    """Say on standard error that Ray starts; it takes about a minute, in which nothing else is shown.

    Raises:
        ImportError: Ray is not installed.
        ValueError: no number of processes can be meant.
    """
    check_workers(workers)
    check_installed(workers)
    address = os.environ.get("RAY_ADDRESS")
    where = f"the Ray cluster at {address}" if address else "a local Ray cluster"
    print(f"nelbo: starting {counted(workers)} on {where}; this takes about a minute", file=sys.stderr)


def counted(workers: int) -> str:
    """Their number, in words."""
    return f"{workers} worker{'' if workers == 1 else 's'}"


def _without_ray(workers: int) -> ImportError:
    return ImportError(f"ray={workers} needs Ray: pip install 'nelbo[cluster]'")


def train_together(
    task: Callable[[Say], None],
    workers: int,
    *,
    folder: Path,
    threads: int = 1,
    accelerated: bool = False,
    hear: Callable[[int, int, Any], None] = lambda starts, size, said: None,
) -> None:
    """Run a task in several workers of Ray Train, within one process group, to its end.

    Where a worker is lost, all are started again, as many as there is room for, at most 10 times: the task goes on from
    what it kept in the folder.

    Args:
        task: is called in each worker, in the working directory of the caller; it is given a function that sends the
            caller something.
        workers: at most.
        folder: which all machines see and the first worker writes into.
        threads: CPUs of each worker.
        accelerated: whether each worker takes an accelerator where the cluster has that many.
        hear: called with the number of starts, the number of workers and what the first worker sent.

    Raises:
        ImportError: Ray is not installed.
        ValueError: the cluster has no room for so many workers, or other versions; and what the task raised.
        OSError: the folder cannot hold a run; a worker was lost too often.
        KeyboardInterrupt: Ctrl-C.
    """
    check_storage(folder)
    here, own = Path.cwd(), versions()
    with _cluster(workers, threads) as ray:
        train: Any = import_module("ray.train")
        trainers: Any = import_module("ray.train.torch")
        board = ray.remote(num_cpus=0)(_Board).remote()

        def work() -> None:
            context = train.get_context()
            os.chdir(here)
            if ray.get(board.start.remote(context.get_world_rank(), context.get_world_size())):
                return  # there is no use in another try
            try:
                _check_versions(own)
                task(board.say.remote)
            except Exception as error:
                # what the machines are to blame for may go well the next time
                ray.get(board.fail.remote(error, final=not isinstance(error, OSError)))
                raise

        has = ray.cluster_resources().get("GPU", 0) >= workers
        resources = {"CPU": threads} | ({"GPU": 1} if accelerated and has else {})
        trainer = trainers.TorchTrainer(
            work,
            scaling_config=train.ScalingConfig(
                num_workers=(1, workers) if workers > 1 else 1,
                use_gpu="GPU" in resources,
                resources_per_worker=resources,
            ),
            # Ray looks at its start whether all machines see this folder
            run_config=train.RunConfig(
                name=_RAY,
                storage_path=str(folder.absolute()),
                failure_config=train.FailureConfig(max_failures=_RETRIES),
            ),
        )
        before = signal.getsignal(signal.SIGINT)
        try:
            with _listening(lambda: ray.get(board.read.remote()), hear):
                trainer.fit()
        except SystemExit as stop:  # what Ray makes of Ctrl-C
            raise KeyboardInterrupt from stop
        except train.TrainingFailedError as error:
            failure, _ = ray.get(board.failed.remote())
            raise failure or ConnectionError(f"the workers of the Ray cluster were lost too often: {error}") from error
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGINT, before)  # Ray took it
            shutil.rmtree(folder / _RAY, ignore_errors=True)
        failure, final = ray.get(board.failed.remote())
        if final:
            raise failure


def side_by_side(
    tasks: Sequence[Callable[[], T]],
    at_once: int,
    *,
    threads: int = 1,
    accelerated: bool = False,
    look: Callable[[int, int], None] = lambda done, retried: None,
) -> list[T]:
    """The results of tasks that run in Ray, several at a time; one whose process was lost is started again.

    Args:
        tasks: each is called in a process of its own, in the working directory of the caller.
        at_once: at most.
        threads: CPUs of each.
        accelerated: whether each takes an accelerator where the cluster has that many.
        look: called twice a second with the number of tasks that are done and of those that were started again.

    Raises:
        ImportError: Ray is not installed.
        ValueError: the cluster has no room for so many, or other versions; and what a task raised.
        ConnectionError: processes of tasks were lost more than 10 times, all tasks together.
    """
    here, own = Path.cwd(), versions()
    with _cluster(at_once, threads) as ray:
        has = ray.cluster_resources().get("GPU", 0) >= at_once

        @ray.remote(num_cpus=threads, num_gpus=int(accelerated and has), max_retries=0)
        def run(task: Callable[[], T]) -> T:
            os.chdir(here)
            _check_versions(own)
            torch.set_num_threads(threads)
            return task()

        waiting = list(reversed(range(len(tasks))))
        running: dict[Any, int] = {}
        results: dict[int, T] = {}
        retries = 0
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    number = waiting.pop()
                    running[run.remote(tasks[number])] = number
                ready, _ = ray.wait(list(running), timeout=_LOOK_EVERY)
                for done in ready:
                    number = running.pop(done)
                    try:
                        results[number] = ray.get(done)
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause from error
                    except ray.exceptions.RayError as error:  # its process, or machine, was lost
                        retries += 1
                        if retries > _RETRIES:
                            raise ConnectionError(
                                f"processes of the Ray cluster were lost too often: {error}"
                            ) from error
                        waiting.append(number)
                look(len(results), retries)
        finally:
            for left in running:
                ray.cancel(left, force=True)
        return [results[number] for number in range(len(tasks))]


def _check_versions(callers: dict[str, str]) -> None:
    """Raise a ValueError where this process computes with other versions than its caller."""
    own = versions()
    for name in ("nelbo", "torch"):
        if own[name] != callers[name]:
            raise ValueError(
                f"a worker of the Ray cluster has {name} {own[name]}, and the process that started it "
                f"{callers[name]}; install {name}=={callers[name]} on all its machines"
            )


class _Board:
    """An actor, by which the workers of a training speak to the caller."""

    def __init__(self) -> None:
        self.starts, self.size = 0, 0
        self.said: list[Any] = []
        self.error: Exception | None = None
        self.final = False

    def start(self, rank: int, size: int) -> bool:
        """Note that a worker began; whether there is nothing left to try."""
        self.starts, self.size = self.starts + (rank == 0), size
        return self.final

    def say(self, message: Any) -> None:
        self.said.append(message)

    def fail(self, error: Exception, *, final: bool) -> None:
        if self.error is None or (final and not self.final):
            self.error, self.final = error, final

    def failed(self) -> tuple[Exception | None, bool]:
        return self.error, self.final

    def read(self) -> tuple[int, int, list[Any]]:
        said, self.said = self.said, []
        return self.starts, self.size, said


@contextlib.contextmanager
def _listening(
    read: Callable[[], tuple[int, int, list[Any]]], hear: Callable[[int, int, Any], None]
) -> Generator[None]:
    """Within, what is said is heard in a thread: the main one waits for Ray, which answers Ctrl-C there."""
    ended = threading.Event()

    def listen() -> None:
        while True:
            last = ended.wait(_LOOK_EVERY)
            starts, size, said = read()
            for message in said:
                hear(starts, size, message)
            if last:
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def _cluster(workers: int, threads: int) -> Generator[Any]:
    """Ray, in a cluster with room for so many processes; what was started here ends here."""
    check_workers(workers)
    try:
        ray: Any = import_module("ray")
        import_module("ray.train")
    except ImportError as error:
        raise _without_ray(workers) from error
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():
            ray.init(log_to_driver=False, logging_level="error")
            stack.callback(ray.shutdown)
        nodes = [node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]
        room = sum(int(cpus // threads) for cpus in nodes)
        if room < workers:
            raise ValueError(
                f"the Ray cluster has room for {room} processes of {threads} CPUs each ({sum(nodes):g} CPUs on "
                f"{len(nodes)} machines), got ray={workers}; write ray={max(1, room)}, or let RAY_ADDRESS name a "
                "larger cluster"
            )
        yield ray
