"""import nelbo changes nothing for anyone else, and costs little."""

import subprocess
import sys

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


def test_the_studio_starts_without_torch():
    done = run("import sys; import nelbo.cli, nelbo.studio.server; raise SystemExit('torch' in sys.modules)")
    assert done.returncode == 0, done.stderr


def test_an_unknown_name_lists_the_known_ones():
    done = run("import nelbo; nelbo.vea")
    assert "nelbo has no 'vea'; it has" in done.stderr
