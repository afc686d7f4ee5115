"""Many books and models in one table of a suite file, expanded into plain ones."""

import re

import pytest

from pytest_memleak.errors import SuiteError
from pytest_memleak.suite.load import load_suite

TABLE = """\
id,source,author,year,rival
kafka,kafka.txt,Haruki Murakami,2002,Cormac McCarthy
wood,wood.txt,Haruki Murakami,1987,Cormac McCarthy
road,road.txt,Cormac McCarthy,2006,Haruki Murakami
suttree,suttree.txt,"McCarthy, Cormac",,Haruki Murakami
"""
BOOKS = '[limits]\nbmc = 0.1\n[[book]]\nsource = "books/list.csv"\n'
MODEL = '[[model]]\nid = "{id}"\nprovider = "openai"\nbase_model = {base}\n{more}\n'


@pytest.fixture
def load(tmp_path):
    """Load a suite of these tables beside the books of TABLE."""

    def write(text, table=TABLE):
        folder = tmp_path / "books"
        folder.mkdir(exist_ok=True)
        (folder / "list.csv").write_text(table, encoding="utf-8")
        for name in ("kafka", "wood", "road", "suttree"):
            (folder / f"{name}.txt").touch()
        path = tmp_path / "x.memleak.toml"
        path.write_text(text, encoding="utf-8")
        return load_suite(path)

    return write


def model(name="m", base='"gpt"', more="", **finetune):
    recipe = "".join(f"{key} = {value}\n" for key, value in finetune.items())
    table = MODEL.format(id=name, base=base, more=more)
    return table + ("[model.finetune]\n" + recipe if recipe else "")


def pairs_of(suite):
    return [pair.id for pair in suite.pairs]


def training_of(suite):
    return {each.id: each.finetune_books for each in suite.models}


def test_a_table_of_books_gives_plain_books_with_their_metadata(load, tmp_path):
    titles = 'title = "{id} of {year}"\nrole = "test"\n'
    suite = load(BOOKS + titles + model(), TABLE.replace(",,", ",1979,"))
    kafka = suite.book("kafka")
    assert kafka.source == tmp_path / "books" / "kafka.txt"
    assert (kafka.author, kafka.title) == ("Haruki Murakami", "kafka of 2002")
    assert kafka.metadata == {"year": "2002", "rival": "Cormac McCarthy"}
    assert pairs_of(suite) == ["m/kafka", "m/wood", "m/road", "m/suttree"]
    # The table may lie outside the suite's folder.
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / "x.memleak.toml"
    path.write_text(BOOKS.replace("books/", "../books/") + model(), encoding="utf-8")
    assert (
        load_suite(path).book("road").source.resolve()
        == tmp_path / "books" / "road.txt"
    )


def test_a_row_wins_over_its_table_and_an_empty_cell_says_nothing(load):
    suite = load(BOOKS + 'author = "Nobody"\n[book.metadata]\nyear = 1900\n' + model())
    assert suite.book("suttree").metadata == {"year": 1900, "rival": "Haruki Murakami"}
    assert suite.book("suttree").author == "McCarthy, Cormac"


def test_a_folder_is_its_books_without_their_summaries(load, tmp_path):
    load(BOOKS + model())
    for name in ("kafka", "wood", "road", "suttree"):
        (tmp_path / "books" / f"{name}.summaries.json").touch()
    shared = '[limits]\nbmc = 0.1\n[[book]]\nsource = "books"\nid = "own-{id}"\n'
    shared += 'summaries = "books/{id}.summaries.json"\nmetadata = { group = "mine" }\n'
    suite = load(shared + model())
    assert pairs_of(suite) == [
        "m/own-kafka",
        "m/own-road",
        "m/own-suttree",
        "m/own-wood",
    ]
    book = suite.book("own-wood")
    assert book.summaries == tmp_path / "books" / "wood.summaries.json"
    assert book.metadata == {"group": "mine"}


def test_files_of_a_folder_are_books_but_tables_suites_and_hidden_files(load, tmp_path):
    load(BOOKS + model())
    folder = tmp_path / "books"
    (folder / "in parts").mkdir()
    (folder / ".git").mkdir()
    for name in ("leaky.md", "scan.cbz", ".DS_Store", ".drafts.txt", "it.memleak.toml"):
        (folder / name).touch()
    suite = load('[limits]\nbmc = 0.1\n[[book]]\nsource = "books"\n' + model())
    added = {book.source.name for book in suite.books} - {"kafka.txt", "wood.txt"}
    assert added == {
        "leaky.md",
        "scan.cbz",
        ".drafts.txt",
        "in parts",
        "road.txt",
        "suttree.txt",
    }


