"""Nothing that is written on the explorers' pages lies on anything else or leaves its card, wide or narrow."""

import pytest

from tests.studio.tab import FRAME

PLACES = [
    "kl",
    "kl?view=fit&descents=four",
    "kl?mu_q=0.001&sigma_q=0.001&sigma_p=0.002",
    "kl?mu_p=-300&mu_q=300&sigma_q=100",
    "kl?family_p=poisson&family_q=poisson&rate_p=900&rate_q=950",
    "metric",
    "metric?divergence=tv",
    "metric?mu_r=80&sigma_r=60",
    "elbo",
    "elbo?model=square&m=2&v=0.03&logk=9",
    "elbo?x=20&logk=0",
    "reparam",
    "reparam?fn=step&node=stochastic",
    "reparam?mu=2&sigma=0.01&eps=3",
    "reparam?fn=elbo&mu=20&sigma=10",
]
ON_EACH_OTHER = """() => [...document.querySelectorAll("svg.plot .axes")].flatMap((axes) => {
  const words = [...axes.querySelectorAll("text")].filter((one) => one.getBoundingClientRect().width);
  const boxes = words.map((one) => one.getBoundingClientRect());
  const label = axes.parentNode.getAttribute("aria-label");
  const lie = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3;
  return boxes.flatMap((a, i) => boxes.slice(i + 1).flatMap((b, k) =>
    lie(a, b) ? [`${label}: ${words[i].textContent} on ${words[i + 1 + k].textContent}`] : []));
})"""
OUT_OF_PLACE = """() => [...document.querySelectorAll(".card, .control, .caption")]
  .filter((one) => one.scrollWidth > one.clientWidth + 1 && one.getBoundingClientRect().width)
  .map((one) => one.innerText)"""


@pytest.mark.parametrize("place", PLACES)
def test_words_have_room(tab, studio, place):
    tab.show(studio, place).rest()
    for width in (1600, 1280, 768, 390, 320):
        tab.page.set_viewport_size({"width": width, "height": 900})
        tab.page.evaluate(FRAME)
        tab.rest()
        assert (tab.page.evaluate(ON_EACH_OTHER), tab.page.evaluate(OUT_OF_PLACE)) == ([], []), width
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= width
