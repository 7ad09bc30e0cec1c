"""The Bernoulli's log-probability under torch.func: its autograd function against plain operations."""

import pytest
import torch
from torch.func import grad, hessian, jacrev, jvp, vmap
from torch.nn.functional import softplus

from nelbo.likelihoods import Bernoulli


def log_prob(logits, x, event_dims=1):
    return Bernoulli()(logits, event_dims).log_prob(x)


def from_the_textbook(logits, x, event_dims=1):
    return (x * logits - softplus(logits)).flatten(-event_dims).sum(-1)


# of torch's forward mode, about itself
@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    "transformed",
    [
        lambda f, logits, x: vmap(grad(f))(logits, x),
        lambda f, logits, x: vmap(grad(f), (None, 0))(logits[0], x),
        lambda f, logits, x: vmap(grad(f), (0, None))(logits, x[0]),
        lambda f, logits, x: vmap(grad(lambda a, b: f(a, b, 2)))(logits[..., None], x[..., None]),
        lambda f, logits, x: hessian(lambda a: f(a, x).sum())(logits),
        lambda f, logits, x: jacrev(jacrev(lambda a: f(a, x)))(logits),
        lambda f, logits, x: jvp(lambda a: f(a, x), (logits,), (x,)),
        lambda f, logits, x: jvp(f, (logits, x), (x, logits)),
        lambda f, logits, x: grad(lambda b: f(logits, b).sum())(x),
    ],
    ids=["grad", "one decoder", "one x", "two dims", "hessian", "jacrev twice", "jvp", "jvp of both", "grad of x"],
)
def test_bernoulli_under_torch_func(transformed):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 4, generator=g, dtype=torch.float64)
    x = torch.randint(2, (3, 4), generator=g).double()
    torch.testing.assert_close(transformed(log_prob, logits, x), transformed(from_the_textbook, logits, x))


def test_bernoulli_twice_backward():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda a: log_prob(a, torch.ones(3, 4).double()), logits)
