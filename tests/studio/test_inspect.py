"""What the inspector's page asks and gets, on runs on disk."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import nelbo
from nelbo.studio.library import Library
from nelbo.studio.session import Session
from tests.studio.runs import small_run


def numbers(buffer):
    return np.frombuffer(buffer, dtype="<f4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two small runs on the 8x8 digits, as a folder of runs."""
    out = tmp_path_factory.mktemp("runs")
    data = nelbo.data.load("digits", binarize="threshold", limit=200)
    for seed, name in ((0, "first"), (1, "second")):
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            model = nelbo.recipes.vae(data.event_shape, hidden=(16,))
        nelbo.fit(model, data, epochs=2, seed=seed, out=out / name, progress=False)
    return out


@pytest.fixture(scope="module")
def session(folder):
    return Session([folder])


@pytest.fixture
def ask(session):
    def ask(kind, buffers=(), **content):
        reply = session.ask({"kind": f"inspect.{kind}", "id": 1, **content}, buffers)
        assert "error" not in reply.content, reply.content
        json.dumps(reply.content, allow_nan=False)
        return reply

    return ask


@pytest.fixture
def refused(session):
    def refused(kind, buffers=(), **content):
        return session.ask({"kind": f"inspect.{kind}", "id": 1, **content}, buffers).content["error"]

    return refused


def test_the_list_of_runs(ask, folder):
    entries = ask("runs").content["runs"]
    assert [entry["title"] for entry in entries] == ["first", "second"]
    last = json.loads((folder / "first/metrics.jsonl").read_text().splitlines()[-1])
    assert entries[0]["terms"]["kl"] == pytest.approx(last["validation_kl"])
    assert entries[0]["status"] == "finished"


def test_the_numbers_of_an_example_are_those_of_nelbo_loss(ask, folder):
    run = nelbo.load(folder / "first")
    x = run.data.validation.take([3])
    reply = ask("examples", run=str(folder / "first"), rows=[3])
    one = reply.content["examples"][0]
    torch.manual_seed(0)
    with torch.no_grad():
        draws = torch.stack([torch.stack(nelbo.loss(run.model, x)) for _ in range(1000)]).double()[..., 0]
    error = math.hypot(float(draws[:, 2].std()) / 1000**0.5, one["standard_errors"]["nelbo"])
    assert abs(one["nelbo"] - float(draws[:, 2].mean())) < 5 * error
    assert one["kl"] == pytest.approx(float(draws[0, 1]), rel=1e-5)
    assert one["nelbo"] == pytest.approx(one["reconstruction_error"] + one["kl"])
    shown, rebuilt, mean, covariance, errors = (numbers(buffer) for buffer in reply.buffers)
    np.testing.assert_array_equal(shown, x.flatten())
    np.testing.assert_allclose(rebuilt, run.model.reconstruct(x).flatten(), atol=1e-6)
    with torch.no_grad():
        qz = run.model.posterior(x)
    np.testing.assert_allclose(mean, qz.mean[0], rtol=1e-6)
    np.testing.assert_allclose(covariance.reshape(2, 2).diagonal(), qz.variance[0], rtol=1e-5)
    assert errors.astype(float).sum() == pytest.approx(one["reconstruction_error"], rel=1e-5)
    assert sum(one["kl_per_unit"]) == pytest.approx(one["kl"], rel=1e-5)


def test_what_each_feature_costs_at_a_code_and_under_a_q_of_one_s_own(ask, refused, folder):
    name, run = str(folder / "first"), nelbo.load(folder / "first")
    x, z = run.data.validation.take([3]), torch.tensor([0.3, -1.2])
    own = [x.numpy().tobytes(), z.numpy().tobytes()]
    reply = ask("errors", own, run=name)
    with torch.no_grad():
        expected = -run.model.likelihood(z[None]).base_dist.log_prob(x)
    np.testing.assert_allclose(numbers(reply.buffers[0]), expected.flatten(), rtol=1e-5, atol=1e-6)
    assert reply.content["sum"] == pytest.approx(float(expected.sum()), rel=1e-6)
    assert "z must hold 2 numbers, got 1" in refused("errors", [own[0], z[:1].numpy().tobytes()], run=name)
    reply = ask("terms", [*own, (0.3 * torch.eye(2)).numpy().tobytes()], run=name)
    total = numbers(reply.buffers[0]).astype(float).sum()
    assert total == pytest.approx(reply.content["terms"]["reconstruction_error"], rel=1e-5)


