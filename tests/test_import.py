"""import nelbo changes nothing for anyone else, and costs little."""

import ast
import graphlib
import json
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

SOURCE = Path(__file__).parents[1] / "src" / "nelbo"

STATE = """
import logging, warnings, json, random
import numpy as np, torch
def state():
    return [
        torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.get_rng_state().sum().item(), torch.are_deterministic_algorithms_enabled(),
        torch.distributions.Distribution._validate_args, str(torch.distributions.Distribution.arg_constraints),
        torch.backends.cudnn.benchmark, sorted(map(str, torch.distributions.kl._KL_REGISTRY)),
        logging.getLogger().level, len(logging.getLogger().handlers), len(warnings.filters),
        random.getstate()[1][:3], np.random.get_state()[1][:3].tolist(),
    ]
before = state()
import nelbo
for name in nelbo.__all__:
    getattr(nelbo, name)
CODE
after = state()
for b, a in zip(before, after):
    assert b == a, (b, a)
"""


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_import_and_every_public_name_change_no_flag_logger_or_seed():
    done = run(STATE.replace("CODE", ""))
    assert done.returncode == 0, done.stderr


def test_flows_do_not_switch_off_torch_s_argument_validation():
    code = """
nelbo.priors.Flow(2)
try:
    torch.distributions.Normal(0.0, -1.0)
except ValueError:
    pass
else:
    raise SystemExit("Normal(0, -1) was accepted")
torch.set_rng_state(torch.Generator().get_state()); before[3] = torch.get_rng_state().sum().item()
"""
    done = run(STATE.replace("CODE", code))
    assert done.returncode == 0, done.stderr + done.stdout


def test_the_command_line_s_help_imports_no_torch():
    done = run("import sys; from nelbo.cli import main; main(['--help']); raise SystemExit('torch' in sys.modules)")
    assert done.returncode == 0
    assert "demo" in done.stdout


def test_what_reads_tables_is_installed_with_nelbo():
    declared = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text())["project"]
    assert any(line.startswith("pyarrow") for line in declared["dependencies"])


