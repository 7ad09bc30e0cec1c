"""The command line as a user meets it."""

import json
import re
import shutil

import numpy as np
import pytest

from nelbo import data as nelbo_data
from nelbo import recipes
from nelbo.cli import main
from nelbo.cli.flags import in_flags
from nelbo.docstrings import described
from nelbo.files import exclusive
from nelbo.training import fit


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here):
    assert main(["fit", "digits", "--epochs", "1", "--hidden", "16", "--limit", "200"]) == 0
    return "runs/digits-vae"


def test_fit_writes_a_run_that_says_how_it_was_made(run, here):
    record = json.loads((here / run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["recipe"]["arguments"]["hidden"] == [16]
    assert record["data"]["source"] == "digits"
    lines = [json.loads(line) for line in (here / run / "metrics.jsonl").read_text().splitlines()]
    terms = lines[0]
    assert terms["train_nelbo"] == pytest.approx(terms["train_reconstruction_error"] + terms["train_kl"])
    assert record["recipe"]["arguments"]["likelihood"] == "continuous_bernoulli"  # what fits, chosen from the data


def test_a_second_fit_takes_a_free_folder(run, here):
    assert main(["fit", "digits", "--epochs", "1", "--hidden", "16", "--limit", "200"]) == 0
    assert (here / "runs/digits-vae-2/run.json").exists()


def test_runs_lists_what_state_runs_are_in(here, capsys):
    fit(
        recipes.vae((1, 8, 8), hidden=(4,), likelihood="continuous_bernoulli"),
        "digits",
        epochs=2,
        out="runs/done",
        progress=False,
    )
    made = here / "runs" / "done"
    for name in ("killed", "busy", "cut"):
        shutil.copytree(made, here / "runs" / name)
    for name in ("killed", "busy"):
        record = json.loads((here / "runs" / name / "run.json").read_text())
        (here / "runs" / name / "run.json").write_text(json.dumps({**record, "status": "training"}))
    (here / "runs" / "cut" / "run.json").write_text("{")
    with exclusive(here / "runs" / "busy"):
        assert main(["runs", "--json"]) == 1
    said = capsys.readouterr()
    entries = {entry["run"]: entry for entry in json.loads(said.out)}
    states = {"done": "finished", "killed": "interrupted", "busy": "running", "cut": "damaged"}
    assert {run: entry["state"] for run, entry in entries.items()} == {f"runs/{k}": v for k, v in states.items()}
    assert "runs/cut/run.json is not JSON" in said.err
    last = json.loads((made / "metrics.jsonl").read_text().splitlines()[-1])
    assert entries["runs/done"]["nelbo"] == last["validation_nelbo"]
    assert (entries["runs/done"]["epochs"], entries["runs/done"]["of"], entries["runs/done"]["data"]) == (
        2,
        2,
        "digits",
    )
    assert main(["runs", "runs/killed", "runs/done"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.search(r"runs/killed +interrupted +vae +digits +2/2 +[-−]?[\d.]+ ± [\d.]+", "\n".join(lines))
    assert main(["runs", "nowhere"]) == 1
    assert "nowhere is not a folder; write nelbo runs FOLDER" in capsys.readouterr().err


def test_resume_goes_on_to_more_epochs(run, here, capsys):
    assert main(["fit", "--resume", run, "--epochs", "20"]) == 0  # which is also the default of a new run
    assert len((here / run / "metrics.jsonl").read_text().splitlines()) == 20


@pytest.mark.filterwarnings("default")
def test_resume_on_another_machine(run, here, capsys):
    assert main(["fit", "--resume", run, "--epochs", "2", "--device", "cpu", "--threads", "2"]) == 0
    assert re.search(r"^nelbo: .*threads 1 -> 2", capsys.readouterr().err, re.MULTILINE)
    assert len(json.loads((here / run / "run.json").read_text())["machines"]) == 2


@pytest.mark.parametrize("command", ["measure --effort quick", "diagnose", "compare", "sweep"])
def test_what_was_computed_is_shown_where_it_cannot_be_written(run, here, capsys, command):
    name, *words = command.split()
    files = {"measure": "measure.json", "diagnose": "findings.json", "compare": "../comparison.html"}
    blocked = here / run / files.get(name, "sweep.json")
    blocked.mkdir()  # no file can take a folder's place, whoever asks
    capsys.readouterr()
    if name == "sweep":
        arguments = ["digits", "--betas", "1", "--epochs", "1", "--hidden", "16", "--limit", "200", "--out", run]
    else:
        arguments = [run, *([run] if name == "compare" else []), *words]
    assert main([name, *arguments]) == 1
    printed = capsys.readouterr()
    assert "nats" in printed.out or "findings" in printed.out
    assert re.search(rf"nelbo: not written: .*{blocked.name}: Is a directory; write elsewhere with --out", printed.err)


@pytest.fixture
def killed(run, here):
    """A run as a power cut leaves it after the first of three epochs."""
    record = json.loads((here / run / "run.json").read_text())
    record["status"], record["training"]["epochs"] = "training", 3
    (here / run / "run.json").write_text(json.dumps(record))
    (here / run / "weights.safetensors").unlink()
    return run


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    "command", ["sample", "reconstruct", "embed", "measure", "compare", "diagnose", "export inspector"]
)
def test_a_run_that_did_not_finish_is_taken_from_its_checkpoint(killed, here, capsys, command):
    name, *words = command.split()
    more = {"compare": [killed], "measure": ["--effort", "quick", "--no-diagnose"], "export": ["out.html"]}
    assert main([name, *words, killed, *more.get(name, [])]) == 0
    printed = capsys.readouterr()
    said = "these are the weights of its last checkpoint, after 1 of 3 epochs"
    assert name == "export" or said in " ".join((printed.out + printed.err).split())
    assert (here / killed / "weights.safetensors").exists() is False


@pytest.mark.parametrize("suffix", ["png", "npy", "parquet", "csv"])
@pytest.mark.parametrize("command", ["sample", "reconstruct", "embed"])
def test_outputs_in_every_format(run, here, command, suffix):
    assert main([command, run, "--out", f"out.{suffix}"]) == 0
    assert (here / f"out.{suffix}").stat().st_size > 100


def test_numbers_in_the_files_are_the_model_s(run, here):
    from nelbo import load

    assert main(["embed", run, "--out", "z.npy"]) == 0
    loaded = load(run)
    x = loaded.data.validation.take(len(loaded.data.validation))
    np.testing.assert_array_equal(np.load("z.npy", allow_pickle=False), loaded.encode(x).cpu().numpy())
    assert main(["sample", run, "-n", "7", "--out", "x.npy", "--seed", "3"]) == 0
    assert main(["sample", run, "-n", "7", "--out", "again.npy", "--seed", "3"]) == 0
    assert np.load("x.npy").shape == (7, 1, 8, 8)
    np.testing.assert_array_equal(np.load("x.npy"), np.load("again.npy"))


def test_other_data_pass_through_a_run_s_model(run, here):
    np.save("mine.npy", np.zeros((5, 8, 8), dtype=np.uint8) + 36 * np.arange(8, dtype=np.uint8))
    assert main(["embed", run, "mine.npy", "--out", "z.npy"]) == 0
    assert np.load("z.npy").shape == (5, 2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit"], "needs DATA: mnist5k, digits, mnist or a path"),
        (["fit", "digitz"], "Did you mean 'digits'"),
        (["fit", "no_such_file.npy", "--device", "nowhere"], "device must be 'auto' or one of"),
        (["fit", "digits", "--likelihood", "bernouli"], "did you mean 'bernoulli'"),
        (["fit", "digits", "--likelihood", "bernoulli"], "--likelihood continuous_bernoulli, or --binarize"),
        (["fit", "digits", "--recipe", "beta_vae", "--warm-up", "30"], "Train for --epochs 30 or more"),
        (["fit", "digits", "--beta", "4"], "--beta is for beta_vae, beta_tc_vae; got --recipe vae"),
        (["fit", "digits", "--epochs", "0"], "epochs must be a positive integer, got 0"),
        (["fit", "digits", "--batch-size", "0"], "--batch-size must be a positive integer, got 0"),
        (["fit", "digits", "--scale", "1", "--binarize", "static"], "--binarize static expects values in [0, 1]"),
        (
            ["fit", "digits", "--scale", "1", "--binarize", "static"],
            "--scale 0.0625, or drop --binarize",
        ),
        (["fit", "digits", "--key", "x"], "--key x applies to .npz"),
        (["fit", "digits", "--network", "conv", "--channels", "8", "8", "8", "8"], "can be halved 3 times, got 4"),
        (["fit", "--resume", "nowhere"], "nowhere is not a directory"),
        (["fit", "--resume", "nowhere", "--latent", "3"], "leave out --latent"),
        (["sample", "."], "has no run.json, so it is not a run of nelbo"),
        (
            ["fit", "digits", "--hidden", "1000000000"],
            "has 64,000,000,000 weights, which take 476.8 GiB",
        ),
        (["kl", "Mixture(" + " + ".join(["Normal(0, 1)"] * 1000) + ")", "Normal(0, 1)"], "at most 200 members"),
    ],
)
def test_mistakes_end_in_a_sentence(here, capsys, arguments, words):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert not (here / "runs").exists()


def test_output_mistakes(run, here, capsys):
    assert main(["sample", run, "--out", "x.gif"]) == 1
    assert "--out must end in .png, .npy, .parquet or .csv, got 'x.gif'" in capsys.readouterr().err
    assert main(["embed", run, "--split", "test"]) == 1
    assert "have no test part; they have: train, validation. Write --split train" in capsys.readouterr().err
    np.save("wide.npy", np.zeros((5, 12), dtype=np.float32))
    assert main(["embed", run, "wide.npy"]) == 1
    error = capsys.readouterr().err
    assert "shape (1, 8, 8), as the run was trained on, got an array of shape (5, 12)" in error
    assert "nelbo fit wide.npy" in error


@pytest.mark.parametrize("p", ["Binomial(1e9, 0.5)", "Poisson(1e15)", "Geometric(1e-9)"])
def test_counts_that_spread_too_far_to_be_summed_are_drawn(p, capsys):
    assert main(["kl", p, p.replace("1e", "1.0001e")]) == 0
    assert "monte carlo" in capsys.readouterr().out


def test_advice_of_kl_is_for_the_shell(here, capsys):
    assert main(["kl", "Poisson(1e15)", "Poisson(1.1e15)", "--plot", "kl.png"]) == 1
    error = capsys.readouterr().err
    assert "spreads over" in error
    assert "Leave out --plot" in error
    assert "method=" not in error


def test_messages_in_the_shell_have_the_shell_s_lines(here, capsys):
    (here / "notes.txt").write_text("1")
    (here / "table.csv").write_text("a,b\n1.5,-2\n3,400\n5,9\n")
    assert main(["fit", "notes.txt"]) == 1
    assert "as_data" not in capsys.readouterr().err
    assert main(["fit", "table.csv", "--validation", "0", "--likelihood", "bernoulli"]) == 1
    assert "What fits: --likelihood normal, with --standardize for the data" in capsys.readouterr().err
    np.save("holes.npy", np.array([[1, np.nan], [2, 3]]))
    assert main(["fit", "holes.npy"]) == 1
    assert "drop those examples from the file, or fill them in" in capsys.readouterr().err
    np.save("one.npy", np.zeros(9))
    assert main(["fit", "one.npy"]) == 1
    assert "np.save(path, x.reshape(-1, 1)), for 9 examples" in capsys.readouterr().err
    assert main(["fit", "table.csv", "--binarize", "dynamic"]) == 1
    assert "drop --binarize and write --standardize" in capsys.readouterr().err


def test_resume_says_that_a_run_is_complete(run, here, capsys):
    before = (here / run / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["fit", "--resume", run]) == 0
    assert capsys.readouterr().out == (
        f"{run} is complete: it was trained for 1 epoch.\nTrain on with:    nelbo fit --resume {run} --epochs 2\n"
    )
    assert (here / run / "metrics.jsonl").read_bytes() == before


def test_resume_tells_how_the_data_have_changed(here, capsys):
    np.save("mine.npy", np.random.default_rng(0).normal(size=(50, 3)))
    assert main(["fit", "mine.npy", "--epochs", "1", "--hidden", "8", "--out", "r"]) == 0
    np.save("mine.npy", np.zeros((51, 3)))
    assert main(["fit", "--resume", "r", "--epochs", "2"]) == 1
    error = capsys.readouterr().err
    assert "mine.npy has changed since the run was trained on it: there were 50 examples, and are 51" in error
    assert "sha256" not in error


@pytest.mark.parametrize(
    ("message", "typed"),
    [
        ("write binarize='static'", "write --binarize static"),
        ("scale=1/16 or scale=None", f"--scale {1 / 16} or no --scale"),
        ("columns=['a', 'b'], or columns=[...]", "--columns a b, or --columns ..."),
        ("standardize=True; another out=", "--standardize; another --out"),
        ("the batch_size is 3 of scale 1", "the --batch-size is 3 of scale 1"),
        ("np.load(path, out=np.zeros(3, scale=1))", "np.load(path, out=np.zeros(3, scale=1))"),
        ("rescale=2 and 'batch_size' in runs/batch_size", "rescale=2 and 'batch_size' in runs/batch_size"),
    ],
)
def test_settings_in_a_message_become_flags(message, typed):
    flags = ["--binarize", "--scale", "--columns", "--standardize", "--out", "--batch-size"]
    assert in_flags(message, flags) == typed


@pytest.mark.parametrize("function", [nelbo_data.load, recipes.compose, fit, *recipes.RECIPES.values()])
def test_every_flag_has_its_sentence(function):
    """A keyword without a line in its docstring would be a flag without help."""
    import inspect

    keywords = {
        name for name, p in inspect.signature(function).parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    if function in recipes.RECIPES.values():  # the rest is documented by compose
        keywords -= inspect.signature(recipes.compose).parameters.keys()
    assert keywords <= described(function).keys()
    assert all(described(function)[name] for name in keywords)
