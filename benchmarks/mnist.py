"""The digits that every peer is trained on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = ROOT.parent / "shared" / "data" / "mnist.npz"


def find(path: str | None) -> Path:
    """The .npz file of the option, or the one beside the project, or the set that nelbo downloads."""
    if path is not None:
        if not Path(path).is_file():
            raise SystemExit(f"--mnist {path}: no such file. Expected a .npz with x_train and x_test")
        return Path(path).resolve()
    return DEFAULT if DEFAULT.is_file() else _downloaded()


def _downloaded() -> Path:
    """nelbo's own copy, written once as .npz so that peers which know nothing of nelbo read the same numbers."""
    copy = ROOT / "build" / "mnist.npz"
    if not copy.is_file():
        import nelbo

        try:
            data = nelbo.data.load("mnist", validation=0)
        except (OSError, ValueError) as error:
            raise SystemExit(f"no MNIST: {error}. Write --mnist PATH, a .npz with x_train and x_test") from error
        copy.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            copy, x_train=data.train.stored(range(60_000)).numpy(), x_test=data.test.stored(range(10_000)).numpy()
        )
    return copy


def train(path: str | Path) -> NDArray[np.uint8]:
    """(60000, 784) bytes."""
    return _images(path, "x_train")


def test(path: str | Path) -> NDArray[np.uint8]:
    """(10000, 784) bytes."""
    return _images(path, "x_test")


def _images(path: str | Path, name: str) -> NDArray[np.uint8]:
    with np.load(path, allow_pickle=False) as held:
        x = held[name]
    return np.ascontiguousarray(x.reshape(len(x), -1))