def test_what_takes_seconds_to_import_is_imported_when_it_is_used(tmp_path):
    """matplotlib, pyarrow, pandas, which pyarrow imports, and for torch's optimizers its compiler, for shapes sympy."""
    table = tmp_path / "x.csv"
    table.write_text("a,b,c\n" + "".join(f"{i % 7},{i % 5},{'' if i == 3 else i % 3 / 2}\n" for i in range(40)))
    code = f"""
import sys, torch, nelbo
for name in nelbo.__all__:
    getattr(nelbo, name)
assert not {{"pyarrow", "matplotlib"}} & sys.modules.keys()
vae = nelbo.VAE(nelbo.nn.MLP(3, 2, hidden=[4]), nelbo.nn.MLP(1, 3, hidden=[4]), latent=1,
                likelihood=nelbo.likelihoods.Bernoulli())
x = torch.ones(40, 3)
run = nelbo.fit(vae, nelbo.data.as_data(x), epochs=2, out={str(tmp_path / "run")!r}, progress=False)
run = nelbo.resume({str(tmp_path / "run")!r}, data=run.data, model=vae, epochs=3, progress=False)
nelbo.measure.inference_gap(run.model, x[:4], samples=10, steps=2, progress=False)
nelbo.diagnose(run)
nelbo.kl(torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.0, torch.ones(2)))
nelbo.data.load({str(table)!r}, missing="observed")
nelbo.data.preview({str(table)!r})
assert not {{"torch._dynamo", "sympy", "pandas"}} & sys.modules.keys()
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_the_studio_starts_without_torch():
    done = run("import sys; import nelbo.cli, nelbo.studio.server; raise SystemExit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_lists_the_known_ones():
    done = run("import nelbo; nelbo.vea")
    assert "nelbo has no 'vea'. It has" in done.stderr


def test_dir_shows_public_names_and_submodules_only():
    for module in modules():
        shown = {name for name in dir(module) if not name.startswith("_")}
        public = {name for name in module.__all__ if not name.startswith("_")}
        assert public <= shown
        assert all(isinstance(getattr(module, name), ModuleType) for name in shown - public), module.__name__
        assert all(getattr(module, name).__name__.startswith("nelbo.") for name in shown - public), module.__name__


# --- editors and type checkers ----------------------------------------------------------------------------------------

TYPES = {
    "nelbo.fit(nelbo.recipes.beta_vae((6,), beta=4.0, latent=3), torch.zeros(9, 6), epochs=1)": "Run",
    "nelbo.load('runs/vae')": "Run",
    "nelbo.resume('runs/vae')": "Run",
    "nelbo.recipes.vae((6,), hidden=(8,))": "Model",
    "nelbo.loss(nelbo.recipes.vae((6,)), torch.zeros(9, 6)).nelbo": "Tensor",
    "nelbo.load('runs/vae').model": "Model",
    "nelbo.load('runs/vae').sample(3)": "Tensor",
    "nelbo.kl(torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.0, 1.0))": "Estimate",
    "nelbo.VAE(nelbo.nn.MLP(6, 4), nelbo.nn.MLP(2, 6), latent=2, likelihood=nelbo.likelihoods.Poisson())": "VAE",
    "nelbo.diagnose(nelbo.load('runs/vae'))": "Findings",
    "nelbo.wrap": None,
}
MISTAKES = ["nelbo.vea", "nelbo.recipes.bta_vae", "nelbo.fit(1)", "nelbo.recipes.beta_vae((6,), beta='4')"]


def modules():
    """The package and the public modules that it holds."""
    import nelbo

    return [nelbo, *(member for name in nelbo.__all__ if isinstance(member := getattr(nelbo, name), ModuleType))]


def test_a_type_checker_sees_every_public_name(tmp_path):
    lines = ["import torch", "import nelbo"]
    for module in modules():
        lines += [f"reveal_type({module.__name__}.{name})" for name in module.__all__]
    names = len(lines)
    lines += [f"reveal_type({expression})" for expression in TYPES]
    expressions = len(lines)
    lines += MISTAKES
    (tmp_path / "snippet.py").write_text("\n".join(lines) + "\n")
    settings = {"typeCheckingMode": "standard", "extraPaths": [str(SOURCE.parent)], "include": ["snippet.py"]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "-p",
        str(tmp_path),
        "--pythonpath",
        sys.executable,
    ]
    answers = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    errors: dict[int, str] = {}
    types: dict[int, str] = {}
    for entry in answers["generalDiagnostics"]:
        line = entry["range"]["start"]["line"]
        (errors if entry["severity"] == "error" else types)[line] = entry["message"]
    assert not [(lines[line], text) for line, text in errors.items() if line < expressions]
    for number in range(2, names):
        assert not types[number].endswith(('is "Any"', 'is "Unknown"')), lines[number]
    for number, expected in enumerate(TYPES.values(), names):
        if expected:
            assert types[number].endswith(f'is "{expected}"'), types[number]
        assert "Unknown" not in types[number]
    assert [lines[line] for line in errors] == MISTAKES


def imports():
    """module -> the modules that it imports, within functions too; the front door, which names all, is left out."""
    names = {path: ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts) for path in SOURCE.rglob("*.py")}
    paths = {name.removesuffix(".__init__"): path for path, name in names.items()}
    graph = {}
    for module, path in paths.items():
        names = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                # a submodule is imported by itself, any other name from its package
                names |= {name if name in paths else node.module for name in whole}
        graph[module] = {name for name in names & paths.keys() if name not in ("nelbo", module)}
    return graph


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: sorted(names) for module, names in imports().items()}
    try:
        tuple(graphlib.TopologicalSorter(graph).static_order())
    except graphlib.CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise AssertionError(f"an import circle: {circle}") from None
