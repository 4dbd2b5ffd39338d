import re

from ddl_tf.common import progress


def test_lines_now_and_then_where_there_is_no_terminal(capsys, monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress("import", total=1010, done=1000) as shown:
        for _ in range(10):
            shown.advance()
        shown.write("a word between")
    lines = capsys.readouterr().err.splitlines()
    # An image each 4 seconds, a line each 10 seconds or more; the images done before count for no rate.
    assert lines == [
        "import: 1,003 of 1,010, 4.0 s each, 28 s left",
        "import: 1,006 of 1,010, 4.0 s each, 16 s left",
        "import: 1,009 of 1,010, 4.0 s each, 4 s left",
        "a word between",
    ]


def test_fast_work_has_a_rate_and_nothing_done_none(capsys, monkeypatch):
    for steps, line in (((22,), "2.0 images/s, 89 s left"), ((0, 22), "1.0 images/s, 178 s left")):
        clock = iter(range(0, 1000, 11))
        monkeypatch.setattr(progress.time, "monotonic", lambda clock=clock: next(clock))
        with progress.Progress("import", total=200) as shown:
            for step in steps:
                shown.advance(step)
        assert capsys.readouterr().err == f"import: 22 of 200, {line}\n"


def test_a_bar_in_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress.Progress("import", total=4, done=1) as shown:
        for _ in range(3):
            shown.advance()
    assert re.search(r"import: 100%.* 4\.00/4\.00 .*image/s", capsys.readouterr().err)
