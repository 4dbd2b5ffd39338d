import json

import pytest
from tiny_sets import noise_face

from ddl_tf import evaluate
from ddl_tf.common.errors import InputError
from ddl_tf.miniature import LAYOUTS, MiniatureSettings, main
from ddl_tf.miniatures import ijb, ijbs, megaface, scface, survface, tinyface
from ddl_tf.miniatures import pairs as miniature_pairs


# The layout `photos` is no benchmark's: tests/miniatures/test_miniature_photos.py.
@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout != "photos"])
def test_every_layout_is_evaluated_by_the_command_that_it_names(layout, checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ddl_tf.miniatures.ijb.SUBJECTS", 12)
    miniature_pairs._draw.cache_clear()
    for module in (ijb, ijbs, megaface, miniature_pairs, scface, survface, tinyface):
        monkeypatch.setattr(module, "render", noise_face)
    folder = tmp_path / layout
    main(MiniatureSettings(layout=layout, output=str(folder)))
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"{folder}/"
    name, *flags = printed[-1].split("ddl_tf.evaluate ")[1].split()
    run, settings_class = evaluate.COMMANDS[name]
    fields, values = settings_class.__dataclass_fields__, {}
    for flag, value in (flag.lstrip("-").replace("=MODEL", f"={checkpoint}").split("=") for flag in flags):
        values[flag] = value.split(",") if fields[flag].type == list[str] else value
    run(settings_class(**values, replicates=0, store=str(tmp_path / "store")))
    for line in capsys.readouterr().out.splitlines():
        result = json.loads(line)
        assert result["set"]
        assert (tmp_path / "store" / result["set"] / "result.json").is_file()
    miniature_pairs._draw.cache_clear()


def test_what_is_there_stays_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="is there already"):
        main(MiniatureSettings(layout="lfw", output=str(tmp_path)))
    with pytest.raises(InputError, match="--layout is missing"):
        main(MiniatureSettings(output=str(tmp_path / "new")))

    def fail(folder, seed):
        folder.mkdir()
        (folder / "half").touch()
        raise OSError("no space")

    monkeypatch.setitem(LAYOUTS, "cfp", (fail, ""))
    with pytest.raises(OSError, match="no space"):
        main(MiniatureSettings(layout="cfp", output=str(tmp_path / "new")))
    assert list(tmp_path.iterdir()) == []
    mine = tmp_path / ".lfw.partial/thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    main(MiniatureSettings(layout="lfw", output=str(tmp_path / "lfw")))
    assert mine.read_text() == "years of work"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lfw.partial", "lfw"]
