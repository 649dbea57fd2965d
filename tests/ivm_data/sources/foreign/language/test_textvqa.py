import pytest

from storage.errors import ConfigError


def test_a_question_is_an_instruction_without_a_label(records, write):
    data = {
        "dataset_type": "train", "dataset_name": "textvqa", "dataset_version": "0.5.1",
        "data": [
            {
                "question": "what is the brand of this camera?", "image_id": "0054c91397f2fe05", "question_id": 0,
                "image_classes": ["Camera"], "flickr_original_url": "https://farm6.staticflickr.com/2.jpg",
                "flickr_300k_url": "https://c4.staticflickr.com/2_z.jpg", "image_width": 1024, "image_height": 730,
                "answers": ["nous les gosses", "dakota"] * 5, "set_name": "train",
            },
            {"image_id": "0054c91397f2fe05"},
        ],
    }  # fmt: skip
    (pair,), (bad,) = records("textvqa", questions=write("TextVQA_0.5.1_train.json", data))
    assert pair.image == "textvqa/train_images/0054c91397f2fe05.jpg"
    assert (pair.instruction, pair.targets) == ("what is the brand of this camera?", None)
    assert bad.where == "TextVQA_0.5.1_train.json: data[1]"


def test_a_file_that_is_not_there_is_a_configuration_error(records):
    with pytest.raises(ConfigError, match=r"'gone.json' is not there; set questions"):
        records("textvqa", questions="gone.json")
