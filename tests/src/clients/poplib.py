import poplib

poplib._MAXLINE = 1 << 20
if security == "implicit":
    client = poplib.POP3_SSL(host, port, context=context(), timeout=DEADLINE)
else:
    client = poplib.POP3(host, port, timeout=DEADLINE)
if security == "starttls":
    client.stls(context=context())
if security != "clear":
    check_pin(client.sock)
client.user(user)
client.pass_(password)
messages = []
for number in range(1, client.stat()[0] + 1):
    messages.append(b64(b"".join(line + b"\r\n" for line in client.retr(number)[1])))
    if task["delete"]:
        client.dele(number)
uidls = [line.decode() for line in client.uidl()[1]]
client.quit()
print(json.dumps({"messages": messages, "uidls": uidls}))
