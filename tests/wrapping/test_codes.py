"""Models with discrete codes through nelbo.wrap_codes: what is found, and numbers against plain PyTorch."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, Normal
from torch.nn import functional as F

import nelbo

X = torch.randn(60, 1, 4, 4, generator=torch.Generator().manual_seed(0))
HALF_SQUARE = nelbo.likelihoods.Normal(1.0)


class VectorQuantizer(nn.Module):
    """As in Stable Diffusion's repository: channels second, indices of all examples in one row."""

    def __init__(self, codes=5, size=3):
        super().__init__()
        self.embedding = nn.Embedding(codes, size)

    def forward(self, z):
        flat = z.permute(0, 2, 3, 1)
        k = torch.cdist(flat.reshape(-1, flat.shape[-1]), self.embedding.weight).argmin(1)
        q = self.embedding(k).view(flat.shape).permute(0, 3, 1, 2)
        loss = F.mse_loss(q.detach(), z) + 0.25 * F.mse_loss(q, z.detach())
        return z + (q - z).detach(), loss, (None, None, k)


class MovingAverage(nn.Module):
    """Its codebook follows the batch in training mode: whoever runs it so has changed it."""

    def __init__(self, codes=6, size=3):
        super().__init__()
        embed = torch.randn(size, codes)  # one code in each column
        self.register_buffer("embed_avg", embed.clone())
        self.register_buffer("embed", embed)

    def forward(self, z):
        flat = z.flatten(2).transpose(1, 2)
        k = torch.cdist(flat, self.embed.T.expand(len(z), -1, -1)).argmin(2)
        q = F.embedding(k, self.embed.T).transpose(1, 2).reshape(z.shape)
        if self.training:
            self.embed.mul_(0.9)
        return {"quantized": q, "encoding_indices": k}


class Residual(nn.Module):
    """Two codebooks, the second one for what the first one leaves."""

    codebook_sizes = (4, 7)

    def __init__(self, size=3):
        super().__init__()
        self.books = nn.ParameterList(torch.randn(k, size) for k in self.codebook_sizes)

    def get_codes_from_indices(self, k):
        return sum(book[k[..., i]] for i, book in enumerate(self.books))

    def forward(self, z):
        left, found = z.permute(0, 2, 3, 1), []
        for book in self.books:
            k = torch.cdist(left, book.expand(*left.shape[:2], *book.shape)).argmin(-1)
            left, found = left - book[k], [*found, k]
        k = torch.stack(found, -1)
        return self.get_codes_from_indices(k).permute(0, 3, 1, 2), k


class FSQ(nn.Module):
    """Levels on a grid: the codebook is a function."""

    levels = (3, 3, 2)

    def __init__(self):
        super().__init__()
        self.codebook_size = math.prod(self.levels)

    def indices_to_codes(self, k):
        parts, k = [], k.long()
        for levels in self.levels:
            parts, k = [*parts, (k % levels) / (levels - 1) * 2 - 1], k // levels
        return torch.stack(parts, 1)

    def forward(self, z):
        k, factor = torch.zeros(len(z), *z.shape[2:], dtype=torch.int32), 1
        for i, levels in enumerate(self.levels):
            k = k + factor * ((torch.tanh(z[:, i]) + 1) / 2 * (levels - 1)).round().int()
            factor *= levels
        return self.indices_to_codes(k), k


class VQVAE(nn.Module):
    def __init__(self, quantizer):
        super().__init__()
        self.down, self.quantizer, self.up = nn.Conv2d(1, 3, 2, 2), quantizer, nn.ConvTranspose2d(3, 1, 2, 2)

    def forward(self, x):
        answer = self.quantizer(self.down(x))
        quantized = answer["quantized"] if isinstance(answer, dict) else answer[0]
        return self.up(quantized), F.mse_loss(self.up(quantized), x)


def made(quantizer):
    torch.manual_seed(1)
    return VQVAE(quantizer())


