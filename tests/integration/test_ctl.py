"""`meltemi` and the mistakes that people make: each answer says what is wrong, where, what to do."""
import subprocess

import pytest
import yaml

from test_galley import Galley, vs
from util import BIN


@pytest.fixture(scope="module")
def galley(net, tmp):
    g = Galley(net, tmp, "ctl").start()
    yield g
    g.process.stop()


@pytest.fixture
def ctl(galley):
    def run(*args, stdin=None, at=None):
        return subprocess.run(
            [BIN / "meltemi", *map(str, args), "--galley", f"http://{at or galley.monitor}"],
            input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20,
            check=False)
    return run


def text(change=None, drop=(), **spec):
    o = vs("one")
    o["spec"].update(spec)
    o.update(change or {})
    for key in drop:
        o.pop(key)
    return yaml.safe_dump(o, sort_keys=False)


@pytest.mark.parametrize("content, words", [
    ("", "no configuration object"),
    ("# nothing\n---\n", "no configuration object"),
    ("a: [1,\nb: }", "bad.yaml:2:"),
    (text(htpp=[]), 'unknown field "htpp" (did you mean "http"?)'),
    (text(hosts="a"), "spec.hosts: a list is expected"),
    (text(http=[{"timeout": "fast", "route": [{"destination": {"host": "a"}}]}]), "a duration"),
    (text(http=[{"route": [{"destination": {"host": "a"}, "weight": "lots"}]}]),
     "spec.http[0].route[0].weight: an integer"),
    (text({"kind": "VirtualServise"}), "did you mean VirtualService?"),
    (text({"metadata": {"namespace": "x"}}), "name is missing"),
    (text(drop=["apiVersion"]), "apiVersion is missing"),
    (text(drop=["spec"]), "spec.hosts: is missing"),
    ("#" * (5 << 20), "more than the limit"),
    ("#" * (17 << 20), "is larger than")])
def test_bad_files_change_nothing(ctl, galley, tmp, content, words):
    bad = tmp / "bad.yaml"
    bad.write_text(content)
    for command in ("validate", "apply"):
        done = ctl(command, "-f", bad)
        assert done.returncode == 1 and words in done.stdout and "bad.yaml" in done.stdout
    assert galley.page()["objects"] == 0


def test_a_folder_with_one_bad_file_changes_nothing(ctl, galley, tmp):
    folder = tmp / "folder"
    folder.mkdir()
    assert "no configuration object" in ctl("apply", "-f", folder).stdout
    (folder / "a.yaml").write_text(text())
    (folder / "b.yaml").write_text(text(htpp=[]))
    done = ctl("apply", "-f", folder)
    assert done.returncode == 1 and "b.yaml" in done.stdout and "nothing was applied" in done.stdout
    assert galley.page()["objects"] == 0


@pytest.mark.parametrize("args, status, words", [
    (["apply"], 2, "say which file"),
    (["apply", "-f"], 2, "-f: no file is named"),
    (["apply", "-f", "a.yaml", "b.yaml"], 2, "b.yaml: not expected"),
    (["apply", "-n", "x", "-f", "a.yaml"], 2, "-n: "),
    (["apply", "-f", "nosuch.yaml"], 1, "nosuch.yaml: cannot open"),
    (["get", "virtualservics"], 2, "did you mean virtualservices?"),
    (["get", "virtualservice", "-o", "yml"], 2, "is not table, wide, yaml or json"),
    (["get", "virtualservice", "none"], 1, "no VirtualService default/none"),
    (["get", "gateways"], 0, "nothing"),
    (["delete"], 2, "KIND NAME"),
    (["delete", "virtualservice", "none"], 1, "no VirtualService default/none"),
    (["frobnicate"], 2, "meltemi help")])
def test_misuse(ctl, args, status, words):
    done = ctl(*args)
    assert done.returncode == status and words in done.stdout, done.stdout


def test_nobody_and_somebody_else_at_the_address(ctl, galley, net):
    for at in (f"{net.ip()}:1", galley.addr):
        for args, stdin in ((["get"], None), (["apply", "-f", "-"], text()),
                            (["delete", "gateway", "x"], None)):
            done = ctl(*args, stdin=stdin, at=at)
            assert done.returncode == 1 and "--galley says where" in done.stdout, done.stdout


def test_there_and_back(ctl, galley):
    assert ctl("apply", "-f", "-", stdin=text()).returncode == 0
    for form in ("yaml", "json"):
        shown = ctl("get", "virtualservice", "one", "-o", form).stdout
        assert yaml.safe_load(shown)["spec"]["hosts"] == ["a.example.com"]
        assert ctl("apply", "-f", "-", stdin=shown).returncode == 0
    galley.write("mine.yaml", vs("mine"))
    galley.until(2)
    done = ctl("apply", "-f", "-", stdin=yaml.safe_dump(vs("mine", "other")))
    assert done.returncode == 1 and "mine.yaml: change it there" in done.stdout
    done = ctl("delete", "virtualservice", "mine")
    assert done.returncode == 1 and "mine.yaml: remove it there" in done.stdout
    assert ctl("delete", "virtualservices", "one").returncode == 0
    galley.until(1)
