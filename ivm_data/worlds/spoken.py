"""How people speak of things: sentences around a noun phrase, noun phrases that rank, exclude and compare, free styles.

`{x}` is a whole noun phrase with its article, `{a}` a phrase of the world without one, `{b}` and `{c}` anchors, `{n}` a
plural, `{w}` a word, `{o}` an ordinal, `{s}` a side.
"""

from __future__ import annotations

ASK_ONE = (
    "Find {x}.",
    "Where is {x}?",
    "Show me {x}.",
    "Pick up {x}.",
    "Point to {x}.",
    "Grasp {x}.",
    "Look for {x}.",
    "Touch {x}.",
    "Can you see {x}?",
    "Segment {x}.",
    "Take {x} and lift it.",
    "I need {x}.",
    "{x}.",
    "Please hand me {x}.",
    "Could you find {x} for me?",
    "Bring me {x}, please.",
    "I am looking for {x}.",
    "Click on {x}.",
    "Which one is {x}?",
    "Mark {x} in the image.",
    "Please point at {x}.",
    "Now grab {x}.",
    "Let me see {x}.",
    "Do not touch anything but {x}.",
)
"""A sentence about one thing."""

ASK_MANY = (
    "Find {x}.",
    "Where are {x}?",
    "Show me {x}.",
    "Pick up {x}.",
    "Point to {x}.",
    "Collect {x}.",
    "Segment {x}.",
    "I need {x}.",
    "{x}.",
    "Please hand me {x}.",
    "Could you find {x} for me?",
    "Bring me {x}, please.",
    "I am looking for {x}.",
    "Mark {x} in the image.",
    "Take {x} away.",
    "Let me see {x}.",
)
"""A sentence about several things."""

SIDES = {"left": "left", "right": "right", "top": "top", "bottom": "bottom"}
PLACES = {
    "left": "leftmost",
    "right": "rightmost",
    "top": "topmost",
    "bottom": "bottommost",
    "largest": "largest",
    "smallest": "smallest",
}
"""One word for each order, the one that a request is written with."""
ORDINALS = {1: "first", 2: "second", 3: "third"}
ORDINAL = (
    "the {o} {a} from the {s}",
    "the {o} {a} counting from the {s}",
    "the {o} {a} when you start at the {s}",
    "the {a} that is {o} from the {s}",
    "the {a} which comes {o} from the {s}",
)

SUPERLATIVE: dict[str, tuple[str, ...]] = {
    "left": ("the leftmost {a}", "the {a} farthest to the left", "the {a} that is furthest left"),
    "right": ("the rightmost {a}", "the {a} farthest to the right", "the {a} that is furthest right"),
    "top": ("the topmost {a}", "the highest {a}", "the {a} at the very top", "the uppermost {a}"),
    "bottom": ("the bottommost {a}", "the lowest {a}", "the {a} at the very bottom"),
    "largest": ("the largest {a}", "the biggest {a}", "the {a} that is larger than the others"),
    "smallest": ("the smallest {a}", "the tiniest {a}", "the {a} that is smaller than the others"),
}

BETWEEN = (
    "the {a} between the {b} and the {c}",
    "the {a} that is between the {b} and the {c}",
    "the {a} in the middle of the {b} and the {c}",
    "the {a} with the {b} on one side and the {c} on the other",
)

NEAREST: dict[str, tuple[str, ...]] = {
    "nearest to": (
        "the {a} nearest to the {b}",
        "the {a} closest to the {b}",
        "the {a} nearest the {b}",
        "the {a} that is closest to the {b}",
    ),
    "farthest from": (
        "the {a} farthest from the {b}",
        "the {a} furthest from the {b}",
        "the {a} that is farthest away from the {b}",
    ),
}

Exclusion = dict[str, tuple[str, ...]]
"""Ways to leave something out by a "word", or by its "shape" (`{m}`: in the plural)."""