# quantizer, its numbers of codes, the shape of an example's codes, and its indices and vectors by hand
KINDS = {
    VectorQuantizer: (5, (4,), lambda q, z: q(z)[2][2].view(len(z), 4),
                      lambda q, k: q.embedding.weight[k].transpose(1, 2).reshape(-1, 3, 2, 2)),
    MovingAverage: (6, (4,), lambda q, z: q(z)["encoding_indices"],
                    lambda q, k: q.embed.T[k].transpose(1, 2).reshape(-1, 3, 2, 2)),
    Residual: ([4, 7], (2, 2, 2), lambda q, z: q(z)[1],
               lambda q, k: (q.books[0][k[..., 0]] + q.books[1][k[..., 1]]).permute(0, 3, 1, 2)),
    FSQ: (18, (2, 2), lambda q, z: q(z)[1].long(), lambda q, k: q.indices_to_codes(k)),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_quantizer_within_a_model_is_found_and_its_numbers_are_those_of_plain_torch(kind):
    codes, shape, by_hand, vectors = KINDS[kind]
    model = made(kind)
    before = copy.deepcopy(model.state_dict())
    view = nelbo.wrap_codes(model, x=X, likelihood=HALF_SQUARE)
    terms = nelbo.loss(view, X)
    evidence = None
    if kind is VectorQuantizer:
        evidence = nelbo.measure.log_evidence(view, X)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())

    model.eval()
    with torch.no_grad():
        k = by_hand(model.quantizer, model.down(X))
        error = -Normal(model.up(vectors(model.quantizer, k)), 1.0).log_prob(X).sum((1, 2, 3))
    assert view.shape == shape
    assert torch.equal(view.indices(X), k.reshape(-1, *shape))
    rate = torch.tensor(codes).double().log().expand(shape).sum()
    torch.testing.assert_close(terms.kl.double(), rate.expand(60), rtol=1e-6, atol=0)
    torch.testing.assert_close(terms.reconstruction_error.detach(), error, rtol=1e-5, atol=1e-5)
    assert "self-test" in str(view)
    if evidence is not None:  # the sum over all 5^4 combinations
        every = torch.cartesian_prod(*[torch.arange(5)] * 4)
        with torch.no_grad():
            px = Normal(model.up(vectors(model.quantizer, every))[:, None].double(), 1.0)
        exact = px.log_prob(X.double()).sum((2, 3, 4)).logsumexp(0) - 4 * math.log(5)
        torch.testing.assert_close(evidence.value, exact, rtol=0, atol=1e-4)
        assert bool((evidence.value > -terms.nelbo.double() - 1e-4).all())


def test_another_x_in_front_does_not_move_what_codes_decode_to():
    view = nelbo.wrap_codes(made(VectorQuantizer), x=X, likelihood=HALF_SQUARE)
    other = nelbo.wrap_codes(view.behind[0], x=-3 * X, likelihood=HALF_SQUARE)
    z = view.posterior(X).mean
    torch.testing.assert_close(view.likelihood(z).mean, other.likelihood(z).mean, rtol=0, atol=0)


def test_a_quantizer_that_counts_does_not_count_what_is_measured():
    model = made(MovingAverage)
    model.quantizer.runs = 0
    model.quantizer.register_buffer("usage", torch.zeros(()))

    def count(module, args, answer):
        module.runs += 1
        module.usage += 1

    model.quantizer.register_forward_hook(count)
    view = nelbo.wrap_codes(model, x=X, likelihood=HALF_SQUARE)
    nelbo.measure.codes(view, X)
    assert (model.quantizer.runs, float(model.quantizer.usage)) == (0, 0)


def functions(codes=6, x=X):
    torch.manual_seed(2)
    book, decoder = torch.randn(6, 16), nn.Linear(16, 16)

    def encode(x):
        return torch.cdist(x.flatten(1), book).argmin(1)[:, None]

    view = nelbo.wrap_codes(
        encode=encode, decode=lambda k: decoder(book[k[:, 0]]), codes=codes, x=x, likelihood=HALF_SQUARE
    )
    return view, encode, lambda k: decoder(book[k])


