import itertools

import pytest

from ivm_data.worlds.phrases import Description, describe, matches, members, parse, plural
from ivm_data.worlds.scene import COLOURS, SHAPES, SIZES, TEXTURES, draw_scene
from storage.errors import ConfigError


def test_a_phrase_is_read_back_as_it_was_said():
    words = itertools.product(("", *SIZES), ("", *TEXTURES), ("", *COLOURS), ("", *SHAPES))
    for description in (Description(*told) for told in words):
        for noun in ("thing", "object"):
            assert parse(description.text(noun)) == description


def test_a_thing_fits_every_part_of_its_own_description_and_no_other_word():
    for thing in draw_scene("test", 5).things:
        words = (thing.size, thing.texture, thing.colour, thing.shape)
        assert matches(thing, " ".join(words))
        assert matches(thing, thing.shape)
        assert matches(thing, f"{thing.colour} thing")
        assert matches(thing, f"{thing.size} object")
        assert not any(matches(thing, f"{colour} {thing.shape}") for colour in COLOURS if colour != thing.colour)
        assert not any(matches(thing, shape) for shape in SHAPES if shape != thing.shape)


@pytest.mark.parametrize(
    "phrase", ["", "red", "ring red", "red red ring", "pink ring", "the ring", "rings", "red  ring", "ring thing"]
)
def test_a_phrase_that_is_none_is_named(phrase):
    with pytest.raises(ConfigError, match="phrase must be"):
        parse(phrase)


@pytest.mark.parametrize(
    ("one", "many"), [("cross", "crosses"), ("small circle", "small circles"), ("big red thing", "big red things")]
)
def test_plurals(one, many):
    assert plural(one) == many


def test_describe_lists_exactly_the_descriptions_that_fit_something():
    things = draw_scene("test", 8).things
    fitting = describe(things)
    words = itertools.product(("", *SIZES), ("", *TEXTURES), ("", *COLOURS), ("", *SHAPES))
    for description in (Description(*told) for told in words if any(told)):
        fits = tuple(i for i, thing in enumerate(things) if description.fits(thing))
        assert members(fitting.get(description, 0)) == fits
