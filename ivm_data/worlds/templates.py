"""The sentences of the procedural world's instruction grammar, and every word that they can hold."""

from __future__ import annotations

import re

from ivm_data.worlds import spoken
from ivm_data.worlds.phrases import NOUNS, PLURALS
from ivm_data.worlds.scene import ATTRIBUTES

MAX_COUNT = 6
"""The greatest number that is asked for."""

FIND = (
    "Find the {a}.",
    "Where is the {a}?",
    "Show me the {a}.",
    "Pick up the {a}.",
    "Point to the {a}.",
    "Grasp the {a}.",
    "Look for the {a}.",
    "Touch the {a}.",
    "Can you see the {a}?",
    "Segment the {a}.",
    "Take the {a} and lift it.",
    "I need the {a}.",
    "The {a}.",
)
"""One target; `{a}` is its phrase. Things that are not there are asked for in the same words."""

RELATION = (
    "Find the {a} {r} the {b}.",
    "Where is the {a} that is {r} the {b}?",
    "Show me the {a} {r} the {b}.",
    "Pick up the {a} {r} the {b}.",
    "Point to the {a} which lies {r} the {b}.",
    "Grasp the {a} that is {r} the {b}.",
    "Look at the {b} and touch the {a} {r} it.",
    "Start from the {b} and find the {a} {r} it.",
    "Which {a} is {r} the {b}?",
    "The {a} {r} the {b}.",
)
"""`{a}` is the target's phrase, `{b}` the anchor's, `{r}` one of `RELATION_WORDS`."""

RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of", "on the left side of"),
    "right of": ("right of", "to the right of", "on the right side of"),
    "above": ("above", "over"),
    "below": ("below", "under"),
}

TWO_TARGETS = (
    "Put the {a} on the {b}.",
    "Move the {a} to the {b}.",
    "Place the {a} next to the {b}.",
    "Push the {a} towards the {b}.",
    "Stack the {a} on top of the {b}.",
    "Find the {a} and the {b}.",
    "Show me the {a} and the {b}.",
    "Where are the {a} and the {b}?",
    "Pick up the {a}, then the {b}.",
    "Swap the {a} with the {b}.",
    "The {a} and the {b}.",
)

COUNTING = (
    "How many {a} are there?",
    "How many {a} can you see?",
    "Count the {a}.",
    "What is the number of {a}?",
    "Find all the {a}.",
    "Show me all {a}.",
    "Pick up every one of the {a}.",
    "Collect all the {a}.",
    "All {a}.",
)
"""`{a}` is a phrase in the plural."""

QUESTION: dict[str, tuple[str, ...]] = {
    "colour": ("What colour is the {a}?", "Which colour does the {a} have?", "Tell me the colour of the {a}."),
    "shape": ("What shape is the {a}?", "Which shape does the {a} have?", "Tell me the shape of the {a}."),
    "size": ("What size is the {a}?", "Is the {a} small or big?", "Tell me the size of the {a}."),
    "texture": (
        "What texture does the {a} have?",
        "Is the {a} plain, striped or dotted?",
        "Tell me the texture of the {a}.",
    ),
}
"""Templates by the attribute that is the answer."""


def vocabulary() -> tuple[str, ...]:
    """Every lower-case word that instructions, phrases and answers can hold, sorted."""
    sentences = [*FIND, *RELATION, *TWO_TARGETS, *COUNTING, *(one for many in QUESTION.values() for one in many)]
    sentences += spoken.everything()
    relations = [words for ways in RELATION_WORDS.values() for words in ways]
    text = " ".join([*sentences, *relations]).lower()
    words = set(re.findall(r"[a-z]+", re.sub(r"\{\w\}", " ", text)))
    words.update(word for words_of_one in ATTRIBUTES.values() for word in words_of_one)
    words.update(NOUNS, PLURALS.values(), (str(number) for number in range(1, MAX_COUNT + 1)))
    return tuple(sorted(words))
