import datetime
import shlex
import sys

from ddl_tf.common.provenance import command_line, utc_now


def test_the_command_line_can_be_pasted(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py", "--run_dir=my runs/x", "--seed=1"])
    assert command_line() == "train.py '--run_dir=my runs/x' --seed=1"
    assert shlex.split(command_line())[1] == "--run_dir=my runs/x"


def test_the_time_is_that_of_now_in_utc():
    now = datetime.datetime.fromisoformat(utc_now())
    assert now.utcoffset() == datetime.timedelta(0)
    assert abs((datetime.datetime.now(datetime.timezone.utc) - now).total_seconds()) < 60
