"""Notices, read by the software of others.

    check_notices.py slack < PAYLOADS          each line against slack.schema.json
    check_notices.py webhook SECRET < POSTS    each line {id, at, signature, body}: signed as Standard Webhooks says
    check_notices.py smtp PEM KEY COUNT        an SMTP server (aiosmtpd) that prints its port, then COUNT letters as JSON

Ends with 1 and the fault on stderr if anything is not as it must be.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys


def slack():
    import jsonschema_rs

    schema = json.loads(pathlib.Path(__file__).with_name("slack.schema.json").read_text())
    validator = jsonschema_rs.validator_for(schema)
    for line in sys.stdin:
        for error in validator.iter_errors(json.loads(line)):
            raise SystemExit(f"{error}\n{line}")


def webhook(secret):
    key = base64.b64decode(secret.removeprefix("whsec_"))
    for line in sys.stdin:
        post = json.loads(line)
        signed = f"{post['id']}.{post['at']}.{post['body']}".encode()
        tag = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if not any(hmac.compare_digest(f"v1,{tag}", it) for it in post["signature"].split(" ")):
            raise SystemExit(f"not signed: {line}")
        assert {"type", "timestamp", "data"} == json.loads(post["body"]).keys()


def smtp(pem, key, count):
    import email
    import email.policy
    import queue
    import socket
    import ssl

    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult

    letters = queue.Queue()

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
            letters.put({
                "tls": session.ssl is not None,
                "user": session.auth_data.login.decode() if session.authenticated else None,
                "from": envelope.mail_from,
                "to": envelope.rcpt_tos,
                "defects": [str(it) for it in letter.defects],
                "head": {name: str(value) for name, value in letter.items()},
                "body": letter.get_content(),
            })
            return "250 taken"

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    controller = Controller(
        Handler(),
        hostname="127.0.0.1",
        port=0,
        server_hostname="mail.test",
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=lambda server, session, envelope, mechanism, data: AuthResult(success=True, auth_data=data),
    )

    def look():
        with socket.create_connection(controller.server.sockets[0].getsockname()) as seen:
            seen.recv(1024)

    # Its own look at itself takes the port that was asked for, which is none.
    controller._trigger_server = look
    controller.start()
    print(controller.server.sockets[0].getsockname()[1], flush=True)
    for _ in range(int(count)):
        print(json.dumps(letters.get(timeout=30)), flush=True)
    controller.stop()


if __name__ == "__main__":
    {"slack": slack, "webhook": webhook, "smtp": smtp}[sys.argv[1]](*sys.argv[2:])