def test_base_models_training_sets_and_seeds_are_multiplied(load):
    recipe = {"books": '[["road"], ["author:murakami"]]', "seed": "[1, 2]", "epochs": 3}
    name = "{base_model}-{books}-{seed}"
    suite = load(
        BOOKS
        + 'role = "train"\n[[book]]\nid = "it"\nsource = "books/road.txt"\n'
        + model(name, '["org/gpt", "gem"]', **recipe)
    )
    assert training_of(suite) == {
        f"{base}-{books}-{seed}": ids
        for base in ("org-gpt", "gem")
        for books, ids in (("road", ("road",)), ("murakami", ("kafka", "wood")))
        for seed in (1, 2)
    }
    assert suite.models[0].base_model == "org/gpt"
    assert suite.models[1].finetune == {"seed": 2, "epochs": 3}


def test_shares_of_the_training_set_are_models_of_their_own(load):
    recipe = {"books": '"author:murakami"', "share": "[0.25, 0.5, 1]", "epochs": 3}
    suite = load(
        BOOKS + model("tuned-{share}-{book}", more="tests = ['road']", **recipe)
    )
    assert {each.id: each.finetune_share for each in suite.models} == {
        "tuned-0.25-road": 0.25,
        "tuned-0.5-road": 0.5,
        "tuned-1-road": 1.0,
    }
    assert {tuple(each.finetune) for each in suite.models} == {("epochs",)}


def test_a_training_set_leaves_out_the_tested_book(load):
    table = TABLE.replace('"McCarthy, Cormac"', "Cormac McCarthy")
    suite = load(BOOKS + model("m-{book}", books='"author:{author}"'), table)
    assert training_of(suite) == {
        "m-kafka": ("wood",),
        "m-wood": ("kafka",),
        "m-road": ("suttree",),
        "m-suttree": ("road",),
    }
    assert pairs_of(suite) == [
        "m-kafka/kafka",
        "m-wood/wood",
        "m-road/road",
        "m-suttree/suttree",
    ]


def test_a_model_of_several_books_is_one_model(load):
    tests = 'tests = "author:mccarthy"'
    suite = load(BOOKS + model("m-{rival}", books='"author:{rival}"', more=tests))
    assert training_of(suite) == {"m-Haruki-Murakami": ("kafka", "wood")}
    assert pairs_of(suite) == ["m-Haruki-Murakami/road", "m-Haruki-Murakami/suttree"]


def test_an_endpoint_may_stand_in_the_table_of_books(load):
    text = '[[model]]\nid = "m-{book}"\nprovider = "openai"\nendpoint = "ft:{year}/{author}"\n'
    suite = load(BOOKS + text + 'tests = ["kafka", "road"]\n')
    endpoints = [each.endpoint for each in suite.models]
    assert endpoints == ["ft:2002/Haruki Murakami", "ft:2006/Cormac McCarthy"]
    assert pairs_of(suite) == ["m-kafka/kafka", "m-road/road"]


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        (
            '["kafka", "road", "leeky"]',
            "'m-kafka'.tests: no such id: 'leeky'; known ids: ",
        ),
        ('["kafka", "road", "own"]', "'m-kafka'.tests: 'own' has the role 'train'"),
        ('"kafka"', "'m-{book}'.tests: Input should be a valid list"),
    ],
)
def test_tests_of_models_that_differ_by_book_are_validated(load, tests, message):
    own = '[[book]]\nid = "own"\nsource = "books/wood.txt"\nrole = "train"\n'
    with pytest.raises(SuiteError, match=re.escape(message)):
        load(BOOKS + own + model("m-{book}", more=f"tests = {tests}"))


def test_facts_of_a_book_do_not_replace_its_id_where_books_are_selected(load):
    posing = 'metadata = { book = "nobody", role = "train", author = "Ann" }\nauthor = "Bo"\n'
    two = "".join(
        f'[[book]]\nid = "{name}"\nsource = "books/{name}.txt"\n{posing}'
        for name in ("road", "wood")
    )
    suite = load(
        "[limits]\nbmc = 0.1\n" + two + model("m-{book}", books='"author:{author}"')
    )
    assert training_of(suite) == {"m-road": ("wood",), "m-wood": ("road",)}


def test_controls_are_tested_with_every_model(load):
    control = (
        '[[book]]\nid = "quiet"\nsource = "books/road.txt"\nrole = "negative-control"\n'
    )
    suite = load(BOOKS + control + model(more='tests = ["kafka"]'))
    assert pairs_of(suite) == ["m/kafka", "m/quiet"]


