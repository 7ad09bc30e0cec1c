"""Text tables as Excel, R, pandas and instruments write them."""

import bz2
import gzip

import numpy as np
import pyarrow as pa
import pytest

from nelbo.data import load
from nelbo.data.tables import read_text

ROWS = [[1.5, 2.0, -3.25], [2.25, 3.0, 4.5], [1e-3, 40.0, 5.75]]


def written(separator=",", decimal=".", names=("Größe", "b", "c"), quote=""):
    lines = [separator.join(names), *(separator.join(f"{quote}{v:.4f}{quote}" for v in row) for row in ROWS)]
    return "\n".join(line if i == 0 else line.replace(".", decimal) for i, line in enumerate(lines)) + "\n"


def loaded(path, content, **options):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return load(path, validation=0, **options)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    ("separator", "decimal", "quote"),
    [(",", ".", ""), (";", ".", ""), (";", ",", ""), ("\t", ",", ""), ("|", ".", ""), (" ", ".", ""), (",", ",", '"')],
)
def test_separators_decimals_and_encodings(tmp_path, encoding, separator, decimal, quote):
    data = loaded(tmp_path / "t.csv", written(separator, decimal, quote=quote).encode(encoding))
    assert data.origin["features"] == ["Größe", "b", "c"]
    assert np.allclose(data.train.take(3), ROWS)
    notes = " ".join(data.origin["notes"])
    assert ("separated by" in notes) == (separator != ",")
    assert ("decimal commas" in notes) == (decimal == ",")
    assert ("encoding" in notes) == (not encoding.startswith("utf-8"))


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\r\na;b\r\n1;2\r\n3;4\r\n",  # Excel's hint
        "a;b\r\n1;2\r\n\r\n3;4\r\n",
        "  a      b \n  1      2 \n  3      4\n",  # aligned, as numpy and Fortran print
        "  a      b \r\n  1      2 \r\n  3      4",
        "a, b\n1, 2\n3, 4\n",
        '"a"\t"b"\n1\t2\n3\t4\n',
        "a|b\n1|2\n3|4\n",
        "a;b\r1;2\r3;4\r",  # an old Mac's
        "# from the logger\n# metres, seconds\na,b\n1,2\n3,4\n",
        "# one, two\na b\n1 2\n3 4\n",
        "#\r\na\tb\r\n1\t2\r\n3\t4\r\n",
    ],
)
def test_ways_to_write_one_table(tmp_path, text):
    data = loaded(tmp_path / "t.txt", text)
    assert data.origin["features"] == ["a", "b"]
    assert data.train.take(2).tolist() == [[1, 2], [3, 4]]


def test_lines_of_comments_are_counted_and_a_head_is_none(tmp_path):
    data = loaded(tmp_path / "t.csv", "# from the logger\n#id,b\n1,2\n3,4\n")
    assert data.origin["features"] == ["#id", "b"]
    assert "1 lines of comments above the table" in data.origin["notes"][0]


