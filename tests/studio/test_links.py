"""Links from page to page: the last one that was followed is the one that is shown."""

FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def test_the_last_of_two_quick_links_is_shown(studio, visit):
    page = visit(studio.address("kl"))
    page.evaluate("() => { location.hash = 'elbo'; setTimeout(() => (location.hash = 'kl?mu_q=2')); }")
    page.wait_for_function("() => document.querySelector('[data-field=mu_q]')?.value === '2'")
    page.evaluate("import('/pages/elbo.js')")  # which has come by then
    page.evaluate(FRAMES)
    assert page.locator(".page").get_attribute("data-page") == "kl"


def test_a_link_that_is_followed_right_after_a_change_is_followed(studio, visit):
    page = visit(studio.address("kl"))
    # the address is written a moment after a change, here between the click on a link and its page
    page.evaluate(
        """() => {
          const field = document.querySelector("[data-field=mu_q]");
          field.value = "2";
          field.dispatchEvent(new Event("change"));
          setTimeout(() => {
            location.hash = "elbo";
            for (const end = performance.now() + 200; performance.now() < end; );  // a busy page
          }, 100);
        }"""
    )
    page.wait_for_selector(".page[data-page=elbo]")
    assert page.evaluate("location.hash") == "#elbo"
