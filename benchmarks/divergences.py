"""Speed of KL between normals: 10^7 pairs, a surface, a training step; and quadrature; beside its peers.

python benchmarks/divergences.py [--threads N] [--pairs N]
"""

import argparse
import platform
import time

import numpy as np
import torch
from scipy import integrate, stats
from torch.distributions import Normal, StudentT, kl_divergence

import nelbo
from nelbo.divergences import closed_form


def best(f, repeats=7):
    """The fastest of several runs, in ms: what the machine can do when nobody else uses it."""
    f()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        f()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def many_pairs(n):
    g = torch.Generator().manual_seed(0)
    m_p, m_q = torch.randn(2, n, generator=g)
    s_p, s_q = torch.rand(2, n, generator=g) + 0.5
    p, q = Normal(m_p, s_p, validate_args=False), Normal(m_q, s_q, validate_args=False)
    # four tensors are read and one is written: 20 bytes a pair, as many as a copy of 10 bytes a pair moves
    source, target = torch.randn(n * 5 // 2), torch.empty(n * 5 // 2)
    copy = best(lambda: target.copy_(source))
    ours, theirs = best(lambda: closed_form(p, q)), best(lambda: kl_divergence(p, q), 3)
    checked = best(lambda: nelbo.kl(p, q), 3)
    print(f"{n:,} float32 pairs: copy of the same bytes {copy:.1f} ms")
    print(f"    closed_form {ours:.1f} ms ({ours / copy:.1f}x the copy), nelbo.kl {checked:.1f} ms")
    print(f"    torch.distributions {theirs:.1f} ms ({theirs / ours:.1f}x closed_form)")


def surface():
    mean, deviation = torch.linspace(-3, 3, 512)[:, None], torch.linspace(0.1, 3, 512)[None, :]
    p, q = Normal(mean, deviation), Normal(torch.tensor(0.0), torch.tensor(1.0))
    ours, theirs = best(lambda: nelbo.kl(p, q), 30), best(lambda: kl_divergence(p, q), 30)
    print(f"512 x 512 surface: nelbo.kl {ours:.2f} ms, torch.distributions {theirs:.2f} ms")


def training_step(batch=128, latent=20):
    x = [torch.randn(batch, latent).requires_grad_(), (torch.rand(batch, latent) + 0.5).requires_grad_()]
    prior = Normal(torch.zeros(latent), torch.ones(latent))

    def step(f):
        f(Normal(x[0], x[1], validate_args=False), prior).sum().backward()
        x[0].grad = x[1].grad = None

    ours, theirs = (1e3 * best(lambda f=f: step(f), 300) for f in (closed_form, kl_divergence))
    print(f"KL in a training step, {batch} x {latent}, and back: nelbo {ours:.0f} us, torch {theirs:.0f} us")


def quadrature():
    df = torch.linspace(2.5, 10, 64, dtype=torch.float64)
    p = StudentT(df)
    q = Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))

    def by_scipy(v):
        t, z = stats.t(v), stats.norm()
        f = lambda u: t.pdf(u) * (t.logpdf(u) - z.logpdf(u))  # noqa: E731
        return integrate.quad(f, -np.inf, np.inf, epsabs=1e-10)[0]

    start = time.perf_counter()
    reference = torch.tensor([by_scipy(float(v)) for v in df], dtype=torch.float64)
    theirs = 1e3 * (time.perf_counter() - start)
    exact = nelbo.kl(p, q, method="closed_form").value
    ours = best(lambda: nelbo.kl(p, q, method="quadrature"), 5)
    off = [float((v - exact).abs().max()) for v in (nelbo.kl(p, q, method="quadrature").value, reference)]
    print(f"64 integrals KL(StudentT || Normal): nelbo {ours:.0f} ms, off by {off[0]:.1e}")
    print(f"    scipy.integrate.quad {theirs:.0f} ms, off by {off[1]:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--pairs", type=int, default=10**7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {arguments.threads} threads, {platform.machine()}")
    many_pairs(arguments.pairs)
    surface()
    training_step()
    quadrature()
