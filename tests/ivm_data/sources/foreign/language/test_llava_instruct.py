import pytest

CONVERSATIONS = [
    {
        "id": "000000033471",
        "image": "000000033471.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat are the colors of the bus in the image?"},
            {"from": "gpt", "value": "The bus in the image is white and red."},
            {"from": "human", "value": "What feature can be seen on the back of the bus?"},
            {"from": "gpt", "value": "The back of the bus features an advertisement."},
        ],
    },
    {
        "id": "2",
        "image": "000000000002.jpg",
        "conversations": [{"from": "human", "value": "Who is there?\n<image>"}, {"from": "gpt", "value": "Nobody."}],
    },
    {"id": "text only", "conversations": [{"from": "human", "value": "Tell a joke."}]},
    {"id": "3", "image": "3.jpg"},
]


@pytest.fixture
def conversations(write):
    return write("llava_instruct_150k.json", CONVERSATIONS)


def test_the_first_question_of_a_conversation_is_the_instruction(records, conversations):
    pairs, bad = records("llava-instruct", conversations=conversations)
    assert [(pair.image, pair.instruction, pair.targets) for pair in pairs] == [
        ("coco/train2017/000000033471.jpg", "What are the colors of the bus in the image?", None),
        ("coco/train2017/000000000002.jpg", "Who is there?", None),
    ]
    assert [record.why for record in bad] == ["'conversations' is missing"]


def test_all_questions_are_taken_where_wanted(records, conversations):
    pairs, _ = records("llava-instruct", conversations=conversations, turns=0, images="")
    assert [pair.instruction[:12] for pair in pairs] == ["What are the", "What feature", "Who is there"]
    assert pairs[0].image == "000000033471.jpg"