def test_the_content_digest_covers_the_table_of_books(load):
    first, same = load(BOOKS + model()), load(BOOKS + model())
    changed = load(BOOKS + model(), TABLE.replace("2006", "2007"))
    assert first.content_digest == same.content_digest != changed.content_digest
    assert first.digest == changed.digest


WRONG = [
    ("m", {"books": '"author:mccarthy"'},
     "6: model[1].id: several models have the id 'm'", "add {book}"),
    ("m", {"books": '["road"]', "seed": "[1, 2]"}, "6: model[1].id: several", "add {seed}"),
    ("m-{books}", {"books": "[[]]"}, "11: model[1] 'm-{books}'.finetune.books: List", "change"),
    ("m-{x}", {},
     "6: model[1].id: 'm-{x}' has the unknown placeholder '{x}'",
     "known names: author, base_model, book"),
    ("m-{book}", {"books": '"author:woolf"'},
     "11: model[1].finetune.books: no book matches 'author:woolf'",
     "values of author: 'Haruki Murakami', 'Cormac McCarthy'"),
    ("m-{book}", {"books": '"year:2006"'},
     "11: model[1].finetune.books: no book is left to train on for the test with "
     "'road'",
     "list the books to test: tests = [...]"),
    ("m", {"epochs": "1"}, "10: model[1] 'm'.finetune.books: missing", "add books"),
    ("m-{seed}", {"books": '["road"]', "seed": "[]"},
     "12: model[1].finetune.seed: the list is empty", "remove the key"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "finetune", "message", "hint"), WRONG)
def test_an_error_of_a_matrix_names_file_line_and_key(
    load, name, finetune, message, hint
):
    with pytest.raises(SuiteError) as caught:
        load(BOOKS + model(name, **finetune))
    assert f"x.memleak.toml:{message}" in str(caught.value)
    assert hint in caught.value.hint


TABLES = [
    ("id\nx\n", "list.csv:2: source: missing"),
    ("id,source\n", "x.memleak.toml:4: book[1].source: 'books/list.csv' contains no book"),
    ("", "x.memleak.toml:4: book[1].source: 'books/list.csv' contains no book"),
    ("id,source,book\n", "list.csv:1: the column 'book' has another meaning in a suite"),
    ("id,id\n", "list.csv:1: the column 'id' must be a unique name of letters"),
    ("id,1\n", "list.csv:1: the column '1' must be"),
    ("id,source,sumaries\n", "list.csv:1: the column 'sumaries' resembles a key of [[book]]"),
    ("id,source\nroad,road.txt,a, b\n", "list.csv:2: has 4 cells, but the first row has 2"),
    ('id,source\nroad,"road.txt\n', "list.csv: can't be read: unexpected end of data"),
    ("id,source,role\na,road.txt,x\nb,wood.txt,y\n", "list.csv:3: book[1].role: Input should be "),
    ("id,source\na b,road.txt\n", "list.csv:2: book[1].id: "),
    ("id,source\na,road.txt\na,wood.txt\n", "list.csv:3: book: duplicate id 'a'"),
    ("id,source\na,gone.txt\n", "book 'a'.source: no such file: 'books/gone.txt'"),
    ("id,source,key\na,road.txt,sk-proj-Vq3x9LmT0aZr7Bn2\n", "key looks like a secret"),
    ("id,source,year,role\na,road.txt,1999,tset\n", "list.csv:2: book[1].role: Input should "),
    ("id,source,year\na,road.txt,1999\nb,wood.txt,\n",
     "list.csv:3: year: missing, but model[1].id = 'm-{year}' needs it"),
]  # fmt: skip


@pytest.mark.parametrize(("table", "message"), TABLES)
def test_an_error_of_a_table_of_books_names_its_row(load, table, message):
    with pytest.raises(SuiteError) as caught:
        load(BOOKS + model("m-{year}" if "year" in table else "m"), table)
    assert message in str(caught.value)
    assert "Vq3x9" not in str(caught.value)


def test_a_problem_of_many_models_is_told_once_with_its_line(load):
    text = BOOKS + model(
        "{base_model}", '["a", "b"]', more="accept = 1\nlimits = { bcm = 1 }"
    )
    with pytest.raises(SuiteError) as caught:
        load(text)
    assert re.findall(r"line (\d+): (.*?): ", str(caught.value)) == [
        ("10", "model[1] '{base_model}'.limits.bcm"),
        ("9", "model[1] '{base_model}'.accept"),
    ]


@pytest.mark.parametrize("source", ["nobody", "empty"])
def test_a_folder_without_books_is_an_error(load, tmp_path, source):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        SuiteError, match=r"no such file|x.memleak.toml:4: book\[1\].source: 'empty'"
    ):
        load(BOOKS.replace("books/list.csv", f"{source}") + 'id = "x"\n' + model())
