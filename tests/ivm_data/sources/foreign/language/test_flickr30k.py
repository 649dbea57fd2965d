import pytest

SENTENCES = """\
[/EN#1/people A man] in [/EN#2/clothing a blue shirt] is standing on [/EN#3/other a ladder] .
[/EN#1/people a man] and [/EN#4/people A Man] look at [/EN#0/notvisual what] [/EN#5/scene a street] shows .
[/EN#6/other a noise] near [/EN#2/clothing/bodyparts his shirt] .
"""
BOX = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
ANNOTATION = f"""\
<annotation>
  <filename>1000092795.jpg</filename>
  <size><width>64</width><height>48</height><depth>3</depth></size>
  <object><name>1</name>{BOX.format(1, 1, 10, 20)}</object>
  <object><name>2</name><name>3</name>{BOX.format(5, 5, 64, 48)}</object>
  <object><name>4</name>{BOX.format(30, 2, 40, 20)}</object>
  <object><name>5</name><scene>1</scene><nobndbox>0</nobndbox></object>
  <object><name>6</name><scene>0</scene><nobndbox>1</nobndbox></object>
</annotation>
"""


@pytest.fixture
def entities(write, tmp_path):
    write("entities/Sentences/1000092795.txt", SENTENCES)
    write("entities/Annotations/1000092795.xml", ANNOTATION)
    return str(tmp_path / "entities")


def test_a_phrase_is_an_instruction_with_all_boxes_of_what_it_names(records, entities):
    pairs, bad = records("flickr30k", entities=entities)
    assert not bad
    assert [(p.instruction, p.kind, [t["box"] for t in p.targets]) for p in pairs] == [
        ("A man", "people", [[0, 0, 10, 20], [29, 1, 40, 20]]),
        ("a blue shirt", "clothing", [[4, 4, 64, 48]]),
        ("a ladder", "other", [[4, 4, 64, 48]]),
        ("his shirt", "clothing", [[4, 4, 64, 48]]),
    ]
    assert {pair.image for pair in pairs} == {"flickr30k/images/1000092795.jpg"}


def test_phrases_without_a_box_ask_for_nothing(records, entities):
    said = {pair.instruction for pair in records("flickr30k", entities=entities)[0]}
    assert not said & {"what", "a street", "a noise"}


@pytest.mark.parametrize("xml", ["<annotation>", "", ANNOTATION.replace("<xmin>30</xmin>", "<xmin>left</xmin>")])
def test_a_broken_annotation_is_one_bad_record_without_a_path_of_this_machine(records, entities, write, tmp_path, xml):
    write("entities/Sentences/2.txt", SENTENCES)
    write("entities/Annotations/2.xml", xml)
    write("entities/Sentences/3.txt", SENTENCES)
    pairs, bad = records("flickr30k", entities=entities)
    assert len(pairs) == 4
    assert [record.where for record in bad] == ["Annotations/2.xml", "Annotations/3.xml"]
    assert not any(str(tmp_path) in record.why for record in bad)


def test_a_splits_list_says_which_images_are_read(records, entities, write):
    pairs, bad = records("flickr30k", entities=entities, ids=write("val.txt", "1000092795\n42\n"), held_out=True)
    assert [pair.held_out for pair in pairs] == [True] * 4
    assert [record.where for record in bad] == ["Annotations/42.xml"]
