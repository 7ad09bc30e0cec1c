"""A mixed table, from fit without options to imputations, synthetic rows and a report; and tables of known log p."""

import csv
import itertools

import numpy as np
import pytest
import torch

import nelbo
from nelbo.cli import main
from nelbo.evaluation import sample
from nelbo.measure import elbo_terms, error_per_column, log_evidence, table_match, train_on_synthetic
from tests.data.test_kinds import KINDS, people
from tests.known_tables import classes, classes_log_prob, network, network_log_prob

AS_THEY_ARE = "categorical, count, binary ones as they are"
OPTIONS = ["--epochs", "2", "--hidden", "16", "--latent", "2", "--samples", "3"]


def write(path, columns):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([["" if v is None else v for v in row] for row in zip(*columns.values(), strict=True)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    write(folder / "people.csv", people())
    assert main(["fit", str(folder / "people.csv"), *OPTIONS, "--out", str(folder / "run")]) == 0
    return folder


def read(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_fit_without_options_trains_a_model_of_all_columns(folder):
    run = nelbo.load(folder / "run")
    assert run.record["recipe"]["name"] == "table_vae"
    assert run.model.takes_missing
    families = run.record["recipe"]["arguments"]["likelihood"]
    assert families == {name: kind.family for name, kind in run.data.kinds.items()}
    assert list(families) == list(KINDS)


def test_a_table_without_holes_trains_a_model_that_takes_none(folder):
    write(folder / "whole.csv", people(holes=False))
    assert main(["fit", str(folder / "whole.csv"), *OPTIONS, "--out", str(folder / "whole")]) == 0
    assert not nelbo.load(folder / "whole").model.takes_missing


@pytest.mark.filterwarnings("ignore:.*left out, on which")
def test_samples_and_reconstructions_are_tables_like_the_source(folder, capsys):
    out = folder / "synthetic.csv"
    assert main(["sample", str(folder / "run"), "-n", "200", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "left empty as often as in the training data" in said
    assert "--complete" in said
    table = read(out)
    assert list(table) == list(KINDS)
    assert set(table["job"]) == {"clerk", "nurse", "teacher", ""}
    assert set(table["zip"]) <= {"3000", "8001", "9500"}
    assert set(table["smokes"]) <= {"True", "False"}
    ages = [float(v) for v in table["age"] if v]
    assert len(ages) < 200
    assert all(age == round(age) and 18 <= age < 80 for age in ages)
    assert main(["sample", str(folder / "run"), "-n", "50", "--complete", "--out", str(out)]) == 0
    assert "" not in itertools.chain(*read(out).values())
    assert main(["reconstruct", str(folder / "run"), str(folder / "people.csv"), "--out", str(out)]) == 0
    assert set(read(out)["job"]) <= {"clerk", "nurse", "teacher"}


@pytest.mark.filterwarnings("ignore:.*left out, on which", "ignore:for .* examples Pareto k")
def test_imputations_are_cells_of_the_table(folder):
    out = folder / "filled.csv"
    line = ["impute", str(folder / "run"), str(folder / "people.csv"), "--samples", "100", "--out", str(out)]
    assert main([*line, "--draws", "2"]) == 0
    table = read(out)
    given = [None if v == " NA " else v for v in people()["job"]]
    assert len(table["job"]) == 2 * len(given)
    for got, known in zip(table["job"], given * 2, strict=True):
        assert got == known if known else got in ("clerk", "nurse", "teacher")


@pytest.mark.filterwarnings("ignore:for .* examples Pareto k")
@pytest.mark.parametrize("words", [("False", "True"), ("false", "true"), ("no", "yes"), ("0", "1")])
def test_outputs_have_the_words_and_the_decimals_of_the_source(tmp_path, words):
    r = np.random.default_rng(0)
    truth, price = r.random(200) < 0.5, np.exp(r.normal(3, 1, 200)).round(2)
    hole = r.random((2, 200)) < 0.2
    columns = {
        "paid": [None if gone else words[int(v)] for v, gone in zip(truth, hole[0], strict=True)],
        "price": [None if gone else f"{v:.2f}" for v, gone in zip(price, hole[1], strict=True)],
        "weight": r.normal(70, 9, 200).round(1).tolist(),
    }
    write(tmp_path / "sold.csv", columns)
    run, out = tmp_path / "run", tmp_path / "out.csv"
    assert main(["fit", str(tmp_path / "sold.csv"), *OPTIONS, "--out", str(run)]) == 0
    write(tmp_path / "new.csv", {**columns, "weight": [500.123, *columns["weight"][1:]]})
    for line in (["sample", "-n", "50", "--complete"], ["sample", "-n", "20", "--mean"], ["reconstruct"], ["impute"]):
        other = [str(tmp_path / "new.csv"), "--samples", "100"] if line == ["impute"] else []
        assert main([line[0], str(run), *other, *line[1:], "--out", str(out)]) == 0
        table = read(out)
        assert set(table["paid"]) <= set(words), line
        assert all(float(v) == round(float(v), 2) for v in table["price"]), line
        assert all(float(v) == round(float(v), 1) for v in table["weight"][1:]), line
    assert float(table["weight"][0]) == 500.123  # what was observed stays as it is
    assert [float(v) for v, gone in zip(table["price"], hole[1], strict=True) if not gone] == price[~hole[1]].tolist()


def test_the_costs_of_the_columns_add_up_to_the_reconstruction_error(folder):
    run = nelbo.load(folder / "run")
    held = run.data.validation.take(30)
    costs = error_per_column(run, held)
    assert list(costs) == list(KINDS)
    terms = elbo_terms(run, held)
    assert sum(map(float, costs.values())) == pytest.approx(float(terms.reconstruction_error.value.mean()), rel=1e-5)
    assert all(cost.error > 0 for cost in costs.values())
    with pytest.raises(ValueError, match="rows of columns"):
        error_per_column(nelbo.recipes.vae((1, 4, 4), hidden=(4,)), torch.zeros(3, 1, 4, 4))


def test_the_report_has_a_row_for_each_column_and_judges_synthetic_rows(folder):
    run = nelbo.load(folder / "run")
    report = nelbo.measure.report(run, effort="quick", examples=40)
    sections = {section.id: section for section in report.sections}
    assert {row.label for row in sections["columns"].rows} == set(KINDS)
    ids = {row.id for row in sections["synthetic"].rows}
    assert ids == {"column_shapes", "pair_trends", "tstr_job", "tstr_smokes", "tstr_zip"}
    assert "density" in sections["columns"].finding
    done = "real ones standardized; positive ones divided by the mean; bounded ones scaled to [0, 1]"
    assert dict(report.facts)["preparation"] == f"Each column by itself: {AS_THEY_ARE}; {done}."
    report.to_json()
    assert "one-hot" in sections["samples"].lead
    assert "outside-support" not in [finding.id for finding in nelbo.diagnose(run, examples=100).findings]


def test_shapes_and_trends_are_1_of_the_same_rows_and_fall_with_what_differs():
    data = nelbo.data.load(people(1000, holes=False), columns="all", validation=0)
    x = data.train.take(1000)
    kinds = data.kinds
    same = table_match(x, x, kinds)
    assert (float(same.shape), float(same.trend)) == (1.0, 1.0)
    place = list(kinds).index("height")
    twice = x.clone()
    twice[:, place] += 10
    moved = table_match(twice, x, kinds)
    assert float(moved.shapes["height"]) == pytest.approx(0.0, abs=1e-9)
    assert float(moved.shapes["job"]) == 1.0
    assert moved.shape.error > 0
    with pytest.raises(ValueError, match="columns of kinds"):
        table_match(x[:, :2], x, kinds)


def test_what_is_learned_from_synthetic_rows_is_tested_on_real_ones():
    data = nelbo.data.load(network(1500), columns="all", validation=0)
    x, kinds = data.train.take(1500), data.kinds
    same = train_on_synthetic(x[:600], x[:600], x[1000:], kinds, "season")
    assert float(same.difference) == 0.0
    assert float(same.real) > float(same.constant) + 5 * same.real.error  # the temperature tells
    shuffled = x[:600].clone()
    shuffled[:, 0] = shuffled[torch.randperm(600, generator=torch.Generator().manual_seed(0)), 0]
    useless = train_on_synthetic(shuffled, x[:600], x[1000:], kinds, "season")
    assert float(useless.difference) < -5 * useless.difference.error
    holes = x[:600].masked_fill(torch.rand(600, 5, generator=torch.Generator().manual_seed(1)) < 0.2, torch.nan)
    assert float(train_on_synthetic(holes, holes, x[1000:], kinds, "season").real) > float(same.constant)
    with pytest.raises(ValueError, match="target must be one of 'season'"):
        train_on_synthetic(x, x, x, kinds, "temperature")


def trained(rows, *, epochs, types=None, latent=4, hidden=(64, 64), batch_size=200):
    data = nelbo.data.load(rows, columns="all", types=types, validation=0)
    model = nelbo.recipes.table_vae(data, latent=latent, hidden=hidden)
    settings = {"batch_size": batch_size, "learning_rate": 3e-3, "schedule": "cosine"}
    return nelbo.fit(model, data, epochs=epochs, progress=False, seed=0, **settings)


def short_of(run, rows, log_prob, n, samples=500):
    """How many nats per row the model lies below the truth, and the standard error."""
    held = run.examples(rows).take(n)
    found = log_evidence(run, held, samples=samples).value.double()
    in_units = found - float(np.log(run.origin["preparation"]["std"]).sum())  # densities of the columns as stored
    short = torch.from_numpy(log_prob(rows)[:n]) - in_units
    return float(short.mean()), float(short.std() / n**0.5)


@pytest.mark.filterwarnings("ignore:for .* examples Pareto k")
def test_a_short_training_comes_near_the_known_log_p_of_a_latent_class_model():
    options = {"epochs": 10, "batch_size": 50, "latent": 3, "hidden": (32,)}
    run = trained(classes(4000, seed=1), types={"visits": "count"}, **options)
    short, error = short_of(run, classes(200, seed=2), classes_log_prob, 200, samples=200)
    assert -4 * error < short < 0.3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:for .* examples Pareto k")
@pytest.mark.parametrize(
    ("draw", "log_prob", "types"), [(network, network_log_prob, None), (classes, classes_log_prob, {"visits": "count"})]
)
def test_held_out_log_p_is_that_of_the_truth(draw, log_prob, types):
    run = trained(draw(20_000, seed=1), epochs=25, types=types)
    short, error = short_of(run, draw(2000, seed=2), log_prob, 2000)
    assert short < max(0.1, 3 * error)
    assert short > -4 * error


@pytest.mark.slow
def test_samples_pass_the_conditional_tables_of_the_network():
    run = trained(network(20_000, seed=1), epochs=25)
    table = run.table(sample(run.model, 20_000, seed=3))
    truth = network(20_000, seed=4)
    for names in (("season", "rain"), ("season", "rain", "sprinkler"), ("rain", "sprinkler", "wet")):
        for cell in itertools.product(*(sorted(set(truth[name])) for name in names)):
            shares = [np.all([np.asarray(rows[n]) == v for n, v in zip(names, cell, strict=True)], 0).mean()
                      for rows in (table, truth)]  # fmt: skip
            error = (2 * max(shares) / 20_000) ** 0.5
            assert abs(shares[0] - shares[1]) < 0.01 + 4 * error


@pytest.mark.slow
def test_equal_columns_stay_equal_and_a_line_stays_a_line():
    r = np.random.default_rng(0)
    word = [("a", "b", "c", "d")[i] for i in r.integers(0, 4, 2000)]
    run = trained({"a": word, "b": word}, epochs=60, latent=2)
    table = run.table(run.sample(1000))
    assert np.mean(table["a"] == table["b"]) >= 0.95
    x = r.permutation(np.arange(1000.0)) + 0.5
    run = trained({"x": x.tolist(), "y": (2 * x).tolist()}, epochs=100, latent=2)
    table = run.table(run.sample(1000))
    assert np.abs(2 * table["x"] - table["y"]).mean() < 40