def test_the_terms_of_an_example_are_the_same_wherever_they_are_asked_for(folder):
    """In the table, in the row, and in a page that opens later."""
    run = str(folder / "first")

    def answer(kind, **content):
        return session.ask({"kind": f"inspect.{kind}", "id": 1, "run": run, **content})

    session = Session([folder])
    before = [numbers(buffer) for buffer in answer("open").buffers]
    table = answer("refine", rows=[7, 2]).content["examples"]
    rows = answer("examples", rows=[2, 7]).content["examples"]
    after = [numbers(buffer) for buffer in answer("open").buffers]
    for i, name in enumerate(("reconstruction_error", "kl", "nelbo"), 2):
        assert [one[name] for one in table] == [one[name] for one in reversed(rows)]
        assert [one["standard_errors"][name] for one in table] == [one["standard_errors"][name] for one in rows[::-1]]
        assert after[i][[7, 2]].tolist() == [np.float32(one[name]) for one in table]
        assert after[i + 3][[7, 2]].tolist() == [np.float32(one["standard_errors"][name]) for one in table]
        others = [row for row in range(20) if row not in (7, 2)]
        assert after[i][others].tolist() == before[i][others].tolist()
    assert after[8][[7, 2, 0]].tolist() == [1024, 1024, 8]
    assert bool((after[5][[7, 2]] < before[5][[7, 2]]).all())  # more draws, less error


def test_opening_a_run(ask, folder):
    reply = ask("open", run=str(folder / "first"))
    content, n = reply.content, reply.content["n"]
    assert (n, content["latent"], content["event"], content["axes"]) == (20, 2, [1, 8, 8], [0, 1])
    assert content["in_page"] == {"decoder": True, "encoder": True}
    assert content["posterior_form"]["family"] == "diagonal_normal"
    assert content["picture"] == {"family": "bernoulli"}
    mean, _, error, kl, nelbo_, *_, draws, labels = (numbers(buffer) for buffer in reply.buffers)
    assert len(mean) == 2 * n
    np.testing.assert_allclose(error + kl, nelbo_, rtol=1e-5)
    assert set(labels.astype(int)) <= set(range(10))
    assert set(draws.astype(int)) <= {content["draws"], 1024}
    assert content["of"] == n
    assert content["totals"]["kl"]["mean"] == pytest.approx(float(kl.mean()), rel=1e-5)


def test_the_weights_decode_as_the_model_does(ask, folder):
    """What the browser does with the steps, done with numpy."""
    reply = ask("weights", run=str(folder / "first"), part="decoder")
    z = np.array([0.3, -1.2], dtype=np.float32)
    h, buffers = z, list(reply.buffers)
    for step in reply.content["steps"]:
        if step["kind"] == "dense":
            weight = numbers(buffers.pop(0)).reshape(step["outputs"], step["inputs"])
            h = weight @ h + numbers(buffers.pop(0))
        else:
            assert step == {"kind": "relu"}
            h = np.maximum(h, 0)
    expected = ask("decode", [z.tobytes()], run=str(folder / "first"))
    np.testing.assert_allclose(1 / (1 + np.exp(-h)), numbers(expected.buffers[0]), atol=1e-6)


def test_an_input_of_one_s_own(ask, refused, folder):
    x = np.zeros(64, dtype=np.float32)
    x[10:20] = 1
    one = ask("encode", [x.tobytes()], run=str(folder / "first")).content["examples"][0]
    assert one["row"] is None
    assert one["nelbo"] > 0
    assert "values in {0, 1}" in refused("encode", [(x + 0.5).tobytes()], run=str(folder / "first"))
    assert "an input has 64 values, got 3" in refused("encode", [x[:3].tobytes()], run=str(folder / "first"))
    assert "NaN" in refused("encode", [(x * np.nan).tobytes()], run=str(folder / "first"))


def test_layers_over_a_plane(ask, folder):
    reply = ask(
        "plane",
        run=str(folder / "first"),
        low=[-3, -3],
        high=[3, 3],
        n=8,
        layers=["prior", "aggregate", "decoded", "stretch"],
    )
    assert [len(numbers(buffer)) for buffer in reply.buffers] == [64, 64, 64 * 64, 64]
    corner = -math.log(2 * math.pi) - (3 - 3 / 8) ** 2
    assert numbers(reply.buffers[0])[0] == pytest.approx(corner, rel=1e-5)


def test_two_runs_are_aligned(ask, folder):
    found = ask("align", run=str(folder / "first"), other=str(folder / "second")).content
    rotation = np.array(found["rotation"])
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(2), atol=1e-9)
    assert 0 <= found["unexplained"] <= 1


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        ("open", {"run": "/etc"}, "no run '/etc' here"),
        ("open", {"run": 3}, "no run 3 here"),
        ("open", {"run": None}, "missing 'run'"),
        ("examples", {"rows": [20]}, "from 0 to 19"),
        ("examples", {"rows": "all"}, "from 0 to 19"),
        ("examples", {"rows": [1] * 65}, "at most 64"),
        ("refine", {"rows": [20]}, "from 0 to 19"),
        ("open", {"split": "holdout"}, "have no holdout part"),
        ("weights", {"part": "all"}, "'decoder' or 'encoder'"),
        ("plane", {"low": [0, 0], "high": [0, 1], "layers": ["prior"]}, "low ends must lie below"),
        ("plane", {"low": [0, 0], "high": [1, float("nan")], "layers": ["prior"]}, "2 finite numbers"),
        ("plane", {"low": [0, 0], "high": [1, 1], "layers": ["posterior"]}, "layers must be some of"),
        ("plane", {"low": [0, 0], "high": [1, 1], "layers": ["prior"], "n": 10**6}, "from 2 to 128"),
        ("plane", {"low": [0, 0], "high": [1, 1], "layers": ["prior"], "axes": [0, 7]}, "different latent dimensions"),
        ("decode", {}, "buffer 0 holds no float32"),
    ],
)
def test_mistakes_are_answered(refused, folder, kind, content, words):
    given = {"run": str(folder / "first"), **content}
    assert words in refused(kind, **{name: value for name, value in given.items() if value is not None})


