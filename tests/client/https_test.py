"""The client over TLS: a certificate is believed when its authority is, and no other."""

import shutil
import ssl
import subprocess

import pytest

from tests.support import fake_texts
from tests.support.fake_serving import FakeServing
from tf_textgen.client.rest_client import Client, ServerUnavailable


@pytest.fixture
def certificate(tmp_path):
    """A certificate for localhost that signs itself, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl on this machine to make a certificate")
    paths = [str(tmp_path / name) for name in ("certificate.pem", "key.pem")]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(
        [*command, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True
    )
    return paths


def test_https(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    serving = FakeServing(fake_texts.answer, fake_texts.signatures())
    with serving.running(context, host="localhost") as address:
        trusting = ssl.create_default_context(cafile=certificate[0])
        with Client(f"https://{address}", "model", ssl_context=trusting) as client:
            assert client.generate("从前🙂")[0].text == "🙂前从" and client.generate(
                "a" * 5000, max_new_tokens=1
            )
        with (
            Client(f"https://{address}", "model") as client,
            pytest.raises(
                ServerUnavailable,
                match=r"no connection \(.*certificate verify failed.*\); expected a server",
            ),
        ):
            client.status()