def test_two_functions_are_enough_and_a_prior_is_a_distribution_or_a_function():
    view, encode, decode = functions()
    log_p = torch.randn(1, 6).log_softmax(1)
    for prior in (Independent(Categorical(logits=log_p), 1), lambda k: log_p[0, k[:, 0]]):
        learned = view.with_prior(prior)
        torch.testing.assert_close(nelbo.loss(learned, X).kl, -log_p[0, encode(X)[:, 0]])
        px = Normal(decode(torch.arange(6)).view(6, 1, 1, 4, 4), 1.0)
        exact = (px.log_prob(X).sum((2, 3, 4)) + log_p[0, :, None]).logsumexp(0)
        found = nelbo.measure.log_evidence(learned, X)
        assert found.method == "enumeration"
        torch.testing.assert_close(found.value.float(), exact.detach(), rtol=0, atol=1e-4)
        assert bool((found.value >= -nelbo.loss(learned, X).nelbo.double() - 1e-4).all())
    torch.testing.assert_close(nelbo.loss(view, X).kl, torch.full((60,), math.log(6)))


def test_a_view_follows_the_codebook_and_not_the_average_that_starts_as_its_equal():
    model = made(MovingAverage)
    view = nelbo.wrap_codes(model, x=X, likelihood=HALF_SQUARE)
    model.quantizer.embed.mul_(2)
    with torch.no_grad():
        expected = model.eval()(X)[0]
    torch.testing.assert_close(view.likelihood(view.posterior(X).mean).mean, expected)


class TwoQuantizers(VQVAE):
    def __init__(self, quantizer):
        super().__init__(quantizer)
        self.second = VectorQuantizer()

    def forward(self, x):
        z = self.down(x)
        return self.up(self.quantizer(z)[0] + self.second(-z)[0]), 0.0


def test_what_the_codes_do_not_tell_is_refused():
    torch.manual_seed(1)
    with pytest.raises(ValueError, match=r"alone do not give the model's own reconstruction.*encode giving"):
        nelbo.wrap_codes(TwoQuantizers(VectorQuantizer()), x=X, likelihood=HALF_SQUARE)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: functions(codes=3), ValueError, r"between 0 and 2, got 0 to 5.*codes= the size"),
        (lambda: functions(codes=None), ValueError, r"write codes= the size"),
        (lambda: functions(codes=[3, 4]), ValueError, r"codes has 2 numbers, and the last axis .* has 1"),
        (lambda: functions(codes=0.5), ValueError, r"codes must be whole numbers"),
        (lambda: nelbo.wrap_codes(x=X), TypeError, r"needs a model, or encode and decode"),
        (lambda: nelbo.wrap_codes(nn.Sequential(nn.Flatten(), nn.Linear(16, 16)), x=X), ValueError,
         r"no module within .* answers with whole numbers.*write nelbo.wrap_codes\(encode="),
        (lambda: nelbo.wrap_codes(encode=lambda x: x, decode=lambda k: k, codes=2, x=X), ValueError,
         r"encode must give whole numbers, the codes, of shape \(60, \*positions\), got torch.float32"),
        (lambda: nelbo.wrap_codes(encode=lambda x: torch.arange(60)[:, None], decode=lambda k: k, codes=60, x=X),
         ValueError, r"other codes among other examples"),
        (lambda: functions()[0].with_prior(Normal(torch.zeros(2), 1.0)), TypeError, r"distribution over \(1,\) codes"),
        (lambda: nelbo.loss(functions()[0].with_prior(lambda k: torch.zeros(len(k), 3)), X), ValueError,
         r"shape \(60,\), got \(60, 3\)"),
        (lambda: nelbo.measure.log_evidence(functions()[0], X, method="importance"), ValueError, r"discrete codes"),
        (lambda: nelbo.measure.log_evidence(nelbo.wrap_codes(made(Residual), x=X, likelihood=HALF_SQUARE), X),
         ValueError, r"8 positions of up to 7 codes have more than 65,536 combinations"),
        (lambda: nelbo.wrap(made(VectorQuantizer), x=X), ValueError, r"write nelbo.wrap_codes\(model, x=x\)"),
    ],
)  # fmt: skip
def test_errors_say_what_to_write(call, error, message):
    with pytest.raises(error, match=message):
        call()