def test_a_run_deleted_while_open_still_serves(folder, tmp_path):
    shutil.copytree(folder / "first", tmp_path / "gone")
    session = Session([tmp_path])
    name = str(tmp_path / "gone")
    assert "error" not in session.ask({"kind": "inspect.open", "id": 1, "run": name}).content
    shutil.rmtree(tmp_path / "gone")
    assert "error" not in session.ask({"kind": "inspect.examples", "id": 2, "run": name, "rows": [0]}).content
    entries = session.ask({"kind": "inspect.runs", "id": 3}).content["runs"]
    assert [entry["status"] for entry in entries if entry["run"] == name] == ["deleted"]


def test_damaged_folders_are_listed_with_what_is_wrong(folder, tmp_path):
    for name in ("cut", "half", "foreign"):
        shutil.copytree(folder / "first", tmp_path / name)
    (tmp_path / "cut/run.json").write_text('{"train')
    weights = tmp_path / "half/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:200])
    (tmp_path / "foreign/run.json").write_text("{}")
    session = Session([tmp_path])
    listed = {entry["title"]: entry for entry in session.ask({"kind": "inspect.runs", "id": 1}).content["runs"]}
    assert "cut short" in listed["cut"]["error"]
    assert "not the record of a run" in listed["foreign"]["error"]
    error = session.ask({"kind": "inspect.open", "id": 2, "run": str(tmp_path / "half")}).content["error"]
    assert "not a whole safetensors file" in error
    nothing = Session([tmp_path / "nowhere"])
    assert "is not a directory" in nothing.ask({"kind": "inspect.runs", "id": 1}).content["runs"][0]["error"]


def test_a_run_is_meant_by_its_name_or_its_folder(folder, tmp_path):
    """Links hold names: they survive a studio that is started elsewhere."""
    for place in ("a/first", "b/first", "b/second"):
        shutil.copytree(folder / "first", tmp_path / place)
    library = Library([tmp_path])
    names = {Path(entry["run"]).relative_to(tmp_path): entry["name"] for entry in library.entries()}
    assert names == {Path("a/first"): "a/first", Path("b/first"): "b/first", Path("b/second"): "second"}
    second = str(tmp_path / "b/second")
    for written in ("second", "b/second", second):
        assert library.named(written) == second
        assert library.folder(written) == tmp_path / "b/second"
        assert library.inspection(written) is library.inspection(second)
    for written, words in (
        ("first", "may be any of"),
        ("third", "no run 'third' here"),
        ("", "no run ''"),
        (3, "no run 3"),
    ):
        with pytest.raises(ValueError, match=words):
            library.named(written)
    relative = Library([Path("b/second")])  # as typed where the studio was started
    assert relative.named(second) == "b/second"


def test_a_run_in_memory():
    session = Session()
    name = Library.of(session).add(small_run("autoencoder"))
    reply = session.ask({"kind": "inspect.open", "id": 1, "run": name})
    assert reply.content["is_point"] is True
    assert reply.content["totals"]["kl"]["mean"] is None
    one = session.ask({"kind": "inspect.examples", "id": 2, "run": name, "rows": [0]}).content["examples"][0]
    assert one["kl"] is None
    assert one["reconstruction_error"] > 0


@pytest.mark.parametrize(
    ("likelihood", "coding"), [("bernoulli", "bits"), ("poisson", "counts"), ("normal_fixed", "floats")]
)
def test_inputs_travel_exactly_in_few_bytes(likelihood, coding):
    session = Session()
    run = small_run(likelihood=likelihood)
    name = Library.of(session).add(run)
    reply = session.ask({"kind": "inspect.inputs", "id": 1, "run": name})
    assert reply.content["coding"] == coding
    x = run.data.validation.take(range(40)).flatten().numpy()
    packed = reply.buffers[0]
    read = {
        "bits": lambda: np.unpackbits(np.frombuffer(packed, np.uint8))[: x.size],
        "counts": lambda: np.frombuffer(packed, np.uint8),
        "floats": lambda: np.frombuffer(packed, "<f4"),
    }
    np.testing.assert_array_equal(read[coding](), x)
