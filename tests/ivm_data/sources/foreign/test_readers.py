import pytest

from ivm_data.sources.foreign.readers import describe, names, read
from storage.errors import ConfigError


def test_every_reader_says_in_one_line_what_it_makes_and_which_files_it_reads():
    for reader in map(describe, names()):
        assert reader.makes.endswith(".") and len(reader.makes) < 130
        assert reader.reads and "\n" not in reader.makes + reader.reads
        assert reader.needs


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("coca", {}, "unknown source 'coca'; choose one of coco"),
        ("coco", {}, "source 'coco' needs option 'instances'"),
        ("coco", {"instances": "x", "picture": "y"}, "no option 'picture'; choose from instances"),
        ("coco", {"instances": "x", "held_out": "maybe"}, "held_out must be true or false"),
        ("coco", {"instances": "gone.json"}, "'gone.json' is not there; set instances"),
        ("flickr30k", {"entities": "gone"}, "set entities"),
    ],
)
def test_options_that_do_not_fit_are_configuration_errors(name, options, message):
    with pytest.raises(ConfigError, match=message):
        list(read(name, options))
