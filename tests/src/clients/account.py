"""What every script begins with: the account, and TLS as it wants it."""
import base64, hashlib, json, socket, ssl, sys

with open(sys.argv[1]) as file:
    account = json.load(file)
task = account["task"]
host, port, security = account["host"], account["port"], account["security"]
user, password = account["user"], account["password"]
DEADLINE = 60


def context():
    if account["authority"]:
        return ssl.create_default_context(cafile=account["authority"])
    return ssl._create_unverified_context()


def check_pin(tls):
    """Before anything secret is sent."""
    if account["pin"]:
        shown = hashlib.sha256(tls.getpeercert(True)).hexdigest()
        if shown != account["pin"]:
            raise ssl.SSLError("the certificate is " + shown)


def b64(octets):
    return base64.b64encode(octets).decode()


def initial_response(mechanism):
    if mechanism == "PLAIN":
        return b64(("\0" + user + "\0" + password).encode())
    if mechanism == "XOAUTH2":
        return b64(("user=" + user + "\1auth=Bearer " + password + "\1\1").encode())
    if mechanism == "OAUTHBEARER":
        return b64(("n,a=" + user + ",\1auth=Bearer " + password + "\1\1").encode())
    raise ValueError(mechanism)