@pytest.mark.parametrize("marker", ["?", "-", ".", "None", "n/a", "<NA>", "missing"])
def test_marks_of_missing_numbers(tmp_path, marker):
    """Among numbers they stand for no value; among texts, for a category or, as pandas writes them, for none."""
    text = "a,b\n" + "".join(
        f"{marker if i % 9 == 2 else i / 4},{marker if i % 7 == 3 else 'xy'[i % 2]}\n" for i in range(60)
    )
    data = loaded(tmp_path / "t.csv", text, columns="all", missing="observed")
    a, b = data.train.take(60).T
    assert a.isnan().nonzero().flatten().tolist() == list(range(2, 60, 9))
    assert b.isnan().any() == (marker in ("n/a", "<NA>"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('x,"a;b;c"\n1,2\n3,4\n', ["x", "a;b;c"]),  # separators within quotes are none
        ("a b,c d\n1,2\n3,4\n", ["a b", "c d"]),
        ("only one\n1\n2\n", ["only one"]),
        ("a;b\n1,5;2\n3,25;4\n", ["a", "b"]),
        ("1,5;2,5;3\n4,5;6,5;7\n", ["f0", "f1", "f2"]),  # no names, and as many commas as columns
        ("1,5 2\n3,25 4\n", ["f0", "f1"]),
    ],
)
def test_what_separates_where_several_could(tmp_path, text, names):
    assert loaded(tmp_path / "t.csv", text).origin["features"] == names


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", lambda b: pa.compress(b, "zstd"))]
)
def test_compressed_tables(tmp_path, suffix, pack):
    if suffix == ".zst":  # with the frame that programs write, not arrow's bare block
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(written(";", ",").encode())
        content = sink.getvalue().to_pybytes()
    else:
        content = pack(written(";", ",").encode())
    data = loaded(tmp_path / f"t.csv{suffix}", content)
    assert np.allclose(data.train.take(3), ROWS)
    with pytest.raises(ValueError, match=rf"u\.tsv{suffix} cannot be read as a table.*compressed"):
        loaded(tmp_path / f"u.tsv{suffix}", content[: len(content) // 2] if suffix != ".zst" else b"no zstd at all")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1,\x81\n", r"t\.csv is text neither in UTF-8 nor in cp1252.*0x81.*encoding='utf-8'"),
        (b"\x00\x01\x02\x00\x00", r"t\.csv is not text"),
        (b"a;b;c\n1;2;3\n1;2\n", r"t\.csv cannot be read as a table.*separated by semicolons"),
        (b"", r"t\.csv cannot be read as a table"),
        (b"Report 2024\n\na,b\n1,2\n3,4\n", r"t\.csv cannot be read as a table.*is a title.*skiprows=1"),
    ],
)
def test_what_is_no_table_names_the_file(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        loaded(tmp_path / "t.csv", content)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["1,234", "5,678"], "numbers with thousands separators such as '1,234'.*thousands="),
        (["1 234", "5 678"], "thousands separators"),
        (["1.234,5", "5.678,9"], "thousands separators.*thousands='.', decimal=','"),
        (["9'929.44", "12.50"], "thousands separators"),
        (["9\u202f929,44", "12,50"], "thousands separators"),
        (["12 %", "7%"], r"percentages such as '12 %'.*astype\(float\) / 100"),
        (["$1.50", "$2.75"], "amounts of money"),
        (["01.02.2020", "17.05.2021"], r"dates such as '01\.02\.2020'.*to_datetime"),
        (["2020-01-05", "2021-02-03"], "dates such as.*to_datetime"),
        (["2020-01-05 10:00:01", "2021-02-03 10:00:00"], "dates such as.*to_datetime"),
        (["10:25", "11:30"], "times such as"),
        (["red", "blue"], "text such as 'red'.*label='x' if it names the class"),
        (["1", "2", "unknown"], "such as 'unknown' among numbers"),
    ],
)
def test_what_is_not_guessed_is_named(tmp_path, cells, message):
    lines = [f'"{cell}";{i}.5' for i, cell in enumerate(cells * 3)]
    with pytest.raises(ValueError, match=rf"column 'x' of t\.csv must hold numbers.*{message}.*columns=\['y'\]"):
        loaded(tmp_path / "t.csv", "\n".join(["x;y", *lines]))


def test_free_text_and_names_are_told_from_categories(tmp_path):
    sentences = [f"patient {i} felt well and went home" for i in range(80)]
    with pytest.raises(ValueError, match="free text such as 'patient 0"):
        loaded(tmp_path / "t.csv", "\n".join(["x,y", *(f"{s},{i}" for i, s in enumerate(sentences))]))
    with pytest.raises(ValueError, match="names or ids such as 'P0'"):
        loaded(tmp_path / "t.csv", "\n".join(["x,y", *(f"P{i},{i}" for i in range(80))]))


def test_decimal_commas_told_late_in_the_file_are_named(tmp_path):
    lines = ["x;y", *(f"{i};{i}" for i in range(300)), "1,5;2"]
    with pytest.raises(ValueError, match=r"column 'x' of t\.csv.*numbers with decimal commas such as '1,5'"):
        loaded(tmp_path / "t.csv", "\n".join(lines))


