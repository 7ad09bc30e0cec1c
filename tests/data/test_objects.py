"""Examples in the objects of other libraries, and in small ones that can do the same."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy import sparse
from torch.utils import data as torch_data

from nelbo.data import as_data, load, rebuild

G = np.random.default_rng(0)
X = G.normal(size=(40, 3)).astype(np.float32)
Y = np.arange(40) % 4
IMAGES = G.integers(0, 256, (40, 8, 8)).astype(np.uint8)
NAMES = ["a", "b", "c"]
COLUMNS = {name: X[:, i] for i, name in enumerate(NAMES)}


class Frame:
    """What pandas, polars and DuckDB have in common."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


class Items:
    """A map-style set."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        if i >= len(self):
            raise IndexError(i)
        return self.items[i]


class HuggingFace(Items):
    """As those of the package datasets: rows by [i], columns by slices."""

    column_names = ("image", "label")

    def with_format(self, kind):
        return self

    def __getitem__(self, i):
        rows = self.items[i]
        return rows if isinstance(i, int) else {name: [row[name] for row in rows] for name in self.column_names}


class Annotated:
    """As AnnData."""

    def __init__(self, matrix, names, obs):
        self.X, self.var_names, self.obs = matrix, names, obs
        self.obs_names = [str(i) for i in range(len(Y))]

    def __getitem__(self, where):
        index = [list(self.var_names).index(name) for name in where[1]]
        return Annotated(self.X[:, index], where[1], self.obs)


class Observations(dict):
    columns = property(list)


TABLE = pa.table(COLUMNS)
OBS = Observations(kind=Y)

TAKEN = {
    "tensor": torch.from_numpy(X),
    "list of lists": X.tolist(),
    "list of arrays": list(X),
    "list of tensors": list(torch.from_numpy(X)),
    "tuple of arrays": tuple(X),
    "pair": (X, Y),
    "pair of lists": (X.tolist(), Y.tolist()),
    "pair of a frame": (Frame(TABLE), Y),
    "frame": Frame(TABLE),
    "arrow table": TABLE,
    "arrow batch": TABLE.to_batches()[0],
    "arrow reader": pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches()),
    "dict of columns": COLUMNS,
    "dict of lists": {name: x.tolist() for name, x in COLUMNS.items()},
    "dict of tensors": {name: torch.from_numpy(x) for name, x in COLUMNS.items()},
    "rows": TABLE.to_pylist(),
    "csr": sparse.csr_matrix(X),
    "coo array": sparse.coo_array(X),
    "TensorDataset": torch_data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
    "TensorDataset of x": torch_data.TensorDataset(torch.from_numpy(X)),
    "Subset": torch_data.Subset(torch_data.TensorDataset(torch.from_numpy(X)), range(40)),
    "DataLoader": torch_data.DataLoader(torch_data.TensorDataset(torch.from_numpy(X)), batch_size=7, shuffle=True),
    "items": Items(*X),
    "items of pairs": Items(*zip(X, Y, strict=True)),
    "items of mappings": Items(*({"x": x, "y": y} for x, y in zip(X, Y, strict=True))),
    "items of numbers by name": Items(*TABLE.to_pylist()),
    "AnnData": Annotated(X, NAMES, OBS),
    "sparse AnnData": Annotated(sparse.csr_matrix(X), NAMES, OBS),
}
NAMED = ("frame", "arrow", "dict", "rows", "AnnData", "by name")
LABELLED = ("pair", "TensorDataset", "of pairs", "of mappings")


@pytest.mark.parametrize("kind", TAKEN)
def test_what_is_taken(kind):
    data = as_data(TAKEN[kind], validation=0)
    assert np.allclose(data.train.take(40), X, atol=1e-6)
    assert data.origin["features"] == (NAMES if any(word in kind for word in NAMED) else None)
    assert (data.train.labels is None) == (kind.endswith("of x") or not any(word in kind for word in LABELLED))
    if data.train.labels is not None:
        assert data.train.labels.tolist() == Y.tolist()
    if kind != "arrow reader":  # which is read once
        assert torch.equal(rebuild(data.origin, TAKEN[kind]).train.take(40), data.train.take(40))


def test_options_of_tables_go_for_frames():
    table = pa.table({**COLUMNS, "town": ["Bern", "Rome"] * 20, "": np.arange(40)})
    data = load(Frame(table), label="town", columns=["c", "a"], validation=0)
    assert data.origin["features"] == ["c", "a"]
    assert data.origin["label_names"] == ["Bern", "Rome"]
    assert np.allclose(data.train.take(40), X[:, [2, 0]])
    with pytest.raises(ValueError, match="column 'town' of the Frame|column 'town' of Frame"):
        load(Frame(table))
    holes = {"a": [1.0, None, 3.0], "b": [1, 2, 3]}
    assert load(holes, missing="observed", validation=0).train.take(3).isnan().sum() == 1
    with pytest.raises(ValueError, match="missing='observed'"):
        load(holes)


def test_annotated_data_give_labels_and_columns():
    data = load(TAKEN["sparse AnnData"], label="kind", columns=["c", "a"], validation=0)
    assert data.origin["features"] == ["c", "a"]
    assert data.train.labels.tolist() == Y.tolist()
    with pytest.raises(ValueError, match="did you mean 'kind'"):
        load(TAKEN["AnnData"], label="kimd")
    with pytest.raises(ValueError, match="'a', 'b', 'c'"):
        load(TAKEN["AnnData"], columns=["z"])


def test_images_of_map_style_sets():
    rows = [{"image": image, "label": int(y)} for image, y in zip(IMAGES, Y, strict=True)]
    pairs = [(torch.from_numpy(image)[None], int(y)) for image, y in zip(IMAGES, Y, strict=True)]
    for examples in (HuggingFace(*rows), Items(*rows), Items(*pairs), torch_data.DataLoader(pairs, batch_size=2)):
        data = load(examples, validation=0)
        assert data.event_shape == (1, 8, 8)
        assert np.allclose(data.train.take(40)[:, 0], IMAGES / 255)
        assert data.train.labels.tolist() == Y.tolist()


def test_what_was_decided_is_noted():
    assert any("sparse matrix was made dense" in n for n in load(TAKEN["csr"]).origin["notes"])
    assert any("arguments of fit" in n for n in load(TAKEN["DataLoader"]).origin["notes"])
    assert any("read once" in n for n in load(TAKEN["items"]).origin["notes"])
    more = HuggingFace(*({"image": image, "label": 1} for image in IMAGES))
    assert any("x is 'image', labels are 'label'" in n for n in load(more).origin["notes"])


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ((x for x in X), TypeError, "gone through more than once, got generator; write a list"),
        ([[1.0, 2.0], [3.0]], ValueError, "examples of equal shape.*of lengths 1, 2"),
        ([["a", "b"], ["c", "d"]], TypeError, "encode the values as numbers"),
        ([1.0, 2.0, 3.0], ValueError, r"reshape\(-1, 1\)"),
        ([], ValueError, "empty"),
        (Items(), ValueError, "the Items is empty"),
        (Items(*zip(X, Y, Y, strict=True)), TypeError, r"must be x or \(x, y\), got 3 values"),
        (Items(X[0], X[0, :2]), ValueError, r"one shape, got \(2,\) of example 1 and \(3,\)"),
        ({"a": [1, 2], "b": [1]}, ValueError, "columns cannot be read as a table.*equal length"),
        ({"x": IMAGES, "z": IMAGES}, ValueError, r"one column of arrays must be x, got 'x', 'z'"),
        (pa.array([1, 2, 3]), ValueError, "Pass a frame with named columns"),
        ((X, "names"), TypeError, r"got \(ndarray, str\)"),
        (3, TypeError, "got int"),
        (object(), TypeError, "got object"),
    ],
)
def test_what_cannot_be_meant(source, error, message):
    with pytest.raises(error, match=message):
        load(source)


def test_an_iterable_data_set_is_named():
    class Endless(torch_data.IterableDataset):
        def __iter__(self):
            yield from X

    for source in (Endless(), torch_data.DataLoader(Endless())):
        with pytest.raises(TypeError, match="Endless"):
            load(source)


def test_a_matrix_that_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr("nelbo.data.sizes.available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"csr_matrix of shape \(100000, 100\) is made dense.*fewer columns"):
        load(sparse.csr_matrix((100_000, 100)))
    with pytest.raises(MemoryError, match=r"40 examples of shape \(8, 8\)"):
        load(Items(*IMAGES))


def test_frames_of_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=NAMES)
    frame["town"] = ["Bern", "Rome"] * 20
    for some in (frame, frame.sample(30, random_state=0), frame.set_index("town", append=True).reset_index("town")):
        data = load(some, label="town", validation=0)
        assert data.origin["features"] == NAMES
        assert np.allclose(data.train.take(len(some)), some[NAMES].to_numpy())
        assert len(data.train.labels) == len(some)
    assert load((frame[NAMES], frame["town"]), validation=0).origin["label_names"] == ["Bern", "Rome"]


def test_frames_of_polars():
    pl = pytest.importorskip("polars")
    assert np.allclose(load(pl.DataFrame(COLUMNS), validation=0).train.take(40), X)


def test_tables_of_duckdb():
    duckdb = pytest.importorskip("duckdb")
    relation = duckdb.sql("select range as a, range / 2 as b from range(40)")
    assert load(relation, validation=0).origin["features"] == ["a", "b"]
