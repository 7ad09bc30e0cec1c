"""Constructors by name, with a number."""

import pytest

from nelbo.registry import Registry


def registry():
    members = Registry("dish")

    @members.register("soup")
    def soup(spoons: int = 2):
        return ("soup", spoons)

    @members.register("salad")
    def salad(leaves: float, *, dressing: str = "oil"):
        return ("salad", leaves, dressing)

    members.register("bread")(lambda: ("bread",))
    return members


def test_names_numbers_and_arguments():
    members = registry()
    assert members.names() == ["soup", "salad", "bread"]
    assert members.named("soup") == ("soup", 2)
    assert members.named("soup:3") == ("soup", 3)
    assert type(members.named("soup:3")[1]) is int
    assert members.named("salad:0.5") == ("salad", 0.5, "oil")
    assert members.named("bread") == ("bread",)
    assert members.named("salad", 7.0) == ("salad", 7.0, "oil")  # what the caller passes comes first


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (3, TypeError, "dish must be a name, got 3; write dish='soup'"),
        ("sop", ValueError, r"no dish 'sop', did you mean 'soup'\? There are: soup, salad, bread"),
        ("salad", ValueError, "dish='salad': salad needs a number after a colon, as in salad:10"),
        ("bread:1", ValueError, "bread takes no number; write dish='bread'"),
        ("soup:", ValueError, "expected a number after the colon, as in soup:10, got ''"),
        ("soup:hot", ValueError, "got 'hot'"),
        ("soup:2.5", ValueError, "spoons must be an integer, got 2.5"),
        ("soup:inf", ValueError, "spoons must be an integer, got inf"),
    ],
)
def test_mistakes(text, error, words):
    with pytest.raises(error, match=words):
        registry().named(text)


def test_an_error_inside_a_constructor_stays_what_it_is():
    members = registry()

    @members.register("pie")
    def pie(slices: int = 1):
        raise TypeError("no flour")

    with pytest.raises(TypeError, match="no flour"):
        members.named("pie:2")


def test_one_name_is_one_constructor():
    members = registry()

    def define():
        @members.register("stew")
        class Stew:
            pass

        return Stew

    first = define()
    assert define() is not first  # the same definition again, as from a notebook's cell
    with pytest.raises(ValueError, match="the dish 'stew' is registered already, as .*Stew; choose another name"):
        members.register("stew")(registry)
    for name in ("", "a:b"):
        with pytest.raises(ValueError, match="must be non-empty and hold no colon"):
            members.register(name)