NEGATION: Exclusion = {
    "word": (
        "the {a} that is not {w}",
        "the {a} which is not {w}",
        "the {a} that isn't {w}",
        "the {a}, but not the {w} one",
        "a {a} but not a {w} one",
        "the {a} other than the {w} one",
        "the only {a} that is not {w}",
    ),
    "shape": (
        "the {a} that is not a {w}",
        "the {a} which is no {w}",
        "the {a} that isn't a {w}",
        "the {a}, but not the {w}",
        "the {a} other than the {w}",
    ),
}
ALL_BUT_ONE: Exclusion = {
    "word": (
        "all the {n} except the {w} one",
        "all {n} but the {w} one",
        "every {a} except the {w} one",
        "all of the {n} apart from the {w} one",
    ),
    "shape": ("all the {n} except the {w}", "all {n} but the {w}", "every {a} except the {w}"),
}
ALL_BUT_MANY: Exclusion = {
    "word": (
        "all the {n} except the {w} ones",
        "all {n} but the {w} ones",
        "all the {n} that are not {w}",
        "every {a} that is not {w}",
    ),
    "shape": ("all the {n} except the {m}", "all {n} but the {m}", "all the {n} that are not {m}"),
}

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
NUMBER = ("the {k} {n}", "these {k} {n}", "all {k} {n}", "my {k} {n}")

TWO_STEPS = (
    "Pick up {x}, then put it on {y}.",
    "Take {x} and place it on {y}.",
    "Grasp {x} first, then move it to {y}.",
    "First touch {x}, then touch {y}.",
    "Find {x}, and after that find {y}.",
    "Lift {x} and drop it onto {y}.",
    "Start with {x} and go on to {y}.",
    "Grab {x}. Then put it next to {y}.",
    "Move {x} to {y}.",
)

EITHER = (
    "the {a} or the {b}",
    "either the {a} or the {b}",
    "the {a}, or else the {b}",
    "the {a} or, if there is none, the {b}",
)

WHOLE_IMAGE = (
    "Describe the picture.",
    "Describe this image.",
    "Describe the scene in one sentence.",
    "What is unusual about this image?",
    "What do you see?",
    "What can you see in this picture?",
    "What is in the image?",
    "Tell me about this picture.",
    "Write a caption for this image.",
    "Give a short description of the scene.",
    "What is going on here?",
    "Look at the whole image and tell me what it shows.",
    "Summarize the picture.",
    "What kind of scene is this?",
    "Is there anything unusual in the picture?",
    "Explain what this image shows.",
)

RELATION = (
    "the {a} {r} the {b}",
    "the {a} that is {r} the {b}",
    "the {a} located {r} the {b}",
    "the {a} that you see {r} the {b}",
)
"""Free styles of `templates.RELATION`."""

TWO_TARGETS = (
    "Bring the {a} over to the {b}.",
    "Drop the {a} onto the {b}.",
    "Please put the {a} on the {b}.",
    "Could you move the {a} to the {b}?",
    "I need both the {a} and the {b}.",
    "Mark the {a} and the {b} in the image.",
    "Where is the {a}, and where is the {b}?",
    "Compare the {a} with the {b}.",
)

COUNTING = (
    "Tell me how many {a} there are.",
    "What number of {a} do you see?",
    "Please count all the {a}.",
    "Mark every one of the {a}.",
    "Take all of the {a} away.",
    "Where are all the {a}?",
    "I need all the {a}.",
)

QUESTION: dict[str, tuple[str, ...]] = {
    "colour": ("What is the colour of the {a}?", "The {a} has which colour?", "Please name the colour of the {a}."),
    "shape": ("What is the shape of the {a}?", "The {a} has which shape?", "Please name the shape of the {a}."),
    "size": ("What is the size of the {a}?", "How large is the {a}?", "Please name the size of the {a}."),
    "texture": ("What is the texture of the {a}?", "What does the {a} look like, plain or not?"),
}


def everything() -> list[str]:
    """Every sentence, phrase and word of this module."""
    lists: list[tuple[str, ...]] = [ASK_ONE, ASK_MANY, ORDINAL, BETWEEN, NUMBER, TWO_STEPS, EITHER, WHOLE_IMAGE]
    lists += [RELATION, TWO_TARGETS, COUNTING, *SUPERLATIVE.values(), *NEAREST.values(), *QUESTION.values()]
    lists += [ways for said in (NEGATION, ALL_BUT_ONE, ALL_BUT_MANY) for ways in said.values()]
    lists += [tuple(SIDES.values()), tuple(ORDINALS.values()), tuple(NUMBERS.values())]
    return [text for many in lists for text in many]
