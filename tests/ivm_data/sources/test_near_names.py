import unicodedata
import zipfile

import pytest

from ivm_data.sources.files import ImageFiles, read_inside
from storage.errors import InputError

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "fotos/café.png") for form in ("NFC", "NFD"))


@pytest.fixture
def root(tmp_path):
    for name in (COMPOSED, "fotos/a b.png", "fotos/100%25.png", "Deep/IMG_1.JPG", "deep/c#1.png"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (tmp_path / "secret.png").write_bytes(b"secret")
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        (DECOMPOSED, COMPOSED),
        ("fotos\\café.png", COMPOSED),
        ("fotos/caf%C3%A9.png", COMPOSED),
        ("fotos\\cafe%CC%81.png", COMPOSED),
        ("fotos/a%20b.png", "fotos/a b.png"),
        (".\\fotos\\a b.png", "fotos/a b.png"),
        ("fotos/100%25.png", "fotos/100%25.png"),
        ("deep/c%231.png", "deep/c#1.png"),
    ],
)
def test_another_spelling_of_a_name_is_found(root, reference, name):
    assert read_inside(root, reference, 100) == name.encode()


def test_a_file_of_the_very_name_comes_first(root):
    (root / "fotos" / "a%20b.png").write_bytes(b"literal")
    assert read_inside(root, "fotos/a%20b.png", 100) == b"literal"


@pytest.mark.parametrize("reference", ["Deep/img_1.jpg", "Deep\\IMG_1.jpg", "Deep/img%5F1.JPG"])
def test_letter_case_is_not_guessed_but_the_near_name_is_given(root, reference):
    with pytest.raises(InputError, match=r"image_missing.*'Deep/IMG_1.JPG' is there"):
        read_inside(root, reference, 100)


def test_a_file_with_no_near_name_is_missing_without_a_hint(root):
    with pytest.raises(InputError) as caught:
        read_inside(root, "fotos/other.png", 100)
    assert (caught.value.reason, "is there" in caught.value.detail) == ("image_missing", False)


@pytest.mark.parametrize(
    "reference", ["%2e%2e/secret.png", "fotos%2F..%2F..%2Fsecret.png", "..\\secret.png", "%2Fetc%2Fpasswd"]
)
def test_no_spelling_leads_out_of_the_root(root, reference):
    with pytest.raises(InputError) as caught:
        read_inside(root, reference, 100)
    assert caught.value.reason in ("image_missing", "image_outside_root")
    assert "secret.png' is there" not in caught.value.detail


def test_a_file_that_appears_later_is_seen(root):
    with pytest.raises(InputError):
        read_inside(root, "fotos/NEW.png", 100)
    (root / "fotos" / "new.png").write_bytes(b"new")
    with pytest.raises(InputError, match=r"'fotos/new\.png' is there"):
        read_inside(root, "fotos/NEW.png", 100)


def test_members_of_archives_are_found_the_same_way(root):
    with zipfile.ZipFile(root / "all.zip", "w") as archive:
        archive.writestr(COMPOSED, b"inside")
    with ImageFiles(root) as files:
        for name in (DECOMPOSED, "fotos\\café.png", "fotos/caf%C3%A9.png"):
            assert files.read(f"zip://{name}::all.zip", 100) == b"inside"
        with pytest.raises(InputError, match=r"image_missing.*is there"):
            files.read("zip://Fotos/café.png::all.zip", 100)
