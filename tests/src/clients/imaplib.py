import imaplib

imaplib._MAXLINE = 1 << 24
if security == "implicit":
    M = imaplib.IMAP4_SSL(host, port, ssl_context=context(), timeout=DEADLINE)
else:
    M = imaplib.IMAP4(host, port, timeout=DEADLINE)
if security == "starttls":
    M.starttls(ssl_context=context())
if security != "clear":
    check_pin(M.sock)


def must(answer):
    """The data of an answer that must be OK."""
    if answer[0] != "OK":
        raise ValueError(repr(answer))
    return answer[1]


must(M.login(user, password))
messages = [base64.b64decode(message) for message in task["messages"]]
exec(task["script"])
M.logout()
print(json.dumps({}))
