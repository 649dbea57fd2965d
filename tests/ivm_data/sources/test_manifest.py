import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ivm_data.sources.manifest import plan, read_part
from ivm_data.sources.manifest_parts import columns_of
from ivm_data.sources.manifest_rows import MAX_INSTRUCTION
from storage.errors import ConfigError
from storage.pixels import rle
from storage.pixels.images import ImageLimits
from storage.records import Moment, Rejection, Sample, sample_id

ASK = "Find the red cup."


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """A root with good and bad image files; each test writes its own manifest elsewhere."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(root / name)
    (root / "copy_of_a.png").write_bytes((root / "a.png").read_bytes())
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(root / "rotated.jpg", exif=exif)
    Image.new("L", (30, 4)).save(root / "low.png")
    (root / "zero.png").write_bytes(b"")
    (root / "cut.png").write_bytes((root / "a.png").read_bytes()[:200])
    (root / "out.png").symlink_to("/etc/hostname")
    return root


def read(tmp_path: Path, root: Path, *lines: object, part_size: int = 64) -> list[Sample | Rejection]:
    manifest = tmp_path / "set.jsonl"
    manifest.write_bytes(b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines))
    return [outcome for part in plan(manifest, part_size) for outcome in read_part(part, root)]


def test_a_line_with_an_image_and_an_instruction_is_a_sample(tmp_path, photos):
    (sample,) = read(tmp_path, photos, {"image": "a.png", "instruction": ASK, "licence": {"any": "key"}})
    data = (photos / "a.png").read_bytes()
    assert sample == Sample(sample_id(data, ASK), data, "a.png", 30, 20, ASK, source="set")


def test_every_optional_key_reaches_the_sample(tmp_path, photos):
    mask = np.eye(20, 30, dtype=bool)
    target = {"mask_rle": {"size": [20, 30], "counts": rle.encode(mask).counts.decode()}}
    line = {
        "image": "a.png",
        "instruction": ASK,
        "kind": "unique",
        "difficulty": "hard",
        "held_out": True,
        "targets": [target],
    }
    named, nested = read(
        tmp_path, photos, {**line, "source": "mine"}, {**line, "image": "b.png", "source": {"dataset": "D"}}
    )
    assert (named.source, named.kind, named.difficulty, named.held_out) == ("mine", "unique", "hard", True)
    assert (rle.decode(named.human_mask) == mask).all()
    assert nested.source == "D"


def test_the_size_of_a_sample_is_that_of_the_rotated_image(tmp_path, photos):
    empty = {"image": "rotated.jpg", "instruction": ASK, "targets": []}
    (sample,) = read(tmp_path, photos, empty)
    assert (sample.width, sample.height) == (20, 30)
    assert (sample.human_mask.width, sample.human_mask.height) == (20, 30)


GOOD = {"image": "a.png", "instruction": ASK}
BAD_LINES = {
    "broken": (b'{"image": "a.png", "instruction": ', "bad_manifest_line"),
    "no json": (b"hello", "bad_manifest_line"),
    "not utf-8": (b'{"image": "a.png", "instruction": "caf\xe9"}', "bad_manifest_line"),
    "raw NUL": (b'{"image": "a.png", "instruction": "a\x00b"}', "bad_manifest_line"),
    "nested": (b"[" * 100_000, "bad_manifest_line"),
    "list": ([1, 2], "bad_manifest_line"),
    "number": (b"12", "bad_manifest_line"),
    "no image": ({"instruction": ASK}, "bad_manifest_line"),
    "no instruction": ({"image": "a.png"}, "bad_manifest_line"),
    "image a number": ({"image": 5, "instruction": ASK}, "bad_manifest_line"),
    "instruction a list": ({"image": "a.png", "instruction": [ASK]}, "bad_manifest_line"),
    "escaped NUL": ({"image": "a.png", "instruction": "a\x00b"}, "bad_manifest_line"),
    "NUL in image": ({"image": "a\x00.png", "instruction": ASK}, "bad_manifest_line"),
    "half surrogate": (b'{"image": "a.png", "instruction": "cup \\ud800"}', "bad_manifest_line"),
    "held_out a word": ({**GOOD, "held_out": "maybe"}, "bad_manifest_line"),
    "held_out a number": ({**GOOD, "held_out": 2}, "bad_manifest_line"),
    "held_out misspelled": ({**GOOD, "heldout": True}, "bad_manifest_line"),
    "targets misspelled": ({**GOOD, "target": []}, "bad_manifest_line"),
    "a target's key alone": ({**GOOD, "polygons": [[1, 1, 9, 1, 9, 9]]}, "bad_manifest_line"),
    "source a number": ({**GOOD, "source": 4}, "bad_manifest_line"),
    "empty": ({"image": "a.png", "instruction": ""}, "instruction_empty"),
    "blank": ({"image": "a.png", "instruction": " \t\u3000\n"}, "instruction_empty"),
    "no words": ({"image": "a.png", "instruction": "?! ..."}, "instruction_empty"),
    "long": ({"image": "a.png", "instruction": "x" * (MAX_INSTRUCTION + 1)}, "instruction_too_long"),
    "missing": ({"image": "none.png", "instruction": ASK}, "image_missing"),
    "absolute": ({"image": "/etc/hostname", "instruction": ASK}, "image_outside_root"),
    "dots": ({"image": "../photos/a.png", "instruction": ASK}, "image_outside_root"),
    "link out": ({"image": "out.png", "instruction": ASK}, "image_outside_root"),
    "zero bytes": ({"image": "zero.png", "instruction": ASK}, "image_unreadable"),
    "truncated": ({"image": "cut.png", "instruction": ASK}, "image_unreadable"),
    "too small": ({"image": "low.png", "instruction": ASK}, "image_too_small"),
    "mask of other size": (
        {**GOOD, "targets": [{"mask_rle": {"size": [30, 20], "counts": [600]}}]},
        "bad_human_mask",
    ),
    "mask with bad counts": ({**GOOD, "targets": [{"mask_rle": {"size": [20, 30], "counts": "!"}}]}, "bad_human_mask"),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_becomes_a_rejection_with_its_reason_and_the_others_go_on(tmp_path, photos, name):
    line, reason = BAD_LINES[name]
    before, rejection, after = read(
        tmp_path, photos, {**GOOD, "image": "b.png"}, line, {**GOOD, "image": "rotated.jpg"}
    )
    assert isinstance(before, Sample) and isinstance(after, Sample)
    assert isinstance(rejection, Rejection)
    assert (rejection.stage, rejection.reason) == ("ingest", reason)
    assert rejection.detail.startswith("record 2: ")
    assert len(rejection.instruction) <= MAX_INSTRUCTION


def test_a_frame_says_where_in_its_episode_it_lies_and_keeps_it_where_it_is_rejected(tmp_path, photos):
    said = {"episode": 7, "camera": "wrist", "frame": 3, "time_s": 0.3}
    lines = [{"image": "a.png", "instruction": ASK, **said}, {"image": "none.png", "instruction": ASK, **said}]
    own = {"image": "b.png", "instruction": ASK, "frame": "wood", "camera": {"f": 2.8}, "time_s": None}
    sample, rejection, still = read(tmp_path, photos, *lines, own)
    assert sample.moment == rejection.moment == Moment("7", "wrist", 3, 0.3) and rejection.reason == "image_missing"
    assert isinstance(still, Sample) and still.moment is None


def test_a_table_has_moments_too(tmp_path, photos):
    manifest = tmp_path / "set.csv"
    manifest.write_text(f"image,instruction,episode,camera,frame,time_s\na.png,{ASK},g1/0,,12,\nb.png,{ASK},,,,\n")
    sample, still = read_part(plan(manifest)[0], photos)
    assert sample.moment == Moment("g1/0", "", 12) and still.moment is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"episode": True}, "'episode' must be a string or a whole number"),
        ({"episode": {"id": 1}}, "'episode' must be a string"),
        ({"episode": " "}, "'episode' must be 1 to 500 characters"),
        ({"episode": "a\nb"}, "'episode' must be 1 to 500 characters"),
        ({"episode": "\ud800"}, "'episode' must be 1 to 500 characters"),
        ({"episode": "a", "camera": 1.5}, "'camera' must be a string"),
        ({"episode": "a", "frame": 1.5}, "'frame' must be a whole number from 0"),
        ({"episode": "a", "frame": -1}, "'frame' must be a whole number from 0"),
        ({"episode": "a", "frame": 2**31}, "'frame' must be a whole number from 0"),
        ({"episode": "a", "frame": "x"}, "'frame' must be a whole number from 0"),
        ({"episode": "a", "time_s": "soon"}, "'time_s' must be a number of seconds"),
        ({"episode": "a", "time_s": float("inf")}, "'time_s' must be a number of seconds"),
        ({"episode": "a", "time_s": 10**400}, "'time_s' must be a number of seconds"),
    ],
)
def test_a_moment_that_is_none_is_refused(tmp_path, photos, said, why):
    (rejection,) = read(tmp_path, photos, {"image": "a.png", "instruction": ASK, **said})
    assert rejection.reason == "bad_manifest_line" and why in rejection.detail


def test_a_rejection_names_what_could_be_read_of_the_line(tmp_path, photos):
    words = {"source": "mine", "kind": "relation", "difficulty": "hard"}
    rejection, unread = read(tmp_path, photos, {"image": "none.png", "instruction": ASK, **words}, b"{")
    assert (rejection.image_uri, rejection.instruction, rejection.source) == ("none.png", ASK, "mine")
    assert (rejection.kind, rejection.difficulty) == ("relation", "hard")
    assert (unread.kind, unread.difficulty, unread.source) == ("", "", "set")


def test_rejections_have_ids_of_their_own_that_do_not_depend_on_the_part_size(tmp_path, photos):
    lines = [GOOD, GOOD, b"bad", b"bad", GOOD]
    small, large = (read(tmp_path, photos, *lines, part_size=size) for size in (2, 64))
    assert [o.sample_id for o in small[1:]] == [o.sample_id for o in large[1:]]
    assert len({o.id if isinstance(o, Sample) else o.sample_id for o in small}) == 5


def test_pairs_that_came_earlier_are_duplicates_within_and_across_parts(tmp_path, photos):
    outcomes = read(
        tmp_path, photos, GOOD, {**GOOD, "image": "b.png"}, GOOD, {**GOOD, "instruction": "Other."}, part_size=2
    )
    assert [getattr(o, "reason", "sample") for o in outcomes] == ["sample", "sample", "duplicate", "sample"]


def test_the_same_bytes_under_another_name_are_a_duplicate(tmp_path, photos):
    outcomes = read(tmp_path, photos, GOOD, {**GOOD, "image": "copy_of_a.png"}, {**GOOD, "image": "./a.png"})
    assert [getattr(o, "reason", "sample") for o in outcomes] == ["sample", "duplicate", "duplicate"]


BOX, OTHER = {"targets": [{"box": [1, 2, 9, 9]}]}, {"targets": [{"box": [2, 2, 9, 9]}]}
HELD = {"held_out": True}
TWINS = {
    "equal": ((BOX, BOX), ("sample", "duplicate")),
    "different": ((BOX, OTHER), ("conflicting_targets", "conflicting_targets")),
    "absent and there": (({"targets": []}, BOX), ("conflicting_targets", "conflicting_targets")),
    "unlabeled and labeled": (({}, BOX), ("duplicate", "sample")),
    "to train and to score": ((BOX, BOX | HELD), ("duplicate", "sample")),
    "to score and to train": ((BOX | HELD, BOX), ("sample", "duplicate")),
    "an unlabeled one to score": ((BOX, HELD), ("conflicting_targets", "conflicting_targets")),
}


@pytest.mark.parametrize("part_size", [1, 64])
@pytest.mark.parametrize("name", TWINS)
def test_of_records_of_one_pair_the_first_does_not_count_blindly(tmp_path, photos, name, part_size):
    twins, reasons = TWINS[name]
    outcomes = read(tmp_path, photos, *({**GOOD, **twin} for twin in twins), part_size=part_size)
    assert tuple(getattr(outcome, "reason", "sample") for outcome in outcomes) == reasons
    assert not any(
        o.held_out is False for o in outcomes if isinstance(o, Sample) and any(HELD.items() <= t.items() for t in twins)
    )


MASKS = {"targets": [{"polygons": [[1, 2, 9, 2, 9, 9]]}]}, {"targets": [{"polygons": [[2, 2, 9, 2, 9, 9]]}]}


def test_twins_under_another_name_are_settled_by_what_they_say(tmp_path, photos):
    copy = {**GOOD, "image": "copy_of_a.png"}
    one, other = MASKS
    for twin, reasons in (
        (one, ["sample", "duplicate"]),
        (other, ["conflicting_targets"] * 2),
        (one | HELD, ["duplicate", "sample"]),
        ({}, ["sample", "duplicate"]),
    ):
        outcomes = read(tmp_path, photos, {**GOOD, **one}, {**copy, **twin})
        assert [getattr(outcome, "reason", "sample") for outcome in outcomes] == reasons


@pytest.mark.parametrize("text", ["Où est la tasse rouge ?", "把红杯子放在盘子上。", "أين الكوب الأحمر؟", "🍎 apple"])
def test_instructions_in_any_language_are_kept(tmp_path, photos, text):
    (sample,) = read(tmp_path, photos, {"image": "a.png", "instruction": f"  {text}\n"})
    assert sample.instruction == unicodedata.normalize("NFC", text)


def test_one_text_in_two_unicode_forms_is_one_instruction(tmp_path, photos):
    forms = [unicodedata.normalize(form, "Où est le café ?") for form in ("NFD", "NFC")]
    first, second = read(tmp_path, photos, *({"image": "a.png", "instruction": form} for form in forms))
    assert first.instruction == forms[1]
    assert second.reason == "duplicate"


def test_a_byte_order_mark_and_blank_lines_do_no_harm(tmp_path, photos):
    outcomes = read(
        tmp_path, photos, b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r", b"", b"  ", {**GOOD, "image": "b.png"}
    )
    assert [type(o) for o in outcomes] == [Sample, Sample]


def test_a_csv_gives_the_samples_of_its_rows(tmp_path, photos):
    manifest = tmp_path / "set.csv"
    Image.fromarray(np.eye(20, 30, dtype=bool)).save(photos / "mask.png")
    manifest.write_text(
        "\ufeffkind,image,instruction,source,mask,more\r\n"
        'unique,a.png,"Find the cup, the ""red"" one.\nNow!",mine,mask.png,x\r\n'
        "\r\n"
        "unique,b.png,Find the cup,,,\r\n"
        "unique,b.png,one, comma too many,,,\r\n"
        "unique,b.png\r\n"
        "unique,b.png,,,,\r\n",
        newline="",
    )
    outcomes = [o for part in plan(manifest, 2) for o in read_part(part, photos)]
    first, second, *bad = outcomes
    assert (first.instruction, first.source) == ('Find the cup, the "red" one.\nNow!', "mine")
    assert rle.area(first.human_mask) == 20
    assert (second.source, second.human_mask) == ("set", None)
    assert [o.reason for o in bad] == ["bad_manifest_line", "bad_manifest_line", "instruction_empty"]


def read_csv(tmp_path, photos, text):
    manifest = tmp_path / "set.csv"
    manifest.write_text(text)
    return [outcome for part in plan(manifest) for outcome in read_part(part, photos)]


def test_a_csv_may_hold_out_and_label_its_rows(tmp_path, photos):
    box = json.dumps([{"box": [1, 2, 9, 9]}]).replace('"', '""')
    rows = ["a.png,Find it.,TRUE,", f'b.png,Find it.,no,"{box}"', "b.png,Find that.,,[]", "b.png,Find one.,maybe,"]
    held, free, absent, bad = read_csv(
        tmp_path, photos, "\n".join(["image, instruction,held_out,targets", *rows, "b.png,Find two.,0,{"][:-1])
    )
    assert (held.held_out, held.human_mask) == (True, None)
    assert (free.held_out, [box.x1 for box in free.human_boxes]) == (False, [9])
    assert (absent.held_out, rle.area(absent.human_mask)) == (False, 0)
    assert bad.reason == "bad_manifest_line" and "'held_out' must be true or false" in bad.detail
    (torn,) = read_csv(tmp_path, photos, "image,instruction,targets\na.png,Find it.,[{\n")
    assert torn.reason == "bad_manifest_line"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("picture,answer", r"\['picture', 'answer'\].*none of them can be the instruction"),
        ("a b", "none of them can be the image or the instruction; call one 'image' and one 'instruction'"),
        ("file,url,prompt", "'file' and 'url' may all be the image; call that one 'image'"),
        ("image;question;text", "'question' and 'text' may all be the instruction"),
        ("image,instruction,heldout", "'heldout' looks like 'held_out'"),
        ("image,instruction,Mask", "'Mask' looks like 'mask'"),
        ("image,instruction,bbox", "'bbox' belongs into"),
        ("image,instruction,ignore", "'ignore', which only JSONL can hold"),
        ("image,instruction,mask,mask", "each name may come once"),
    ],
)
def test_a_csv_whose_columns_would_be_misread_is_a_configuration_error(tmp_path, photos, header, message):
    with pytest.raises(ConfigError, match=message):
        read_csv(tmp_path, photos, f"{header}\na.png,Find,x,y\n")


IMAGE, TEXT = "column {!r} is taken as the image".format, "column {!r} is taken as the instruction".format


@pytest.mark.parametrize(
    ("name", "header", "said"),
    [
        ("set.csv", "image,instruction,kind", []),
        ("set.csv", "File Name,prompt,kind", [IMAGE("File Name"), TEXT("prompt")]),
        ("set.csv", "kind;image;Instruction", [TEXT("Instruction"), "columns are separated by semicolons"]),
        ("set.tsv", "image_path\tkind\tquery", [IMAGE("image_path"), TEXT("query"), "columns are separated by tabs"]),
        ("set.tsv", "image,instruction,kind,text,url", []),
    ],
)
def test_columns_are_found_by_what_they_are_called_and_what_lies_between_them(tmp_path, photos, name, header, said):
    separator = next(one for one in "\t;," if one in header)
    cells = {"kind": "unique", "text": "no", "url": "no.png"}
    wanted = {"i": "a.png", "F": "a.png", "p": f"Find{separator} the cup.", "q": f"Find{separator} the cup."}
    wanted |= {"image": "a.png", "instruction": f"Find{separator} the cup.", "Instruction": f"Find{separator} the cup."}
    row = [cells.get(column) or wanted.get(column) or wanted[column[0]] for column in header.split(separator)]
    manifest = tmp_path / name
    manifest.write_text(header + "\n" + separator.join(f'"{cell}"' for cell in row) + "\n" + separator.join(row) + "\n")
    quoted, torn = [outcome for part in plan(manifest) for outcome in read_part(part, photos)]
    assert (quoted.instruction, quoted.kind, quoted.image_uri) == (f"Find{separator} the cup.", "unique", "a.png")
    assert torn.reason == "bad_manifest_line" and "in double quotes" in torn.detail
    assert columns_of(manifest).guesses == ", ".join(said)


def test_a_root_that_is_no_folder_is_a_configuration_error(tmp_path):
    manifest = tmp_path / "set.jsonl"
    manifest.write_text(json.dumps(GOOD))
    with pytest.raises(ConfigError, match="image root"):
        read_part(plan(manifest, 5)[0], tmp_path / "nowhere")


def test_the_limits_of_images_are_obeyed(tmp_path, photos):
    manifest = tmp_path / "set.jsonl"
    manifest.write_text(json.dumps(GOOD))
    (outcome,) = read_part(plan(manifest, 5)[0], photos, ImageLimits(max_pixels=599))
    assert outcome.reason == "image_too_large"


LINES = st.one_of(
    st.sampled_from([line for line, _ in BAD_LINES.values()]),
    st.fixed_dictionaries(
        {"image": st.sampled_from(["a.png", "b.png", "copy_of_a.png"]), "instruction": st.text(max_size=3)}
    ),
    st.binary(min_size=1, max_size=9).filter(lambda raw: b"\n" not in raw and raw.strip()),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(LINES, min_size=1, max_size=12), st.integers(1, 5))
def test_every_line_ends_as_exactly_one_sample_or_rejection_in_order(tmp_path_factory, photos, lines, part_size):
    folder = tmp_path_factory.getbasetemp()
    outcomes = read(folder, photos, *lines, part_size=part_size)
    assert len(outcomes) == len(lines)
    assert outcomes == read(folder, photos, *lines, part_size=part_size)
    assert len({o.id if isinstance(o, Sample) else o.sample_id for o in outcomes}) >= sum(
        isinstance(o, Rejection) for o in outcomes
    )
    for position, outcome in enumerate(outcomes):
        if isinstance(outcome, Rejection):
            assert outcome.detail.startswith(f"record {position + 1}: ")
        else:
            assert outcome.image_uri == lines[position]["image"]


def test_all_development_photographs_become_samples(photos_dev):
    manifest = photos_dev / "manifest.jsonl"
    outcomes = [outcome for part in plan(manifest, 64) for outcome in read_part(part)]
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert all(isinstance(outcome, Sample) for outcome in outcomes)
    assert [o.instruction for o in outcomes] == [line["instruction"] for line in lines]
    assert [(o.width, o.height) for o in outcomes] == [(line["width"], line["height"]) for line in lines]
    assert [rle.area(o.human_mask) > 0 for o in outcomes] == [bool(line["targets"]) for line in lines]
