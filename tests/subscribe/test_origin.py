"""Where to subscribe is said in one string, a file or a configuration; what is wrong with it is said at once."""

import subprocess
import sys

import pytest
from published import threshold

from streameval import config, subscribe
from streameval.errors import ConfigError
from streameval.subscribe.in_force import Calibration, Threshold
from streameval.subscribe.origin import log_of


def kafka_of(origin, **options):
    return log_of(origin, **({"security": None, "topics": {}} | options)).connect()


def test_the_daemons_configuration_file_says_it_all(logs, tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text(
        "transport: {kind: logdir, path: ./events}\ntopics: {thresholds: limits}\nmodels: [{name: fraud}]\n"
    )
    logs.append("limits", threshold(0.3)[1])
    for origin in (file, str(file), config.load(file)):
        with subscribe.thresholds(origin) as current:
            assert current.threshold("fraud", version="3").value == 0.3


def test_topics_may_have_other_names(logs):
    logs.append("limits", threshold(0.3)[1])
    with subscribe.thresholds(logs.origin, topics={"thresholds": "limits"}) as current:
        assert current.threshold("fraud", version="3").value == 0.3
    with pytest.raises(ConfigError, match="'drift'"):
        subscribe.thresholds(logs.origin, topics={"drift": "d"})


def test_an_address_may_name_several_brokers():
    connection = kafka_of("kafka://a:9092, [::1]:9093/")
    assert connection.bootstrap == ("a:9092", "[::1]:9093")
    assert connection.security.protocol == "PLAINTEXT"
    log = log_of("kafka://a:1", security=None, topics={"calibration": "maps"})
    assert log.topics == {Threshold: "thresholds", Calibration: "maps"}


def test_a_secret_is_read_at_each_connection_and_shown_nowhere(monkeypatch):
    security = config.Security(
        protocol="SASL_PLAINTEXT", mechanism="SCRAM-SHA-512", username="s", password={"env": "PASSWORD_OF_S"}
    )
    with pytest.raises(ConfigError, match="PASSWORD_OF_S"):
        subscribe.thresholds("kafka://127.0.0.1:1", security=security)
    for secret in ("hunter2", "hunter3"):
        monkeypatch.setenv("PASSWORD_OF_S", secret)
        connection = kafka_of("kafka://127.0.0.1:1", security=security)
        assert connection.security.password == secret
        assert secret not in repr(connection)


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("kafka://", "not an address"),
        ("kafka://host", "not an address"),
        ("kafka://host:99999", "not an address"),
        ("kafak://host:1", "kafak:// is unknown"),
        ("no-such-file.yaml", "no such file"),
    ],
)
def test_a_wrong_origin_is_told_with_the_cure(origin, told):
    with pytest.raises(ConfigError, match=told) as error:
        subscribe.thresholds(origin)
    assert error.value.cure


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="no password") as error:
        subscribe.thresholds("kafka://me:hunter2@host:9092")
    assert "hunter2" not in str(error.value)


def test_a_directory_takes_no_security(logs):
    with pytest.raises(ConfigError, match="no security"):
        subscribe.thresholds(logs.origin, security=config.Security())


def test_subscribing_loads_nothing_that_only_the_daemon_needs():
    heavy = {"river", "pandas", "plotly", "scipy", "sklearn", "kafka", "rich", "typer", "structlog"}
    code = (
        "import sys; from streameval import subscribe; "
        "subscribe.thresholds('logdir:./nowhere-at-all').close(); "
        f"print(sorted({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_subscribing_on_kafka_loads_kafka_and_nothing_else_of_the_daemon():
    heavy = {"river", "pandas", "plotly", "scipy", "sklearn", "rich", "typer"}
    code = (
        "import sys; from streameval import subscribe; import streameval.subscribe.kafka_log; "
        f"print(sorted({heavy} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
