class Wire:
    def __init__(self):
        self.socket = socket.create_connection((host, port), DEADLINE)
        self.buffer = b""
        if security == "implicit":
            self.start_tls()

    def start_tls(self):
        if self.buffer:
            raise ssl.SSLError("said in clear before TLS: %r" % self.buffer)
        self.socket = context().wrap_socket(self.socket, server_hostname=host)
        check_pin(self.socket)

    def send(self, octets):
        self.socket.sendall(octets)

    def line(self):
        while b"\n" not in self.buffer:
            more = self.socket.recv(65536)
            if not more:
                raise EOFError("closed behind %r" % self.buffer)
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\n", 1)
        return line + b"\n"


wire = Wire()


def plain(octets):
    return octets.decode("utf-8", "replace").rstrip("\r\n")


def status():
    line = plain(wire.line())
    if not line.startswith("+"):
        raise RuntimeError(line)
    return line


def lines():
    out = []
    while True:
        line = wire.line()
        if line == b".\r\n":
            return out
        out.append(line[1:] if line.startswith(b".") else line)


def reply(wanted):
    text = []
    while True:
        line = plain(wire.line())
        text.append(line)
        if line[3:4] != "-":
            break
    if line[:1] != wanted:
        raise RuntimeError("\n".join(text))
    return text


def fetch():
    status()
    if security == "starttls":
        wire.send(b"CAPA\r\n"), status(), lines()
        wire.send(b"STLS\r\n"), status()
        wire.start_tls()
    mechanism, count = task["mechanism"], task["count"]
    response = initial_response(mechanism)
    numbers = range(1, count + 1)
    commands = ["CAPA", "AUTH %s %s" % (mechanism, response), "STAT", "LIST", "UIDL"]
    commands += ["RETR %d" % number for number in numbers]
    commands += ["DELE %d" % number for number in numbers if task["delete"]]
    commands += ["QUIT"]
    if task["one_flight"]:
        wire.send("".join(command + "\r\n" for command in commands).encode())
    answer = {"messages": []}
    for command in commands:
        verb = command.split(" ")[0]
        if not task["one_flight"]:
            if verb == "AUTH":
                wire.send(("AUTH %s\r\n" % mechanism).encode()), status()
                command = response
            wire.send((command + "\r\n").encode())
        said = status()
        if verb == "AUTH" and not said.startswith("+OK"):
            # A challenge that says why: an empty line asks for the refusal.
            wire.send(b"\r\n"), status()
        if verb == "RETR":
            answer["messages"].append(b64(b"".join(lines())))
        elif verb in ("CAPA", "LIST", "UIDL"):
            answer[verb] = [plain(line) for line in lines()]
        else:
            answer[verb] = said
    print(json.dumps(answer))


def send():
    reply("2")
    wire.send(b"EHLO [127.0.0.1]\r\n")
    said = reply("2")
    if security == "starttls":
        wire.send(b"STARTTLS\r\n"), reply("2")
        wire.start_tls()
        wire.send(b"EHLO [127.0.0.1]\r\n")
        said = reply("2")
    offered = [line[4:].split(" ")[0].upper() for line in said[1:]]
    if user:
        mechanism = task["mechanism"]
        wire.send(("AUTH %s %s\r\n" % (mechanism, initial_response(mechanism))).encode()), reply("2")
    content = base64.b64decode(task["content"])
    mail = "MAIL FROM:<%s>" % task["from"]
    mail += " BODY=8BITMIME" * ("8BITMIME" in offered) + (" SIZE=%d" % len(content)) * ("SIZE" in offered)
    commands = [mail] + ["RCPT TO:<%s>" % to for to in task["to"]] + ["DATA"]
    together = task["one_flight"] and "PIPELINING" in offered
    if together:
        wire.send("".join(command + "\r\n" for command in commands).encode())
    for command in commands:
        if not together:
            wire.send((command + "\r\n").encode())
        reply("3" if command == "DATA" else "2")
    stuffed = b"".join(b"." * line.startswith(b".") + line for line in content.splitlines(True))
    wire.send(stuffed + b".\r\n")
    last = reply("2")
    wire.send(b"QUIT\r\n"), reply("2")
    print(json.dumps({"offered": said[1:], "last": last[-1]}))


send() if "content" in task else fetch()