def test_a_byte_that_is_not_utf_8_may_stand_late_in_a_file(tmp_path):
    lines = "\n".join(["x,name", *("1,Bern" for _ in range(200_000)), "2,Köln"])
    data = loaded(tmp_path / "t.csv", lines.encode("cp1252"), label="name")
    assert data.origin["label_names"] == ["Bern", "Köln"]
    text = "x,name\n" + "1,éé\n" * 400_000  # characters of two bytes, some of which are cut by a block
    assert loaded(tmp_path / "t.csv", text, label="name").origin["label_names"] == ["éé"]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_codes_with_leading_zeros_are_text(tmp_path, separator, late):
    codes = ["01067", "80331", "04109"]
    cells = [codes[i % 3] if not late or i > 390 else codes[1] for i in range(400)]
    lines = [separator.join(row) for row in [("plz", "x", "n"), *((c, f"0.{i}5", "10") for i, c in enumerate(cells))]]
    data = loaded(tmp_path / "t.csv", "\n".join(lines), columns="all")
    assert data.kinds["plz"].categories == tuple(sorted(codes))
    assert data.kinds["x"].kind == "bounded"
    with pytest.raises(ValueError, match=r"'plz' of t\.csv.*leading zeros such as '0[14].*pd\.read_csv"):
        loaded(tmp_path / "t.csv", "\n".join(lines))
    # a run that was trained on them as numbers reads them so
    assert read_text(tmp_path / "t.csv", known={"plz": False}).x[-1, 0] in (1067, 4109, 80331)


def test_zeros_that_lead_no_code_leave_numbers_numbers(tmp_path):
    data = loaded(tmp_path / "t.csv", "a,b,c\n0,0.05,100\n10,-0.5,0\n0,1e05,200\n")
    assert data.train.take(3)[:, 0].tolist() == [0, 10, 0]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (["3,36", "2,5", "1,125"], ["1.234", "850", "12.500"]),
        (["3", "2", "1"], ["1.234,5", "850", "12.500"]),
        (["3,36", "2,5", "1,125"], ["1.234.567", "850", "12.500"]),
    ],
)
def test_points_beside_decimal_commas_separate_thousands(tmp_path, a, b):
    text = "a;b\n" + "".join(f"{x};{y}\n" for x, y in zip(a * 9, b * 9, strict=True))
    data = loaded(tmp_path / "t.csv", text, columns=["a"])
    assert data.train.take(27)[:3, 0].tolist() == pytest.approx([float(x.replace(",", ".")) for x in a])
    with pytest.raises(ValueError, match=r"'b' of t\.csv.*thousands separators such as.*thousands='\.', decimal=','"):
        loaded(tmp_path / "t.csv", text)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["1.234", "850", "12.500", "990"], True),
        (["1.234", "2.345"], True),
        (["1.234", "0.500"], False),
        (["1.234", "2.5"], False),
        (["1.234", "1850"], False),
        (["1.234", "2.345"] * 200 + ["1.5"], True),  # a decimal that the writer's own zeros could have filled
        (["1.234", "2.345"] * 200 + ["1.2345"], False),
    ],
)
def test_points_that_may_separate_thousands_are_told(tmp_path, cells, told):
    data = loaded(tmp_path / "t.csv", "n;umsatz\n" + "".join(f"3;{cell}\n" for cell in cells))
    notes = [note for note in data.origin["notes"] if "thousands" in note]
    assert len(notes) == told
    assert all("'umsatz', as in '1.234'" in note and "sep=';', thousands='.'" in note for note in notes)


def test_commas_that_separate_thousands_are_no_decimal_commas(tmp_path):
    data = loaded(tmp_path / "t.csv", 'a;b\n1.250;"1,234.50"\n2.500;"9,929.40"\n', columns=["a"])
    assert data.train.take(2)[:, 0].tolist() == [1.25, 2.5]
