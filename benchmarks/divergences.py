"""Speed of KL between normals: 10^7 pairs, a surface, a training step; and of quadrature; beside torch and scipy.

Times are the fastest of several calls: what the machine can do when nobody else uses it.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from scipy import integrate, stats
from torch.distributions import Normal, StudentT, kl_divergence

import nelbo
from benchmarks.results import Row, options, show
from nelbo.divergences import closed_form

PAIRS = 10**7
COPY_GOAL = 2.0


def measure(*, pairs: int = PAIRS) -> list[Row]:
    return [*many_pairs(pairs), *surface(), *training_step(), *quadrature()]


def best(f: Callable[[], object], repeats: int = 7) -> float:
    """The fastest of several calls, in ms."""
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def beside(benchmark: str, ours: float, peers: dict[str, float], goals: dict[str, float] | None = None) -> list[Row]:
    """A row for nelbo and one for each peer."""
    goals = goals or {}
    rows = [Row(benchmark, name, value, "ms", ours / value, goals.get(name)) for name, value in peers.items()]
    return [Row(benchmark, "nelbo", ours, "ms"), *rows]


def many_pairs(n: int) -> list[Row]:
    g = torch.Generator().manual_seed(0)
    m_p, m_q = torch.randn(2, n, generator=g)
    s_p, s_q = torch.rand(2, n, generator=g) + 0.5
    p, q = Normal(m_p, s_p, validate_args=False), Normal(m_q, s_q, validate_args=False)
    # four tensors are read and one is written: 20 bytes a pair, as many as a copy of 10 bytes a pair moves
    source, target = torch.randn(n * 5 // 2), torch.empty(n * 5 // 2)
    peers = {
        "a copy of the same bytes": best(lambda: target.copy_(source)),
        "torch.distributions": best(lambda: kl_divergence(p, q), 3),
        "nelbo.kl, with its checks": best(lambda: nelbo.kl(p, q), 3),
    }
    name = f"KL of {n:,} pairs of normals, closed_form"
    return beside(name, best(lambda: closed_form(p, q)), peers, {"a copy of the same bytes": COPY_GOAL})


def surface() -> list[Row]:
    mean, deviation = torch.linspace(-3, 3, 512)[:, None], torch.linspace(0.1, 3, 512)[None, :]
    p, q = Normal(mean, deviation), Normal(torch.tensor(0.0), torch.tensor(1.0))
    peers = {"torch.distributions": best(lambda: kl_divergence(p, q), 30)}
    return beside("KL over a 512 x 512 surface", best(lambda: nelbo.kl(p, q), 30), peers)


def training_step(batch: int = 128, latent: int = 20) -> list[Row]:
    x = [torch.randn(batch, latent).requires_grad_(), (torch.rand(batch, latent) + 0.5).requires_grad_()]
    prior = Normal(torch.zeros(latent), torch.ones(latent))

    def step(f: Callable[..., torch.Tensor]) -> None:
        f(Normal(x[0], x[1], validate_args=False), prior).sum().backward()
        x[0].grad = x[1].grad = None

    ours, theirs = (best(lambda f=f: step(f), 300) for f in (closed_form, kl_divergence))
    return beside(f"KL in a training step, {batch} x {latent}, and back", ours, {"torch.distributions": theirs})


def quadrature() -> list[Row]:
    df = torch.linspace(2.5, 10, 64, dtype=torch.float64)
    p = StudentT(df)
    q = Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))

    def by_scipy(v: float) -> float:
        t, z = stats.t(v), stats.norm()
        f = lambda u: t.pdf(u) * (t.logpdf(u) - z.logpdf(u))  # noqa: E731
        return integrate.quad(f, -np.inf, np.inf, epsabs=1e-10)[0]

    start = time.perf_counter()
    reference = torch.tensor([by_scipy(float(v)) for v in df], dtype=torch.float64)
    theirs = 1e3 * (time.perf_counter() - start)
    exact = nelbo.kl(p, q, method="closed_form").value
    ours = best(lambda: nelbo.kl(p, q, method="quadrature"), 5)
    off = [float((v - exact).abs().max()) for v in (nelbo.kl(p, q, method="quadrature").value, reference)]
    name = "64 integrals KL(StudentT || Normal)"
    return beside(f"{name}, off by {off[0]:.0e}", ours, {f"scipy.integrate.quad, off by {off[1]:.0e}": theirs})


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pairs", type=int, default=PAIRS)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    show(measure(pairs=chosen.pairs), as_json=chosen.json)
