"""Training and measuring on one accelerator, beside the same work by hand and other libraries.

Prints a table for each, then each goal with what was reached, and exits with 1 if nelbo fell short of one. Ratios are
medians of the ratios taken round by round, in brackets their range. What is not called TF32 multiplies matrices in
float32; convolutions have torch's default, which is TF32 on a card that has it, on both sides.

    make bench-gpu
    make bench-gpu WHEELS=folder ARGS="--mnist mnist.npz"    # without network
    python -m benchmarks.gpu --device cpu --quick            # seconds, to see that it runs
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import nelbo
from benchmarks import mnist, referee
from benchmarks.evidence import LATENT, as_pythae, binary, trained
from benchmarks.goals import Goal, Measured, Results, judge, markdown
from benchmarks.turns import Peer, take_turns
from nelbo.devices import pick_device
from nelbo.estimate import Estimate

MLP, CONV, EVIDENCE, QUADRATURE, REPORT = (
    "MLP, s per epoch",
    "convolutions, s per epoch",
    "log p(x) by importance sampling, s",
    "log p(x) by quadrature, s",
    "nelbo measure, s",
)
TABLES = {"mlp": MLP, "conv": CONV, "evidence": EVIDENCE, "quadrature": QUADRATURE, "measure": REPORT}
HAND, CAPTURED, WHOLE = "by hand", "by hand, captured", "by hand, whole step compiled and captured"
LAST, TF32 = ", channels_last", ", TF32"


@dataclass(frozen=True)
class Size:
    """How much is done."""

    images: int
    conv_images: int
    rounds: int
    evidence: tuple[tuple[int, int], ...]
    """Images and draws of each."""
    peer_images: int = 40
    """For which pythae, which takes them one by one, computes log p(x)."""
    fitted: int = 20_000
    """Images that the models which are measured are trained on."""
    quadrature: int = 10_000
    tested: int = 10_000
    demo_epochs: int = 40
    measure: tuple[str, ...] = ("--effort", "thorough")
    compiled: bool = True


SIZES = {
    "cuda": Size(60_000, 60_000, 5, ((1000, 1000), (10_000, 5000))),
    "cpu": Size(60_000, 12_800, 5, ((40, 1000),)),
}
QUICK = Size(
    640, 256, 1, ((4, 50),), 2, 640, 20, 200, 1, ("--effort", "quick", "--examples", "20", "--no-diagnose"), False
)


def work(images: int, draws: int, who: str) -> str:
    """The name of a row of log p(x)."""
    return f"{images:,} images, {draws:,} draws: {who}"


def goals(device: str, size: Size) -> list[Goal]:
    """All goals: what the tables are judged by."""
    first = size.evidence[0]
    ours, pythae, hand = (work(*first, who) for who in ("nelbo", "pythae", HAND))
    if device == "cpu":
        return [
            Goal(MLP, "nelbo", HAND, 1.0),
            Goal(MLP, "nelbo", "JAX, one scan"),
            Goal(MLP, "nelbo", "pythae", 0.4),
            Goal(CONV, "nelbo", HAND + LAST, 1.0),
            Goal(EVIDENCE, ours, pythae, 0.25),
            Goal(EVIDENCE, ours, hand),
            Goal(QUADRATURE, "nelbo", None, 5.0),
        ]
    return [
        Goal(MLP, "nelbo", CAPTURED, 1.05),
        Goal(MLP, "nelbo" + TF32, CAPTURED + TF32, 1.05),
        Goal(MLP, "nelbo, compile=True", WHOLE, 1.05),
        Goal(MLP, "nelbo, compile=True" + TF32, WHOLE + TF32, 1.05),
        Goal(MLP, "nelbo, compile=True" + TF32, "JAX, one scan" + TF32),
        Goal(MLP, "nelbo", "pythae", 0.065),
        Goal(MLP, "nelbo, capture=False", HAND),
        Goal(CONV, "nelbo", CAPTURED + LAST, 1.05),
        Goal(CONV, "nelbo", CAPTURED),
        *(Goal(EVIDENCE, work(*each, "nelbo"), work(*each, HAND), 1.5) for each in size.evidence),
        Goal(EVIDENCE, work(*first, "nelbo, mixture"), hand),
        Goal(EVIDENCE, ours, pythae),
        Goal(QUADRATURE, "nelbo", None, 0.3),
        Goal(REPORT, "nelbo", None, 20.0),
    ]


# --- training: each a process of its own, all on the same device, one epoch at a time by turns -----------------------


def mlp_peers(device: str, size: Size) -> list[Peer]:
    """Who trains the dense network there."""
    place = f"device={device}"

    def ours(name: str, *arguments: str) -> Peer:
        return Peer(name, "benchmarks.peers.mlp_nelbo", (place, *arguments))

    def hand(name: str, *arguments: str) -> Peer:
        return Peer(name, "benchmarks.peers.mlp_loop", (place, *arguments))

    def jax(name: str, *arguments: str) -> Peer:
        return Peer(name, "benchmarks.peers.mlp_jax", (place, *arguments), ("jax", "optax"))

    peers = [
        ours("nelbo"),
        hand(HAND),
        jax("JAX, one scan", "float32"),
        Peer("pythae", "benchmarks.peers.mlp_pythae", (place,), ("pythae",)),
        ours("nelbo, compile=True", "compile"),
    ]
    if device == "cpu":
        peers += [hand("by hand, whole step compiled", "whole")]
    else:
        peers += [
            ours("nelbo, capture=False", "uncaptured"),
            hand(CAPTURED, "captured"),
            hand("by hand, loss compiled, captured", "compile", "captured"),
            hand(WHOLE, "whole", "captured"),
            ours("nelbo" + TF32, "tf32"),
            ours("nelbo, compile=True" + TF32, "compile", "tf32"),
            hand(CAPTURED + TF32, "captured", "tf32"),
            hand(WHOLE + TF32, "whole", "captured", "tf32"),
            jax("JAX, one scan" + TF32),
        ]
    return [peer for peer in peers if size.compiled or not {"compile", "whole"} & set(peer.arguments)]


def conv_peers(device: str, size: Size) -> list[Peer]:
    """Who trains the convolutional network there."""
    name, how = (HAND, ()) if device == "cpu" else (CAPTURED, ("captured",))
    module, place = "benchmarks.peers.conv_loop", f"device={device}"
    return [
        Peer("nelbo", "benchmarks.peers.conv_nelbo", (place,)),
        Peer(name + LAST, module, (place, "channels_last", *how)),
        *([Peer(name, module, (place, *how))] if size.compiled else []),
    ]


def training(
    results: Results,
    table: str,
    peers: Sequence[Peer],
    referee_of: Callable[[Mapping[str, Any], Any], float],
    path: Path,
    *,
    size: Size,
    images: int,
    device: str,
) -> None:
    """Let them train by turns, and give each its row."""
    missing = results.missing.setdefault(table, {})
    rows = results.rows.setdefault(table, {})
    with results.attempt(table, "nelbo"):
        courses = take_turns(
            peers,
            path,
            rounds=size.rounds,
            images=images,
            say=say,
            failures=missing,
            first_together=device != "cpu",  # a machine with a card has processors enough to compile side by side
            limit=180 if device != "cpu" else None,
        )
        x = mnist.test(path)[: size.tested]
        for course in courses:
            rows[course.peer] = Measured(course.seconds, course.first, referee_of(course.weights, x), None, course.note)


# --- measuring: in this process, by turns ----------------------------------------------------------------------------


def by_hand(vae: nelbo.VAE, x: Tensor, draws: int, *, at_once: int) -> Tensor:
    """Log of the mean of p(x, z) / q(z|x) at draws of z from q(z|x), (n,), as a page of torch computes it."""
    found = []
    with torch.inference_mode():
        for part in x.split(max(1, at_once // draws)):
            mu, log_var = vae.encoder(part).chunk(2, dim=1)
            noise = torch.randn(draws, *mu.shape, device=x.device)
            z = mu + torch.exp(0.5 * log_var) * noise
            logits = vae.decoder(z.flatten(0, 1)).view(draws, *part.shape)
            log_px = -F.binary_cross_entropy_with_logits(logits, part.expand_as(logits), reduction="none").sum(-1)
            log_ratio = 0.5 * (noise.square() - z.square() + log_var).sum(-1)  # log p(z) - log q(z|x)
            found.append(torch.logsumexp(log_px + log_ratio, dim=0) - math.log(draws))
    return torch.cat(found)


@contextlib.contextmanager
def tf32(wanted: bool) -> Generator[None]:
    """Within, torch multiplies float32 matrices in TF32, if that is wanted."""
    before = torch.get_float32_matmul_precision()
    if wanted:
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def seconds_of(act: Callable[[], Any], device: str) -> tuple[float, Any]:
    """How long it takes until the device has done it, and what it returned."""
    start = time.perf_counter()
    result = act()
    if device != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - start, result


def by_turns(results: Results, table: str, acts: Mapping[str, Callable[[], Any]], *, rounds: int, device: str) -> None:
    """Do each once, then each in every round, and give each its row."""
    rows = results.rows.setdefault(table, {})
    for number in range(1 + rounds):
        for name in list(acts) if number % 2 == 0 else list(acts)[::-1]:
            if number and name not in rows:
                continue
            with results.attempt(table, name), tf32(name.endswith(TF32)):
                seconds, result = seconds_of(acts[name], device)
                if number == 0:
                    mean, error = _mean_of(result)
                    rows[name] = Measured([], seconds, mean, error)
                else:
                    rows[name].seconds.append(seconds)


def _mean_of(result: Any) -> tuple[float, float | None]:
    """The mean of log p(x), and its standard error over the draws where it is known."""
    if isinstance(result, Estimate):
        return float(result.value.mean()), float(result.standard_error.square().sum().sqrt()) / len(result.value)
    values = torch.as_tensor(result, dtype=torch.float64)
    return float(values.mean()), None


def evidence(results: Results, path: Path, *, size: Size, device: str) -> None:
    """Log p(x) by importance sampling, against by hand and pythae on the same weights."""
    rows = results.rows.setdefault(EVIDENCE, {})
    names = [work(*each, "nelbo") for each in size.evidence]
    with results.attempt(EVIDENCE, *names):
        vae = trained(binary(mnist.train(path)[: size.fitted]), LATENT, device=device)
        test = binary(mnist.test(path)).to(device)
        for i, (images, draws) in enumerate(size.evidence):
            x = test[:images]

            def ours(method: str = "importance", x: Tensor = x, draws: int = draws) -> Any:
                return nelbo.measure.log_evidence(vae, x, method=method, samples=draws, progress=False)

            def theirs(x: Tensor = x, draws: int = draws) -> Tensor:
                return by_hand(vae, x, draws, at_once=2000 if device == "cpu" else 200_000)

            acts: dict[str, Callable[[], Any]] = {work(images, draws, "nelbo"): ours, work(images, draws, HAND): theirs}
            if device != "cpu":  # nelbo measures in float32
                acts[work(images, draws, HAND + TF32)] = theirs
            if i == 0:
                acts[work(images, draws, "nelbo, mixture")] = lambda: ours("mixture")
            by_turns(results, EVIDENCE, acts, rounds=size.rounds if i == 0 else min(3, size.rounds), device=device)
        # pythae takes one image after the other: some are enough
        images, draws = size.evidence[0]
        name, few = work(images, draws, "pythae"), min(images, size.peer_images)
        peer = as_pythae(vae)
        if peer is None:
            results.missing.setdefault(EVIDENCE, {})[name] = "pythae not installed"
            return
        peer.to(device)

        def get_nll() -> float:
            with torch.no_grad():
                return peer.get_nll(test[:few], n_samples=draws, batch_size=100)

        by_turns(results, EVIDENCE, {name: get_nll}, rounds=size.rounds, device=device)
        if name in rows:
            scaled = [each * images / few for each in rows[name].seconds]
            rows[name] = replace(rows[name], seconds=scaled, note=f"{images / few:g} x the time of {few} images")


def quadrature(results: Results, path: Path, *, size: Size, device: str) -> None:
    """Log p(x) of the test images under two latent dimensions."""
    results.rows.setdefault(QUADRATURE, {})
    with results.attempt(QUADRATURE, "nelbo"):
        plane = trained(binary(mnist.train(path)[: size.fitted]), 2, device=device)
        x = binary(mnist.test(path)[: size.quadrature]).to(device)
        acts = {"nelbo": lambda: nelbo.measure.log_evidence(plane, x, method="quadrature", progress=False)}
        by_turns(results, QUADRATURE, acts, rounds=min(3, size.rounds), device=device)
        if rows := results.rows[QUADRATURE]:
            rows["nelbo"].note = f"{len(x):,} images"


def measuring(results: Results, path: Path, *, size: Size, device: str) -> None:
    """``nelbo measure`` of the VAE of ``nelbo demo``, trained on 4,000 images of MNIST and tested on 1,000."""
    rows = results.rows.setdefault(REPORT, {})
    with results.attempt(REPORT, "nelbo"), tempfile.TemporaryDirectory() as folder:
        images, run = Path(folder) / "images.npy", Path(folder) / "vae"
        np.save(images, mnist.train(path)[: min(5000, size.fitted)].reshape(-1, 28, 28))
        data = nelbo.data.load(images, binarize="threshold", validation=0.2)
        vae = nelbo.recipes.make("vae", data.event_shape, latent=2, hidden=(400, 200))
        nelbo.fit(vae, data, epochs=size.demo_epochs, batch_size=100, device=device, progress=False, out=run)
        command = [sys.executable, "-c", "import sys; from nelbo.cli import main; sys.exit(main())"]
        place = os.pathsep.join(filter(None, [str(mnist.ROOT / "src"), os.environ.get("PYTHONPATH")]))
        start = time.perf_counter()
        done = subprocess.run(
            [*command, "measure", str(run), "--device", device, *size.measure],
            capture_output=True,
            text=True,
            timeout=None if device == "cpu" else 120,
            env={**os.environ, "PYTHONPATH": place},
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(done.stderr.strip() or f"ended with status {done.returncode}")
        rows["nelbo"] = Measured([seconds], note=" ".join(size.measure) + ", the whole command, once")


# --- the whole, and how it is shown ----------------------------------------------------------------------------------


def run(path: Path, *, device: str, size: Size, tables: Sequence[str] = tuple(TABLES)) -> Results:
    """Everything that was chosen."""
    results = Results()
    for name in tables:
        say(f"{TABLES[name].rsplit(',', 1)[0]} ...")
        if name == "mlp":
            peers, images = mlp_peers(device, size), size.images
            training(results, MLP, peers, referee.nelbo_mlp, path, size=size, images=images, device=device)
        elif name == "conv":
            peers, images = conv_peers(device, size), size.conv_images
            training(results, CONV, peers, referee.nelbo_conv, path, size=size, images=images, device=device)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of models trained for three epochs Pareto k may warn
                {"evidence": evidence, "quadrature": quadrature, "measure": measuring}[name](
                    results, path, size=size, device=device
                )
    return results


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def machine(device: str) -> dict[str, Any]:
    """What it ran on."""
    versions = {"nelbo": nelbo.__version__, "torch": torch.__version__}
    for name in ("jax", "pythae"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    module: Any = torch.get_device_module(device)
    card = module.get_device_name() if hasattr(module, "get_device_name") else platform.processor() or "CPU"
    return {"device": card, "processors": os.cpu_count(), "platform": platform.platform(), **versions}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", help="a .npz file with x_train and x_test")
    parser.add_argument("--device", default="auto", help="auto (the accelerator where there is one), cpu, cuda, ...")
    parser.add_argument("--rounds", type=int, help="timed epochs or calls of each (5)")
    parser.add_argument("--images", type=int, help="train on so many images only; goals are then shown, not judged")
    parser.add_argument("--quick", action="store_true", help="so small that times mean nothing: to see that it runs")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES), help="some of the tables")
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    chosen = parser.parse_args(arguments)
    if ":" in chosen.device:  # JAX and pythae know no other way to choose
        parser.error(f"--device takes a kind, got {chosen.device}; write CUDA_VISIBLE_DEVICES=1 make bench-gpu")
    try:
        device = pick_device(chosen.device).type
    except ValueError as error:
        parser.error(str(error))
    size = QUICK if chosen.quick else SIZES["cpu" if device == "cpu" else "cuda"]
    if chosen.rounds is not None:
        if chosen.rounds < 1:
            parser.error(f"--rounds must be a positive integer, got {chosen.rounds}")
        size = replace(size, rounds=chosen.rounds)
    if chosen.images is not None:
        size = replace(size, images=chosen.images, conv_images=min(chosen.images, size.conv_images))
    wanted = goals(device, size)
    if chosen.quick or chosen.images is not None:
        wanted = [replace(goal, most=None) for goal in wanted]
    start = time.perf_counter()
    results = run(mnist.find(chosen.mnist), device=device, size=size, tables=chosen.only)
    about = {**machine(device), "seconds in all": round(time.perf_counter() - start)}
    verdicts = judge(wanted, results)
    short = [verdict.sentence for verdict in verdicts if verdict.short]
    if chosen.json:
        shown = [{**asdict(verdict), "short": verdict.short} for verdict in verdicts]
        print(json.dumps({"machine": about, **asdict(results), "goals": shown, "short": short}, indent=2))
    else:
        print(markdown(about, results, verdicts))
    if short:
        say("\nfell short:\n" + "\n".join(f"- {line}" for line in short))
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
