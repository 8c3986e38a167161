"""TLS, mutual TLS, SASL and the least permissions, on a real broker with an authorizer; and what a person is told."""

from __future__ import annotations

import logging
import time

import pytest
from broker import Broker
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, KafkaAdminClient, ResourcePattern
from kafka.admin import ResourceType as Resource

from streameval.errors import ConfigValueError, ConnectionFailedError, LoginRefusedError, TopicError, TransportError
from streameval.transport.kafka_connection import Connection, Hidden, Security
from streameval.transport.protocol import Outbox
from tests.ports import free_port

PASSWORD = "w0rker-secret"


@pytest.fixture
def safe(secured, new_room):
    """Room of the super user on the secured broker."""
    return new_room(secured.bootstrap)


def sasl(secured: Broker, mechanism="SCRAM-SHA-512", password=PASSWORD, user="worker", tls=True):
    return Security(
        protocol="SASL_SSL" if tls else "SASL_PLAINTEXT",
        ca_file=secured.secured.certificates.authority if tls else None,
        mechanism=mechanism,
        username=user,
        password=Hidden(password),
    )


def grant(room, principal, *grants):
    """Allows (resource type, name, operation, ...) to a principal."""
    acls = [
        ACL(f"User:{principal}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name, pattern))
        for kind, name, pattern, *operations in grants
        for operation in operations
    ]
    room.admin.create_acls(acls)
    time.sleep(0.5)


def least(room, inputs):
    """The permissions that the README lists: no more is needed, and none of these less."""
    literal, op = ACLResourcePatternType.LITERAL, ACLOperation
    reads = [(Resource.TOPIC, topic, literal, op.READ, op.DESCRIBE) for topic in inputs]
    writes = [
        (Resource.TOPIC, topic, literal, op.WRITE, op.READ, op.DESCRIBE, op.DESCRIBE_CONFIGS)
        for topic in room.outputs()
    ]
    return [
        *reads,
        *writes,
        (Resource.TRANSACTIONAL_ID, "streameval-w", literal, op.WRITE, op.DESCRIBE),
        (Resource.GROUP, "streameval-w", literal, op.READ),
    ]


def work(transport, topic, commit):
    """All that a daemon does: look, read, fence, deliver, read back, confirm."""
    assert transport.partitions([topic]) == {topic: [0]}
    transport.assign({(topic, 0): 0})
    values = []
    while len(values) < 2:
        for batch in transport.poll(10, 1.0):
            values += batch.values
    assert values == [b"1", b"2"]
    transport.fence("w")
    outbox = Outbox()
    drift = next(name for name in transport.outputs if name.endswith("drift"))
    outbox.add(drift, "m/1/*", b'{"id":"1","subject":"m/1/*","sequence":1,"data":{}}', 1)
    transport.deliver(outbox, commit(1, positions={topic: {0: 2}}), {})
    transport.confirm(commit(1, positions={topic: {0: 2}}))
    assert transport.commit_record("w").n == 1
    assert [r.sequence for r in transport.published([drift])] == [1]
    assert transport.shortcomings() == []


@pytest.mark.parametrize(
    ("listener", "mechanism"),
    [("SASLTLS", "SCRAM-SHA-512"), ("SASLTLS", "PLAIN"), ("SASL", "PLAIN"), ("SASL", "SCRAM-SHA-512")],
)
def test_a_worker_with_the_least_permissions_does_all_its_work(secured, safe, commit, listener, mechanism, caplog):
    topic = safe.topic("in")
    safe.fill(topic, [b"1", b"2"])
    safe.transport().prepare()
    grant(safe, "worker", *least(safe, [topic]))
    caplog.set_level(logging.DEBUG)
    security = sasl(secured, mechanism, tls=listener == "SASLTLS")
    transport = safe.transport(security=security, bootstrap=(secured.address(listener),), create=False)
    work(transport, topic, commit)
    assert "group_offsets_failed" not in caplog.text
    assert PASSWORD not in caplog.text
    assert PASSWORD not in repr(transport.connection)


def test_tls_works_with_the_authority_and_is_refused_without(secured, safe, commit):
    topic = safe.topic("in")
    safe.fill(topic, [b"1", b"2"])
    security = Security("SSL", ca_file=secured.secured.certificates.authority)
    work(safe.transport(security=security, bootstrap=(secured.address("TLS"),)), topic, commit)
    with pytest.raises(ConnectionFailedError, match=r"certificate is refused"):
        safe.transport(security=Security("SSL"), bootstrap=(secured.address("TLS"),), patience_ms=2_000).partitions(
            ["x"]
        )


@pytest.mark.parametrize("password", [None, "key-secret"])
def test_mutual_tls_names_the_client_and_needs_its_certificate(secured, safe, commit, password):
    topic = safe.topic("in")
    safe.fill(topic, [b"1", b"2"])
    safe.transport().prepare()
    certificates = secured.secured.certificates
    certificate, key = certificates.client(f"mtls-{password}", password=password)
    grant(safe, f"CN=mtls-{password}", *least(safe, [topic]))
    files = {"ca_file": certificates.authority, "certificate_file": certificate, "key_file": key}
    secret = Hidden(password) if password else None
    bootstrap = (secured.address("MTLS"),)
    transport = safe.transport(
        security=Security("SSL", key_password=secret, **files), bootstrap=bootstrap, create=False
    )
    work(transport, topic, commit)
    nameless = Security("SSL", ca_file=certificates.authority)
    with pytest.raises(ConnectionFailedError, match=r"(?i)certificate"):
        safe.transport(security=nameless, bootstrap=bootstrap, patience_ms=2_000).partitions(["x"])
    if password:
        with pytest.raises(ConfigValueError) as caught:
            safe.transport(
                security=Security("SSL", key_password=Hidden("wrong-one"), **files), bootstrap=bootstrap
            ).fence("w")
        assert "wrong-one" not in str(caught.value)


def refusals(broker):
    """How many logins the broker says it has refused."""
    return broker.log.read_text(errors="replace").count("Failed authentication with")


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_wrong_password_is_one_clear_line_without_it(secured, safe, mechanism, caplog):
    caplog.set_level(logging.DEBUG)
    security = sasl(secured, mechanism, password="wrong-secret")
    transport = safe.transport(security=security, bootstrap=(secured.address("SASLTLS"),))
    for action in (lambda: transport.partitions(["x"]), lambda: transport._reader.assign({("x", 0): 0})):
        before = refusals(secured)
        with pytest.raises(LoginRefusedError) as caught:
            action()
        # At the first refusal: it is not tried again until the patience with a cluster that does not answer has ended.
        assert refusals(secured) == before + 1
        line = str(caught.value)
        assert "refused the login of user 'worker'" in line
        assert "\n" not in line
        assert "wrong-secret" not in line + caplog.text


def test_each_missing_permission_is_one_line_that_names_the_resource(secured, safe, commit):
    topic = safe.topic("in")
    safe.fill(topic, [b"1", b"2"])
    safe.transport().prepare()
    security = sasl(secured, user="stranger", password="str4nger-secret")

    def transport():
        return safe.transport(
            security=security, bootstrap=(secured.address("SASLTLS"),), create=False, patience_ms=5_000
        )

    literal, op = ACLResourcePatternType.LITERAL, ACLOperation
    with pytest.raises(TransportError, match=topic):
        transport().topic_ids([topic])
    grant(safe, "stranger", (Resource.TOPIC, topic, literal, op.DESCRIBE))
    reading = transport()
    reading.assign({(topic, 0): 0})
    with pytest.raises(TopicError, match="stranger has no permission on the topic"):
        reading.poll(10, 10.0)
    every = [(Resource.TOPIC, name, literal, op.READ, op.DESCRIBE) for name in safe.outputs()]
    grant(safe, "stranger", *every)
    with pytest.raises(TopicError, match="no permission on the transactional id") as caught:
        transport().fence("w")
    assert "streameval-w" in str(caught.value)
    grant(safe, "stranger", (Resource.TRANSACTIONAL_ID, "streameval-w", literal, op.WRITE, op.DESCRIBE))
    writing = transport()
    writing.fence("w")
    with pytest.raises(TransportError, match="no permission on the topic"):
        writing.deliver(Outbox(), commit(1), {})
    assert all("grant DescribeConfigs" in line for line in writing.shortcomings())


def test_a_broker_that_is_not_there_is_one_line_that_names_it(new_room):
    port = free_port()
    room = new_room(f"127.0.0.1:{port}")
    with pytest.raises(ConnectionFailedError) as caught:
        room.transport(patience_ms=1_000).partitions(["x"])
    line = str(caught.value)
    assert f"127.0.0.1:{port}: Connection refused" in line
    assert "\n" not in line
    with pytest.raises(ConnectionFailedError, match="host name is unknown"):
        room.transport(bootstrap=("no-such-host.invalid:9092",), patience_ms=1_000).partitions(["x"])


def test_speaking_plainly_to_a_tls_listener_is_told(secured, safe):
    with pytest.raises(ConnectionFailedError, match=r"security\.protocol"):
        safe.transport(bootstrap=(secured.address("TLS"),), patience_ms=2_000).partitions(["x"])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"protocol": "TLS"}, "unknown"),
        ({"protocol": "SASL_SSL"}, "mechanism"),
        ({"protocol": "SASL_SSL", "mechanism": "PLAIN", "username": "u"}, "password"),
        ({"protocol": "SSL", "username": "u"}, "does not log in"),
        ({"protocol": "SSL", "certificate_file": "x"}, "certificate and its key"),
    ],
)
def test_contradictions_in_the_security_settings_are_told(parts, message):
    with pytest.raises(ConfigValueError, match=message):
        Security(**parts)


@pytest.mark.parametrize("address", ["host", "host:", ":9092", "host:port", "host:0", "host:99999"])
def test_an_address_without_a_proper_port_is_told(address):
    with pytest.raises(ConfigValueError, match="host:port"):
        Connection((address,))


def test_files_that_are_missing_or_no_certificates_are_told(tmp_path):
    with pytest.raises(ConfigValueError, match="does not exist"):
        Security("SSL", ca_file=tmp_path / "none.pem").tls()
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(ConfigValueError, match="PEM"):
        Security("SSL", ca_file=tmp_path / "bad.pem").tls()


def test_the_admin_client_of_a_test_is_real(secured):
    with KafkaAdminClient(bootstrap_servers=secured.bootstrap) as admin:
        assert admin.describe_cluster()["cluster_id"]
