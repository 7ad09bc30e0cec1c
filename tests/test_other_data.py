"""A run meets other data than its own: by name, without its file, in their units."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import csv, parquet

import nelbo
from nelbo import measure
from nelbo.cli import main
from nelbo.data import load
from nelbo.data.features import Features, units_that_changed
from nelbo.data.loading import prepared_like

N = 120
_rng = np.random.default_rng(0)
_weight, _height = _rng.normal(70, 10, N), _rng.normal(1.7, 0.1, N)
COLUMNS = {
    "weight": _weight,
    "height": _height,
    "age": _rng.integers(18, 90, N),
    "smokes": _weight > 75,
    "city": np.where(_height > 1.7, "Rome", "Bern"),
}
FEATURES = ["weight", "height", "age", "smokes"]


def write(path, columns):
    table = pa.table(columns)
    csv.write_csv(table, path) if path.suffix == ".csv" else parquet.write_table(table, path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    data = load(write(folder / "people.csv", COLUMNS), label="city", standardize=True, validation=40)
    model = nelbo.recipes.vae((4,), latent=2, hidden=(4,), likelihood="normal")
    nelbo.fit(model, data, epochs=1, out=folder / "run", progress=False)
    return folder


@pytest.fixture
def here(trained, tmp_path, monkeypatch):
    """The run, without the file that it was trained on, which lies there as moved.csv."""
    shutil.copytree(trained / "run", tmp_path / "run")
    record = (tmp_path / "run/run.json").read_text().replace(str(trained), str(tmp_path / "gone"))
    (tmp_path / "run/run.json").write_text(record)
    shutil.copy(trained / "people.csv", tmp_path / "moved.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def embedded(trained):
    return nelbo.load(trained / "run").encode(trained / "people.csv")


left_out = pytest.mark.filterwarnings("ignore:.*left out")
alone = pytest.mark.filterwarnings("ignore:nothing is compared")


# by name


@left_out
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    "names",
    [
        ["age", "smokes", "height", "weight"],
        ["city", *reversed(FEATURES)],
        ["id", *FEATURES, "city"],
        ["note", *FEATURES],
    ],
    ids=["another order", "with the label", "a numeric column more", "a text column more"],
)
def test_columns_are_taken_by_name(here, embedded, names, suffix):
    more = COLUMNS | {"id": np.arange(N), "note": ["x"] * N}
    path = write(here / f"new.{suffix}", {name: more[name] for name in names})
    assert torch.equal(nelbo.load("run").encode(path), embedded)
    assert main(["embed", "run", str(path), "--out", "z.npy"]) == 0
    assert np.array_equal(np.load("z.npy"), embedded.numpy())


def test_what_is_left_out_is_named_and_a_missing_label_is_no_matter(here):
    path = write(here / "new.csv", {name: COLUMNS[name] for name in FEATURES} | {"id": np.arange(N), "note": ["x"] * N})
    with pytest.warns(UserWarning, match=r"^new.csv: 'id', 'note' left out, on which the run was not trained$"):
        assert nelbo.load("run").examples(path).labels is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"u": [1.0], "hieght": [1.0], "age": [1.0]},
            r"new.csv lacks 3 of the 4 columns that the run was trained on: 'weight', 'height', 'smokes'; it has 'u', "
            r"'hieght', 'age'. Did you mean 'hieght' for 'height'\? Rename",
        ),
        (
            {"weight": ["heavy"], "height": [1.0], "age": ["old"], "smokes": [1]},
            r"must hold numbers in .* got 'weight' \(string\), 'age' \(string\); convert them",
        ),
    ],
)
def test_missing_columns_and_other_types_are_all_named(here, capsys, columns, message):
    write(here / "new.csv", columns)
    with pytest.raises(ValueError, match=message):
        nelbo.load("run").encode("new.csv")


def test_a_file_without_names_is_refused_and_an_array_taken_by_position(here, embedded):
    values = np.stack([np.asarray(COLUMNS[name], float) for name in FEATURES], 1)
    np.savetxt("new.csv", values, delimiter=",")
    with pytest.raises(ValueError, match="its columns have no names; write their names"):
        nelbo.load("run").examples("new.csv")
    run = nelbo.load("run")
    assert torch.allclose(run.encode(run.examples(values)), embedded, atol=1e-6)
    with pytest.raises(ValueError, match=r"shape \(4,\), as the run was trained on, got an array of shape \(120, 3\)"):
        run.examples(values[:, :3])


def test_labels_keep_the_numbers_that_they_had(here):
    path = write(here / "new.csv", COLUMNS | {"city": ["Rome", "Paris"] * (N // 2)})
    with pytest.warns(UserWarning, match="labels that the run was not trained with: 'Paris'"):
        labels = nelbo.load("run").examples(path).labels
    assert labels[:2].tolist() == [1, 2]


@left_out
def test_every_function_of_python_takes_names_for_a_run(here, trained):
    write(here / "new.csv", {name: COLUMNS[name] for name in ["city", "age", "height", "smokes", "weight"]})
    run, x = nelbo.load("run"), nelbo.load(trained / "run").examples(trained / "people.csv").take(N)
    assert torch.equal(run.reconstruct("new.csv"), run.reconstruct(x))
    assert torch.equal(measure.elbo_terms(run, "new.csv").elbo.value, measure.elbo_terms(run, x).elbo.value)
    assert torch.equal(nelbo.loss(run, "new.csv").kl, nelbo.loss(run, x).kl)
    a, b = (measure.log_evidence(run, examples).value for examples in ("new.csv", x))
    assert torch.equal(a, b)


# without the file


QUICK = ["--effort", "quick", "--examples", "40"]


@alone
@left_out
@pytest.mark.parametrize(
    "line",
    [
        "embed run DATA --out z.npy",
        "reconstruct run DATA --out x.npy",
        "sample run --out x.npy",
        "measure run DATA --effort quick --examples 40 --no-diagnose",
        "diagnose run DATA --examples 60",
        "compare run run --data DATA --effort quick --examples 40",
        "export inspector run out.html --data DATA",
    ],
)
@pytest.mark.parametrize("data", ["moved.csv", "new.csv"])
def test_a_run_does_without_the_file_it_was_trained_on(here, capsys, line, data):
    write(here / "new.csv", {name: COLUMNS[name][:60] for name in [*reversed(FEATURES), "city"]})
    assert main(line.replace("DATA", data).split()) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "embed run",
        "reconstruct run",
        "measure run",
        "diagnose run",
        "compare run run",
        "export inspector run out.html",
    ],
)
def test_the_line_to_write_is_named_without_it(here, capsys, line):
    assert main(line.split()) == 1
    error = capsys.readouterr().err
    assert "people.csv, on which the run was trained, does not exist" in error
    assert "nelbo measure run DATA" in error


def test_the_studio_shows_a_run_on_other_data_as_it_was_trained(here, trained):
    from nelbo.studio.in_memory import as_run

    own, moved = nelbo.load(trained / "run").data, as_run("run", "moved.csv").data
    assert torch.equal(moved.validation.take(40), own.validation.take(40))
    write(here / "new.csv", {name: COLUMNS[name][:60] for name in reversed(FEATURES)})
    shown = as_run("run", "new.csv").data
    assert torch.equal(shown.train.take(60), nelbo.load("run").examples("new.csv").take(60))
    assert shown.origin["features"] == FEATURES


@pytest.mark.parametrize("line", ["studio --data new.csv", "export inspector out.html --data new.csv"])
def test_data_without_a_run_are_refused(here, capsys, line):
    assert main(line.split()) == 1
    assert "--data is what runs are shown on, and none is named" in capsys.readouterr().err


def test_the_same_bytes_elsewhere_keep_their_split(here, trained):
    own = measure.report(nelbo.load(trained / "run"), effort="quick", examples=40)
    moved = measure.report(nelbo.load("run"), "moved.csv", effort="quick", examples=40)
    assert moved.settings["split"] == "validation"
    a, b = (float(report["nelbo"].values["held_out"]) for report in (moved, own))
    assert a == b
    assert len(nelbo.load("run", data="moved.csv").data.validation) == 40


def test_other_data_alone_are_called_given(here):
    write(here / "new.csv", {name: COLUMNS[name] for name in FEATURES})
    with pytest.warns(
        UserWarning, match="nothing is compared with the training data of run: .* does not exist; put it"
    ):
        report = measure.report(nelbo.load("run"), "new.csv", effort="quick", examples=40)
    assert dict(report.facts)["measured on"] == "40 given examples"
    assert "training" not in report["nelbo"].values


def test_a_run_goes_on_with_its_file_at_another_place(here, trained, capsys):
    assert main(["fit", "--resume", "run", "--epochs", "2"]) == 1
    assert "nelbo fit --resume run DATA" in capsys.readouterr().err
    assert main(["fit", "--resume", "run", "moved.csv", "--epochs", "2"]) == 0
    shutil.copytree(trained / "run", "stayed")
    nelbo.resume("stayed", epochs=2, progress=False)
    weights = [(here / name / "weights.safetensors").read_bytes() for name in ("run", "stayed")]
    assert weights[0] == weights[1]
    assert len(nelbo.load("run").data.train) == 80  # the record names the new place


def test_other_content_is_refused_by_what_differs(here, capsys):
    write(here / "new.csv", {name: values[:100] for name, values in COLUMNS.items()})
    assert main(["fit", "--resume", "run", "new.csv", "--epochs", "2"]) == 1
    error = capsys.readouterr().err
    assert "new.csv is not what the run was trained on: there were 120 examples, and are 100" in error
    with pytest.raises(ValueError, match=r"are 100\. Pass the data .* other data are passed where they are used"):
        nelbo.load("run", data="new.csv")


# names and units of what is written


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_outputs_have_the_names_units_and_types_of_the_data(here, suffix):
    def read(path):
        return csv.read_csv(path) if suffix == "csv" else parquet.read_table(path)

    assert main(["sample", "run", "-n", "400", "--out", f"s.{suffix}"]) == 0
    table = read(f"s.{suffix}")
    assert table.column_names == FEATURES
    assert [str(field.type) for field in table.schema] == ["double", "double", "int64", "bool"]
    means = {name: float(np.mean(table[name].to_numpy())) for name in ("weight", "height", "age")}
    assert means == pytest.approx({"weight": 70, "height": 1.7, "age": 54}, rel=0.3)

    assert main(["reconstruct", "run", "moved.csv", "--out", f"r.{suffix}"]) == 0
    table = read(f"r.{suffix}")
    assert table.column_names == ["row", *FEATURES]
    assert table["row"].to_pylist() == list(range(N))

    assert main(["embed", "run", "moved.csv", "--out", f"e.{suffix}"]) == 0
    table = read(f"e.{suffix}")
    assert table.column_names == ["row", "z0", "z1", "label"]
    assert table["label"].to_pylist() == COLUMNS["city"].tolist()


def test_rows_of_a_part_are_those_of_the_file(here, trained):
    assert main(["reconstruct", str(trained / "run"), "--out", "r.csv"]) == 0
    expected = nelbo.load(trained / "run").data.validation.source_rows.tolist()
    assert csv.read_csv("r.csv")["row"].to_pylist() == expected


def test_a_table_of_what_the_model_sees_is_the_data_again(trained):
    run = nelbo.load(trained / "run")
    table = run.table(run.examples(trained / "people.csv").take(N))
    for name in ("weight", "height"):
        assert table[name] == pytest.approx(COLUMNS[name], rel=1e-6)
    assert np.array_equal(table["age"], COLUMNS["age"])
    assert np.array_equal(table["smokes"], COLUMNS["smokes"])


# units


def test_units_that_changed_are_named_in_every_command(here):
    changed = COLUMNS | {"weight": 1000 * _weight, "height": 0.01 * _height}
    write(here / "grams.csv", changed)
    with pytest.warns(
        UserWarning,
        match=r"mean of column 'weight' lies \d,\d\d\d .* above that of the training set; .* 'height' is 1/\d+ of that",
    ):
        nelbo.load("run").encode("grams.csv")


def test_units_are_doubted_from_twenty_standard_deviations_on():
    known = {"mean": [0.0, 5.0, 1.0], "std": [2.0, 0.0, 1.0]}

    def said(mean, std=1.0, n=100):
        return units_that_changed(known, {"mean": [mean, 5.0, 1.0], "std": [std, 0.0, 1.0]}, n=n, names=None)

    assert said(39.9) is None
    assert said(40.0).startswith("the mean of feature 0 lies 20 standard deviations above")
    assert said(0.0, std=2 / 19) is None
    assert said(0.0, std=2 / 21).startswith("the standard deviation of feature 0 is 1/21 of that")
    assert said(0.0, std=2 / 21, n=3) is None
    assert units_that_changed(None, known, n=9, names=None) is None


def test_units_of_a_table_that_was_not_standardized_are_known_too(tmp_path):
    path = write(tmp_path / "t.csv", {"a": _weight, "b": _height})
    origin = load(path).origin
    write(tmp_path / "g.csv", {"a": 1000 * _weight, "b": _height})
    with pytest.warns(UserWarning, match="mean of column 'a' lies"):
        prepared_like(origin, tmp_path / "g.csv")


# two runs


def test_runs_of_other_units_and_orders_are_compared_in_those_of_the_first(tmp_path):
    """The linear map of standardization changes densities by a known factor."""
    path = write(tmp_path / "t.csv", {"a": _weight, "b": _height})
    train = _weight[:60], _height[:60]
    write(tmp_path / "u.csv", {"b": 0.05 + 1.1 * train[1], "a": train[0]})
    write(tmp_path / "s.csv", {"a": train[0], "b": train[1]})

    def run(name):
        data = load(tmp_path / name, standardize=True, validation=0)
        model = nelbo.recipes.vae((2,), latent=1, hidden=(4,), likelihood="normal")
        return nelbo.fit(model, data, epochs=1, progress=False, out=tmp_path / name[0])

    one, other = run("s.csv"), run("u.csv")
    found = measure.compare([one, other], path, effort="quick", names=["one", "other"])
    for each, name in ((one, "one"), (other, "other")):
        nelbo_of_raw = -measure.elbo_terms(each, path).elbo.value.mean() - each.data.preparation.log_jacobian((2,))
        value = float(found["nelbo"].values[name]) - one.data.preparation.log_jacobian((2,))
        assert value == pytest.approx(float(nelbo_of_raw), abs=1e-4)
    assert "other sees other units" in " ".join(found.sections[0].notes)


def test_runs_on_other_columns_are_not_compared(tmp_path):
    write(tmp_path / "t.csv", {"a": _weight, "b": _height, "c": COLUMNS["age"]})

    def run(*columns):
        data = load(tmp_path / "t.csv", columns=columns, standardize=True)
        model = nelbo.recipes.vae((2,), latent=1, hidden=(4,), likelihood="normal")
        return nelbo.fit(model, data, epochs=1, progress=False)

    with pytest.raises(ValueError, match=r"see other columns \('a', 'c' are in one alone\)"):
        measure.compare([run("a", "b"), run("b", "c")], effort="quick")


def test_features_are_a_sequence_of_names():
    taken = Features(["a"]).taken_from({"a": "double", "y": "string"}, file="t.csv", label="y")
    assert taken == (["a"], "y")
