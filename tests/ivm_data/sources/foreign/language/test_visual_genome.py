import pytest

from storage.errors import ConfigError

IMAGE_DATA = [
    {
        "width": 64, "url": f"https://cs.stanford.edu/people/rak248/{folder}/{number}.jpg", "height": 48,
        "image_id": number, "coco_id": None, "flickr_id": None,
    }
    for number, folder in ((1, "VG_100K_2"), (107899, "VG_100K"))
]  # fmt: skip
REGIONS = [
    {
        "regions": [
            {
                "region_id": 1382, "width": 20, "height": 10, "image_id": 1, "phrase": "the clock is green ",
                "y": 5, "x": 2,
            },
            {"region_id": 1383, "width": 0, "height": 10, "image_id": 1, "phrase": "a line", "y": 5, "x": 2},
        ],
        "id": 1,
    },
    {"regions": "none", "id": 2},
]  # fmt: skip
OBJECTS = [
    {
        "image_id": 107899,
        "objects": [
            {"synsets": ["tree.n.01"], "h": 10, "object_id": 1, "names": ["trees"], "w": 12, "y": 0, "x": 0},
            {"synsets": ["tree.n.01"], "h": 9, "object_id": 2, "names": ["trees"], "w": 70, "y": 30, "x": 40},
            {"synsets": [], "h": 9, "object_id": 3, "names": ["sidewalk", "path"], "w": 9, "y": 3, "x": 4},
            {"synsets": [], "h": 9, "object_id": 4, "names": [], "w": 9, "y": 3, "x": 4},
            {"synsets": [], "h": -1, "object_id": 5, "names": ["clock"], "w": 9, "y": 3, "x": 4},
        ],
        "image_url": "https://cs.stanford.edu/people/rak248/VG_100K/107899.jpg",
    }
]


@pytest.fixture
def files(write):
    return {
        "image_data": write("image_data.json", IMAGE_DATA),
        "regions": write("region_descriptions.json", REGIONS),
        "objects": write("objects.json", OBJECTS),
    }


def test_a_regions_phrase_is_an_instruction_with_its_box(records, files):
    pairs, bad = records("visual-genome", image_data=files["image_data"], regions=files["regions"])
    (pair,) = pairs
    assert (pair.image, pair.instruction, pair.kind) == ("vg/VG_100K_2/1.jpg", "the clock is green", "region")
    assert pair.targets == ({"box": [2, 5, 22, 15], "size": [48, 64]},)
    assert [record.where for record in bad] == [
        "region_descriptions.json: [0].regions[1]",
        "region_descriptions.json: [1].regions[0]",
    ]


def test_all_objects_of_a_name_are_the_targets_and_boxes_are_cut_to_the_image(ingest, files, draw):
    root = draw("vg/VG_100K/107899.jpg")
    trees, sidewalk, nameless, clock = ingest(
        "visual-genome", root, image_data=files["image_data"], objects=files["objects"]
    )
    assert trees.instruction == "Find every trees."
    assert [(b.x0, b.y0, b.x1, b.y1) for b in trees.human_boxes] == [(0, 0, 12, 10), (40, 30, 64, 39)]
    assert (sidewalk.instruction, len(sidewalk.human_boxes)) == ("Find every sidewalk.", 1)
    assert [nameless.reason, clock.reason] == ["bad_source_record"] * 2


def test_a_box_that_is_held_out_is_not_shown_to_the_engine(ingest, files, draw):
    root = draw("vg/VG_100K/107899.jpg")
    given = {"image_data": files["image_data"], "objects": files["objects"]}
    trees, *_ = ingest("visual-genome", root, **given, held_out=True)
    assert (trees.held_out, trees.human_boxes, trees.human_mask) == (True, (), None)


def test_one_of_the_two_files_must_be_given(records, files):
    with pytest.raises(ConfigError, match=r"'regions'.*'objects'"):
        records("visual-genome", image_data=files["image_data"])
