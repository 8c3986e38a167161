"""Secrets: named in the configuration, never held by it."""

import pytest

from streameval.config import Secret, digest, parse
from streameval.errors import ConfigValueError


def kafka(**security):
    given = {"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "u"} | security
    transport = {"kind": "kafka", "bootstrap": ["h:9092"], "security": given}
    return parse({"transport": transport, "models": [{"name": "a"}]})


def test_a_secret_is_read_from_the_environment_or_a_file_when_it_is_needed(tmp_path, monkeypatch):
    file = tmp_path / "password"
    file.write_text("sword fish \n")
    monkeypatch.setenv("PASSWORD", "tuna")
    assert Secret(file=file).reveal() == "sword fish "
    assert Secret(env="PASSWORD").reveal() == "tuna"
    assert kafka(password="${PASSWORD}").transport.security.password.reveal() == "tuna"


def test_a_configuration_never_holds_or_prints_a_secret(monkeypatch):
    monkeypatch.setenv("PASSWORD", "swordfish")
    config = kafka(password={"env": "PASSWORD"})
    before = digest(config)
    monkeypatch.setenv("PASSWORD", "tuna")
    assert digest(config) == before
    assert "swordfish" not in f"{config!r}{config.model_dump_json()}"


@pytest.mark.parametrize("wrong", ["swordfish", {"env": "A", "file": "swordfish"}, {}, ["swordfish"], 7])
def test_a_secret_in_the_configuration_is_refused_without_being_repeated(wrong):
    with pytest.raises(ConfigValueError) as caught:
        kafka(password=wrong)
    assert "transport.security.password" in str(caught.value)
    assert "swordfish" not in str(caught.value)


def test_a_secret_that_is_not_there_is_told_by_its_place(tmp_path):
    with pytest.raises(ConfigValueError, match="SURELY_NOT_SET"):
        Secret(env="SURELY_NOT_SET").reveal()
    with pytest.raises(ConfigValueError, match="none"):
        Secret(file=tmp_path / "none").reveal()


@pytest.mark.parametrize(
    ("security", "said"),
    [
        ({}, "needs mechanism, username and password"),
        ({"protocol": "SSL"}, "does not log in"),
        ({"password": "${A}", "cert_file": "c"}, "belong together"),
        ({"password": "${A}", "protocol": "SASL_PLAINTEXT", "ca_file": "c"}, "uses no certificates"),
    ],
)
def test_security_that_contradicts_itself_is_refused(security, said):
    with pytest.raises(ConfigValueError, match=said):
        kafka(**security)


@pytest.mark.parametrize("address", ["host", ":1", "h:0", "h:x", "h:99999"])
def test_an_address_without_host_and_port_is_refused(address):
    with pytest.raises(ConfigValueError, match="host:port"):
        parse({"transport": {"kind": "kafka", "bootstrap": [address]}, "models": [{"name": "a"}]})
