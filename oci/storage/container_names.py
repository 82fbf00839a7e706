"""Names for containers that were given none: an adjective and a noun, `mellow_heron`."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["generate_name"]

TRIES = 20  # after so many names that are taken, a number is added

_ADJECTIVES = tuple(
    """
able agile airy amber ample apt arctic ashen azure balmy blithe bold brassy breezy brief bright brisk broad bronze
calm candid carmine chilly chirpy civic classy clear clever cobalt copper cordial cosmic cozy crimson crisp curly
dapper daring dashing deft dewy downy dusky eager earnest earthy easy elder even fabled fair feisty fern fine fleet
fluent foggy fond frank fresh frosty gallant gentle gilded giddy glad gleaming golden grand green hardy hasty heroic
hearty honest humble icy indigo ivory jade jaunty jolly keen kind lavish leafy light lilac limber lively lofty loyal
lucid lunar mellow merry mighty mild minty misty modest mossy neat nimble noble ochre olive opal patient peachy pearly
placid plucky plush polar polite proud quick quiet rapid ready regal rosy ruby rustic sage sandy scarlet serene sharp
shiny silent silver sleek smooth snowy snug solar solid sound spry steady stellar still stoic stout sturdy subtle
sunny supple swift tawny tender tidy timely tranquil trim trusty upbeat velvet verdant vivid warm wary whole windy
wise witty woolly young zesty
""".split()  # noqa: SIM905 - as a list of literals it would be four hundred lines
)

_NOUNS = tuple(
    """
acorn alder anchor anvil apple aspen aurora badger bamboo basin beacon beaver birch bison bobbin boulder bramble brook
buoy cairn canyon canoe castle cedar chisel cliff clover cobble comet compass condor coral cove crane creek cricket
crocus curlew cypress dahlia delta dingo dolphin dune eagle egret ember falcon fennel ferret fiddle finch fjord flint
forge fossil fountain fox galaxy garnet gecko geyser ginger glacier glade gorge granite grove gull hammer harbor harp
hawk hazel heath heron hill hollow ibex ibis inlet iris island jackal jasper juniper kelp kestrel kettle kite lagoon
lantern larch lark lemur lichen lily linden llama loom lotus lynx magpie mango maple marble marsh marten meadow mesa
meteor mill mink moss nectar newt oak oasis ocelot orchid osprey otter owl oyster paddle panda papaya parsley pebble
pelican pepper petrel pine plover plum pond poplar poppy prairie puffin quail quartz quill rabbit raven reed reef
ridge river robin rowan saffron salmon sequoia shore shrew sparrow spruce squid starling stoat stork summit swan
sycamore tapir teal thicket thistle thrush tiger toucan trout tulip tundra turnip valley violet walnut walrus warbler
willow wren
""".split()  # noqa: SIM905 - as a list of literals it would be four hundred lines
)


def generate_name(is_taken: Callable[[str], bool]) -> str:
    """A name that nobody has, as far as `is_taken` knows; another process may still take it first."""
    for _ in range(TRIES):
        name = f"{_ADJECTIVES[_random(len(_ADJECTIVES))]}_{_NOUNS[_random(len(_NOUNS))]}"
        if not is_taken(name):
            return name
    while True:
        numbered = f"{name}_{_random(1_000_000)}"
        if not is_taken(numbered):
            return numbered


def _random(below: int) -> int:
    """A number from 0 on. Not by `secrets`: that imports half a library, and a name is no secret."""
    return int.from_bytes(os.urandom(8), "little") % below
