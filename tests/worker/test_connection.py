"""A broker on another host: TLS with an authority of one's own, and a password."""

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from worker.broker import BrokerError, find_server
from worker.celery_app import make_celery, publish_id
from worker.connection import OUTAGES, SOCKET_OPTIONS, connect
from worker.settings import WorkerSettings

PASSWORD = "a-secret-word"


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[str]:
    """Address of a broker with a password behind TLS; its authority's certificate is `ca.crt` in `tmp_path`. A relay
    speaks TLS, because the embedded broker does not."""
    path = tmp_path / "broker.sock"
    server = subprocess.Popen(
        [str(find_server()), "--port", "0", "--unixsocket", str(path), "--requirepass", PASSWORD, "--save", ""],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    _write_certificate(tmp_path)
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:  # a relay to nobody ends
        time.sleep(0.02)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "broker.crt", tmp_path / "broker.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_relay, args=(listener, context, path), daemon=True).start()
        port = listener.getsockname()[1]
        yield f"rediss://:{PASSWORD}@localhost:{port}/0?ssl_cert_reqs=required&ssl_ca_certs={tmp_path}/ca.crt"
    server.kill()
    server.wait()


def test_ledger_and_celery_reach_a_broker_behind_tls(secured: str, tmp_path: Path) -> None:
    """By the same address; the password is in no line that Celery logs."""
    client = connect(secured, patience_seconds=1)
    assert client.ping()
    celery = make_celery(WorkerSettings(redis_url=secured, data_dir=tmp_path))
    publish_id("a-job", "inference", celery)
    assert client.llen("inference") == 1
    with celery.connection_for_write() as connection:
        assert PASSWORD not in connection.as_uri()


def test_a_broker_that_cannot_prove_itself_is_not_spoken_to(secured: str) -> None:
    """Nor one that wants another password."""
    with pytest.raises(OUTAGES, match="CERTIFICATE_VERIFY_FAILED"):
        connect(secured.partition("?")[0], patience_seconds=0).ping()
    with pytest.raises(redis.AuthenticationError):
        connect(secured.replace(PASSWORD, "another"), patience_seconds=0).ping()


def _write_certificate(folder: Path) -> None:
    """For `localhost`, its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    for file in ("broker.crt", "ca.crt"):
        (folder / file).write_bytes(pem)
    plain = serialization.NoEncryption()
    (folder / "broker.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )


def _relay(listener: socket.socket, context: ssl.SSLContext, path: Path) -> None:
    with suppress(OSError):  # the listener is closed when the test ends
        while True:
            client, _ = listener.accept()
            with suppress(ssl.SSLError):
                outside, inside = context.wrap_socket(client, server_side=True), socket.socket(socket.AF_UNIX)
                inside.connect(str(path))
                for pair in ((outside, inside), (inside, outside)):
                    threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def test_who_is_impatient_asks_a_broker_that_hangs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has waited for longer than it meant to already."""
    monkeypatch.setitem(SOCKET_OPTIONS, "socket_timeout", 0.2)
    asked = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:  # takes connections, and says nothing
        with pytest.raises(OUTAGES):
            connect(f"redis://127.0.0.1:{listener.getsockname()[1]}/0", patience_seconds=0.1).ping()
        listener.settimeout(0.1)
        with suppress(TimeoutError):
            while True:
                listener.accept()[0].close()
                asked += 1
    assert asked == 1


def test_a_server_that_is_too_old_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its language has no word for what the ledger's scripts ask; the wheel's is taken, or the person is told."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("worker.broker.find_spec", lambda _: None)
    server = tmp_path / "redis-server"
    for version, taken in (("7.0.15", True), ("6.0.16", False)):
        server.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'\n")
        server.chmod(0o755)
        if taken:
            assert find_server() == server
        else:
            with pytest.raises(BrokerError, match="7 or newer"):
                find_server()
