"""A table with empty cells, from fit to report, findings and a filled table."""

import csv

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow.csv import read_csv, write_csv
from pyarrow.parquet import write_table

import nelbo
from nelbo.cli import main
from nelbo.estimate import Estimate
from nelbo.measure import independent_features, log_evidence, per_observed
from tests.linear_gaussian import LinearGaussian
from tests.missing.holes import vae_of, with_holes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of a table with holes: columns of quite different units, and one of whole numbers."""
    folder = tmp_path_factory.mktemp("holes")
    x = LinearGaussian.random(features=4, latent=2).sample(300)
    x = x * torch.tensor([1.0, 100.0, 0.01, 10.0]) + torch.tensor([0.0, 5000.0, 1.0, 30.0])
    x[:, 3] = x[:, 3].round()
    holes = with_holes(x, 0.3)
    with (folder / "people.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["height", "income", "rate", "age"])
        writer.writerows([["" if np.isnan(value) else value for value in row] for row in holes.tolist()])
    line = [str(folder / "people.csv"), "--missing", "observed", "--standardize", "--epochs", "3", "--hidden", "8"]
    assert main(["fit", *line, "--samples", "3", "--out", str(folder / "run")]) == 0
    return folder


def test_fit_chooses_a_model_that_takes_missing_values_and_says_so(folder, capsys):
    assert main(["fit", str(folder / "people.csv"), "--missing", "observed", "--standardize", "--epochs", "1",
                 "--recipe", "beta_vae", "--hidden", "8", "--out", str(folder / "beta")]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "values are missing: --recipe beta_vae, whose encoder is told which" in said
    run = nelbo.load(folder / "run")
    assert run.record["recipe"]["name"] == "missing_vae"
    assert run.model.takes_missing
    assert nelbo.load(folder / "beta").model.takes_missing


def test_report_and_findings_are_of_what_was_observed(folder):
    run = nelbo.load(folder / "run")
    report = nelbo.measure.report(run, effort="quick", examples=30)
    rows = {row.id: row for section in report.sections for row in section.rows}
    held = run.data.validation.take(30)
    n = int((~held.isnan()).sum())
    whole, each = rows["log_evidence"].values["held_out"], rows["evidence_per_value"].values["held_out"]
    assert float(each) == pytest.approx(float(whole) * 30 / n, rel=1e-6)
    assert all(np.isfinite(float(estimate)) for row in rows.values() for estimate in row.values.values())
    findings = nelbo.diagnose(run, examples=200)
    assert "not-finite" not in [finding.id for finding in findings.findings]
    assert findings.skipped["one-sigma"] == "needs examples without missing values"


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_impute_writes_the_table_in_its_names_and_units(folder, suffix, capsys):
    from pyarrow import csv as pa_csv
    from pyarrow import parquet

    out = folder / f"filled{suffix}"
    assert main(["impute", str(folder / "run"), str(folder / "people.csv"), "--samples", "200", "--out", str(out)]) == 0
    assert "missing values in 300 examples filled in" in capsys.readouterr().out
    read = pa_csv.read_csv if suffix == ".csv" else parquet.read_table
    table, source = read(out), pa_csv.read_csv(folder / "people.csv")
    assert table.column_names == ["row", "height", "income", "rate", "age", "ess"]
    for name in ("height", "income", "rate", "age"):
        before, after = (part[name].to_numpy(zero_copy_only=False).astype(float) for part in (source, table))
        seen = ~np.isnan(before)
        assert np.array_equal(before[seen], after[seen])
        assert np.isfinite(after).all()
        assert abs(after[~seen].mean() - before[seen].mean()) < 2 * before[seen].std()
    complete = ~np.isnan(np.column_stack([source[name].to_numpy(zero_copy_only=False) for name in source.column_names]))
    assert np.array_equal(np.isnan(table["ess"].to_numpy(zero_copy_only=False)), complete.all(1))


def test_impute_writes_draws_below_each_other(folder):
    run = nelbo.load(folder / "run")
    n = len(run.data.validation)
    out = folder / "draws.npy"
    assert main(["impute", str(folder / "run"), "--draws", "3", "--samples", "200", "--out", str(out)]) == 0
    drawn = np.load(out)
    assert drawn.shape == (3, n, 4)
    assert not np.isnan(drawn).any()
    missing = run.data.validation.take(n).isnan().numpy()
    assert (drawn.std(0)[missing] > 0).all()
    assert np.array_equal(drawn[0][~missing], drawn[2][~missing])


def test_a_column_without_any_value_is_imputed_and_not_trained_on(folder):
    x = np.genfromtxt(folder / "people.csv", delimiter=",", skip_header=1, dtype=np.float32)[:20]
    x[:, 3] = np.nan
    np.save(folder / "ages.npy", x)
    line = [str(folder / "run"), str(folder / "ages.npy"), "--samples", "200", "--out", str(folder / "told.npy")]
    assert main(["impute", *line]) == 0
    assert not np.isnan(np.load(folder / "told.npy")).any()
    assert main(["fit", str(folder / "ages.npy"), "--missing", "observed", "--out", str(folder / "none")]) == 1


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_empty_column_of_a_new_table_was_not_observed(folder, kind, capsys):
    with (folder / "people.csv").open() as file:
        names = next(csv.reader(file))
    table = read_csv(folder / "people.csv").slice(0, 20).drop_columns(names[-1:])
    write = write_csv if kind == "csv" else write_table
    path, line = folder / f"new.{kind}", ["impute", str(folder / "run"), str(folder / f"new.{kind}")]
    write(table, path)
    assert main(line) == 1
    assert "An empty column of that name stands for values that were not observed" in capsys.readouterr().err
    write(table.append_column(names[-1], pa.nulls(20)), path)
    assert main([*line, "--samples", "200", "--out", str(folder / "new_told.csv")]) == 0
    told = read_csv(folder / "new_told.csv")
    assert told.column(names[-1]).null_count == 0


@pytest.mark.filterwarnings("ignore:for .* Pareto k")  # of a hundred draws
def test_columns_that_are_named_as_ours_keep_their_values(tmp_path):
    rows = [f"{i % 7}.5,{i % 5}.25,{'' if i % 4 == 0 else i}.0,{i / 9}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["row,draw,ess,a", *(r.replace(",.0,", ",,") for r in rows)]))
    line = [str(tmp_path / "t.csv"), "--missing", "observed", "--standardize", "--epochs", "1", "--hidden", "4"]
    assert main(["fit", *line, "--out", str(tmp_path / "run")]) == 0
    out = str(tmp_path / "told.csv")
    assert main(["impute", str(tmp_path / "run"), str(tmp_path / "t.csv"), "--draws", "2", "--samples", "100",
                 "--out", out]) == 0  # fmt: skip
    told = read_csv(out)
    assert told.column_names == ["nelbo_draw", "source_row", "row", "draw", "ess", "a", "nelbo_ess"]
    for name, j in (("row", 0), ("draw", 1)):
        expected = [float(row.split(",")[j]) for row in rows]
        assert told.column(name).to_pylist() == pytest.approx(2 * expected)
    assert told.column("nelbo_draw").to_pylist() == [0] * 60 + [1] * 60


def test_impute_refuses_what_it_cannot_do(folder, capsys):
    assert (
        main(["fit", "digits", "--limit", "100", "--epochs", "1", "--hidden", "4", "--out", str(folder / "plain")]) == 0
    )
    assert main(["impute", str(folder / "plain")]) == 1
    assert "does not take missing values; train one that does: nelbo fit DATA --missing" in capsys.readouterr().err
    assert main(["impute", str(folder / "run"), "--out", "x.png"]) == 1
    assert "--out must end in .csv, .parquet or .npy, got 'x.png'" in capsys.readouterr().err


def test_fit_takes_an_array_with_holes_and_resumes(tmp_path):
    x = with_holes(LinearGaussian.random(features=5, latent=2).sample(200)).float().numpy()
    vae = nelbo.recipes.missing_vae((5,), hidden=(8,), samples=3)
    run = nelbo.fit(vae, x, epochs=2, out=tmp_path / "run", progress=False)
    assert run.data.missing == int(np.isnan(x).sum())
    longer = nelbo.resume(tmp_path / "run", data=x, epochs=3, progress=False)
    assert len(longer.history) == 3
    assert np.isfinite(longer.history[-1]["validation_nelbo"])
    with pytest.raises(ValueError, match="observed"):
        nelbo.fit(nelbo.recipes.vae((5,), likelihood="normal"), x, epochs=1, progress=False)


def test_nats_per_observed_value():
    model = LinearGaussian.random(features=6, latent=2)
    x = with_holes(model.sample(400))
    evidence = log_evidence(vae_of(model), x, progress=False)
    ratio = per_observed(evidence, x)
    assert float(ratio) == pytest.approx(float(evidence.value.sum() / (~x.isnan()).sum()))
    parts = torch.tensor([float(per_observed(evidence[i::20], x[i::20])) for i in range(20)])
    assert ratio.error == pytest.approx(float(parts.std()) / 20**0.5, rel=0.5)
    whole = per_observed(Estimate.exactly(torch.full((5,), -6.0)), torch.zeros(5, 6))
    assert (float(whole), whole.error) == (-1.0, 0.0)


def test_independent_features_of_what_was_observed():
    x = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 3.0])
    holes = with_holes(x)
    level = independent_features(holes, holes).value
    normal = torch.distributions.Normal(0.0, torch.tensor([1.0, 2.0, 3.0]))
    exact = torch.where(holes.isnan(), 0.0, normal.log_prob(holes.nan_to_num())).sum(1)
    torch.testing.assert_close(level.float(), exact, rtol=0.02, atol=0.1)
    ones = with_holes((x > 0).float())
    assert bool(independent_features(ones, ones).value.isfinite().all())


@pytest.mark.filterwarnings("ignore:for .* examples Pareto k")
def test_holes_that_were_asked_for_may_come_later(folder, tmp_path, capsys):
    """A complete table, --missing observed: the model takes the holes of new data."""
    table = read_csv(folder / "people.csv")
    whole = {name: table[name].drop_null().to_numpy()[:90] for name in table.schema.names}
    write_csv(pa.table(whole), tmp_path / "complete.csv")
    line = ["fit", str(tmp_path / "complete.csv"), "--missing", "observed", "--epochs", "1", "--hidden", "8"]
    assert main([*line, "--out", str(tmp_path / "run")]) == 0
    assert "No value is missing, and --missing observed was asked for: --recipe missing_vae" in capsys.readouterr().out
    assert main(["impute", str(tmp_path / "run"), str(folder / "people.csv"), "--samples", "100"]) == 0


def test_a_positive_column_without_a_value_in_new_rows_is_not_observed(tmp_path):
    """Nothing was standardized by it: a row that lacks it could not be read at all."""
    rng = np.random.default_rng(0)
    columns = {"income": np.exp(rng.normal(size=200)).round(3), "job": rng.choice(["a", "b"], 200)}
    columns["income"][::9] = np.nan
    run = nelbo.fit(
        nelbo.recipes.table_vae(data := nelbo.data.load(columns, columns="all")), data, epochs=1, progress=False
    )
    without = {"income": np.full(3, np.nan), "job": columns["job"][:3]}
    whole = {name: values[[0, 1, 2, 3, 9]] for name, values in columns.items()}
    assert run.examples(without).stored([0, 1, 2])[:, 0].isnan().all()
    torch.testing.assert_close(run.encode(without)[0], run.encode(whole)[0])  # row 0 has none either
    with pytest.raises(ValueError, match="income.*greater than 0"):
        nelbo.measure.score_samples(run, {"income": np.full(3, -5.0), "job": columns["job"][:3]})


def test_a_row_without_any_value_has_no_scale(folder):
    x = np.random.default_rng(0).normal(size=(300, 4)).astype("f4")
    x[7] = np.nan
    vae = nelbo.recipes.missing_vae((4,), latent=2, hidden=(8,), likelihood="normal")
    findings = nelbo.diagnose(vae, torch.tensor(x[:200]), held_out=torch.tensor(x[200:]), only=["another-scale"])
    assert not findings
    assert not [e for p in findings.passed for e in p.evidence if "n/a" in str(e)]
