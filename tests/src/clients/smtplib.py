import smtplib

if security == "implicit":
    client = smtplib.SMTP_SSL(host, port, "client.example.org", context=context(), timeout=DEADLINE)
else:
    client = smtplib.SMTP(host, port, "client.example.org", timeout=DEADLINE)
if security == "starttls":
    client.starttls(context=context())
if security != "clear":
    check_pin(client.sock)
client.ehlo()
if user:
    mechanism = task["mechanism"]
    if mechanism == "LOGIN":
        client.user, client.password = user, password
        client.auth("LOGIN", client.auth_login)
    else:
        whole = base64.b64decode(initial_response(mechanism)).decode()
        client.auth(mechanism, lambda challenge=None: whole if challenge is None else "")
refused = client.sendmail(task["from"], task["to"], base64.b64decode(task["content"]), task["options"])
client.quit()
print(json.dumps({to: "%d %s" % (code, text.decode()) for to, (code, text) in refused.items()}))
