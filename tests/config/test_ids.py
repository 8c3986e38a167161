"""The key of ids: named in the configuration, told apart by its fingerprint, never held."""

import pytest

from streameval.config import changes, parse
from streameval.config.change import facts
from streameval.config.ids import fingerprint
from streameval.errors import ConfigValueError

SECRET = "f3a9c0de" * 4


def config(**ids):
    base = {"transport": {"kind": "logdir", "path": "e"}, "models": [{"name": "a"}]}
    return parse(base | ({"ids": ids} if ids else {}))


def read(config):
    ids, key = config.ids.read()
    return config.model_copy(update={"ids": ids}), key


def test_without_a_key_there_is_no_fingerprint():
    assert read(config()) == (config(), b"")
    assert fingerprint(b"") == ""


def test_the_key_is_read_from_where_it_is_and_only_its_fingerprint_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("ID_KEY", SECRET)
    (tmp_path / "key").write_text(SECRET + "\n")
    found, key = read(config(key={"env": "ID_KEY"}))
    assert (len(key), len(found.ids.fingerprint)) == (32, 32)
    assert SECRET not in f"{found!r}{found.model_dump_json()}"
    assert key.hex() not in f"{found!r}{found.model_dump_json()}"
    assert read(config(key="${ID_KEY}")) == (found, key)
    elsewhere, same = read(config(key={"file": tmp_path / "key"}))
    assert (same, elsewhere.ids.fingerprint) == (key, found.ids.fingerprint)
    assert {change.effect for change in changes(facts(found), elsewhere)} == {"live"}


def test_another_key_or_none_is_refused(monkeypatch):
    monkeypatch.setenv("ID_KEY", SECRET)
    monkeypatch.setenv("OTHER", SECRET[1:])
    (one, _), (other, _), (none, _) = read(config(key="${ID_KEY}")), read(config(key="${OTHER}")), read(config())
    for old, new in ((one, other), (one, none), (none, one)):
        refused = [change for change in changes(facts(old), new) if change.effect == "refused"]
        assert refused
        assert "start with another state directory" in refused[0].restarts


@pytest.mark.parametrize(("secret", "said"), [("short", "less than 16 bytes"), ("", "less than 16 bytes")])
def test_a_key_that_could_be_guessed_is_refused(monkeypatch, secret, said):
    monkeypatch.setenv("ID_KEY", secret)
    with pytest.raises(ConfigValueError, match=said) as caught:
        config(key="${ID_KEY}").ids.read()
    assert caught.value.cure


def test_a_key_that_stands_in_the_configuration_is_refused_without_being_repeated():
    with pytest.raises(ConfigValueError) as caught:
        config(key=SECRET)
    assert "ids.key" in str(caught.value)
    assert SECRET not in str(caught.value)
