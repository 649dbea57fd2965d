import pytest

GRAPHS = {
    "2370799": {
        "width": 64, "height": 48, "location": "kitchen",
        "objects": {
            "271881": {"name": "cup", "h": 10, "w": 8, "x": 5, "y": 6, "attributes": ["red"], "relations": []},
            "271882": {
                "name": "table", "h": 20, "w": 60, "x": 0, "y": 20, "attributes": [],
                "relations": [{"object": "271881", "name": "under"}],
            },
        },
    },
}  # fmt: skip


def question(text, semantic, annotations, **more):
    return {
        "semantic": semantic, "entailed": [], "equivalent": [], "question": text, "imageId": "2370799",
        "isBalanced": True, "groups": {"global": None, "local": None}, "answer": "no", "semanticStr": "",
        "annotations": annotations, "types": {"detailed": "exist", "semantic": "obj", "structural": "verify"},
        "fullAnswer": "No, there are no cups.", **more,
    }  # fmt: skip


QUESTIONS = {
    "01": question(
        "What is the red thing on the table?",
        [{"operation": "select", "dependencies": [], "argument": "table (271882)"}],
        {"answer": {"0": "271881"}, "question": {"6": "271882"}, "fullAnswer": {"1": "271881", "6": "271882"}},
    ),
    "02": question(
        "Is there a dog?",
        [{"operation": "select", "dependencies": [], "argument": "dog (-)"}],
        {"answer": {}, "question": {}, "fullAnswer": {}},
    ),
    "03": question(
        "Is it indoors?",
        [{"operation": "select", "dependencies": [], "argument": "scene"}],
        {"answer": {}, "question": {}, "fullAnswer": {}},
    ),
    "04": question(
        "Is there a dog on the table?",
        [{"operation": "relate", "dependencies": [0], "argument": "dog,on,s (-)"}],
        {"answer": {}, "question": {"6:7": "271882"}, "fullAnswer": {}},
    ),
    "05": question("Who?", [], {"answer": {}, "question": {"0": "404"}, "fullAnswer": {}}),
    "06": {"question": "Where?"},
    "07": {"imageId": "2370799", "question": "What is on the table?", "isBalanced": False},
}


@pytest.fixture
def files(write):
    return {
        "questions": write("val_balanced_questions.json", QUESTIONS),
        "scene_graphs": write("val_sceneGraphs.json", GRAPHS),
    }


def test_the_boxes_of_everything_a_question_and_its_answer_name_are_the_label(records, files):
    pairs, _ = records("gqa", **files)
    assert (pairs[0].image, pairs[0].kind) == ("gqa/images/2370799.jpg", "verify")
    assert pairs[0].targets == (
        {"box": [0, 20, 60, 40], "size": [48, 64]},
        {"box": [5, 6, 13, 16], "size": [48, 64]},
    )


def test_a_question_about_what_is_not_there_is_a_free_negative(records, files):
    absent, scene, partly = records("gqa", **files)[0][1:4]
    assert absent.targets == ()
    assert scene.targets is None
    assert partly.targets == ({"box": [0, 20, 60, 40], "size": [48, 64]},)


def test_questions_that_name_unknown_objects_or_no_image_are_bad_records(records, files):
    pairs, bad = records("gqa", **files)
    assert pairs[-1].targets is None
    assert [(record.where, record.why) for record in bad] == [
        ("val_balanced_questions.json: question 05", "the scene graph of image 2370799 has no object '404'"),
        ("val_balanced_questions.json: question 06", "'imageId' is missing"),
    ]


def test_without_scene_graphs_only_absence_is_known(records, files):
    pairs, _ = records("gqa", questions=files["questions"])
    assert [pair.targets for pair in pairs[:4]] == [None, (), None, None]


def test_an_absent_thing_is_an_empty_human_mask(ingest, files, draw):
    found = ingest("gqa", draw("gqa/images/2370799.jpg"), **files)
    assert found[1].human_mask is not None and not found[1].human_boxes
    assert [(b.x0, b.y1) for b in found[0].human_boxes] == [(0, 40), (5, 16)]
