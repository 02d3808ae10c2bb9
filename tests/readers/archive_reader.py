"""Reads an archive of format 2, written from docs/archive-format.md alone: no code of Postern's is in it.

    archive_reader.py INSTANCE [--recovery-key KEY] [--despite-damage]

Writes a line of JSON for each message: id, sha256 of its content as it was put together, leaf (whether the log's leaf is the one that is computed),
filed_in, report_sha256 (null without one), additions. Fails when anything does not fit; despite damage it tells that on standard error and reads the rest.
"""

import base64
import hashlib
import json
import pathlib
import struct
import sys

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

DICTIONARY = pathlib.Path(__file__).resolve().parents[2] / "archiver/src/archive/store/dictionary-1.txt"
CHUNK = 262144
MASK = 0x82F63B78
TABLE = []
for n in range(256):
    for _ in range(8):
        n = (n >> 1) ^ (MASK if n & 1 else 0)
    TABLE.append(n)


DESPITE_DAMAGE = "--despite-damage" in sys.argv


def damaged(*what):
    if not DESPITE_DAMAGE:
        raise SystemExit(f"damaged: {what}")
    print("damaged:", *what, file=sys.stderr)


def crc32c(data):
    crc = 0xFFFFFFFF
    for octet in data:
        crc = TABLE[(crc ^ octet) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def hkdf(secret, info):
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(secret)


def unwrap(key, wrapped, associated):
    return AESGCM(key).decrypt(wrapped[:12], wrapped[12:], associated)


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def master_key(instance, recovery):
    for slot in read_json(instance / "keys.json")["slots"]:
        wrapped = bytes.fromhex(slot["wrapped"])
        if recovery is None and slot["opened_by"] == "key-file":
            key = bytes.fromhex((instance / "master.key").read_text().strip())
            return unwrap(key, wrapped, b"key file")
        if recovery is not None and slot["opened_by"] == "recovery-key":
            text = "".join(recovery.split()).replace("-", "").encode()
            return unwrap(hkdf(text, b"postern recovery key v2"), wrapped, b"recovery")
    raise SystemExit("no slot of keys.json fits")


class Store:
    def __init__(self, directory, master):
        info = read_json(directory / "store.json")
        assert info["format"] == 2, info["format"]
        self.directory = directory
        self.uid = bytes.fromhex(info["uid"])
        self.key = unwrap(hkdf(master, b"postern store keys v2"), bytes.fromhex(info["wrapped_key"]), self.uid)
        kept = directory.resolve().parents[1] / "dictionary-1.txt"
        octets = (kept if kept.exists() else DICTIONARY).read_bytes()
        dictionary = zstandard.ZstdCompressionDict(octets, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        self.decompressors = {1: zstandard.ZstdDecompressor(), 2: zstandard.ZstdDecompressor(dict_data=dictionary)}
        self.objects = {}
        self.uncertain = set()
        for pack in sorted((directory / "packs").glob("*.pack")):
            self.scan(pack)

    def check_file_header(self, octets, magic, number):
        assert octets[:8] == magic and octets[16:24] == self.uid
        assert struct.unpack(">Q", octets[8:16])[0] == number
        assert struct.unpack(">I", octets[28:32])[0] == crc32c(octets[:28])

    def scan(self, path):
        pack = path.read_bytes()
        if pack[:8] == b"PSTNPAK2" and struct.unpack(">I", pack[28:32])[0] == crc32c(pack[:28]):
            if pack[16:24] != self.uid or struct.unpack(">Q", pack[8:16])[0] != int(path.stem, 16):
                return damaged(path, "belongs to another store")
        else:
            damaged(path, "the file header is altered")
        at, hole, group = 32, False, []
        while at < len(pack):
            found = self.whole_object(pack, at)
            if found is None:
                damaged(path, at, "is no object")
                hole = True
                at = pack.find(b"PAO2", at + 1)
                while at >= 0 and self.whole_object(pack, at) is None:
                    at = pack.find(b"PAO2", at + 1)
                if at < 0:
                    break
                continue
            number, entry, first, length = found
            if first:
                # What was written before this was committed.
                hole, group = False, []
            if hole:
                group.append(number)
            self.objects.setdefault(number, []).append(entry)
            at += length
        self.uncertain.update(group)

    @staticmethod
    def whole_object(pack, at):
        header = pack[at:at + 48]
        if len(header) < 48 or header[:4] != b"PAO2":
            return None
        _, kind, compression, first, zero, number, slot, plain, length, crc, own_crc = struct.unpack(">4sBBBBQQQQII", header)
        body = pack[at + 48:at + 48 + length]
        possible = kind in (1, 2, 3) and compression in (1, 2) and first <= 1 and zero == 0 and max(plain, length) <= 1 << 32
        if own_crc != crc32c(header[:44]) or not possible or len(body) != length or crc32c(body) != crc:
            return None
        associated = header[:6] + b"\0" + header[7:32]
        return number, (kind, compression, slot, plain, associated, body), first == 1, 48 + length

    def message_key(self, slot):
        path = self.directory / "keys" / f"{slot >> 20:016x}.keys"
        with path.open("rb") as table:
            self.check_file_header(table.read(32), b"PSTNKEY2", slot >> 20)
            table.seek(32 + (slot & 0xFFFFF) * 64)
            record = table.read(64)
        assert struct.unpack(">I", record[60:])[0] == crc32c(record[:60])
        return unwrap(self.key, record[:60], struct.pack(">Q", slot))

    def plain(self, number, key):
        entries = self.objects[number]
        for entry in entries[:-1]:
            try:
                return self.opened(entry, key)
            except (AssertionError, InvalidTag, zstandard.ZstdError):
                damaged("object", number, "does not open; there is another copy")
        return self.opened(entries[-1], key)

    def opened(self, entry, key):
        _, compression, _, length, associated, body = entry
        compressed = b""
        count = max(1, -(-len(body) // (CHUNK + 16)))
        for chunk in range(count):
            sealed = body[chunk * (CHUNK + 16):(chunk + 1) * (CHUNK + 16)]
            nonce = bytes(7) + struct.pack(">IB", chunk, chunk == count - 1)
            compressed += AESGCM(key).decrypt(nonce, sealed, associated)
        plain = self.decompressors[compression].decompress(compressed, max_output_size=length)
        assert len(plain) == length
        return plain

    def record(self, number):
        slot = self.objects[number][0][2]
        key = hkdf(self.message_key(slot), b"postern object v2" + struct.pack(">Q", number))
        plain = self.plain(number, key)
        length = struct.unpack(">I", plain[:4])[0]
        return json.loads(plain[4:4 + length]), Own(plain[4 + length:])

    def records(self, kind):
        for number in sorted(self.objects):
            if self.objects[number][0][0] != kind:
                continue
            try:
                yield number, *self.record(number)
            except (AssertionError, InvalidTag, OSError, KeyError, zstandard.ZstdError, struct.error) as error:
                damaged("record", number, repr(error))

    def assemble(self, content, own):
        out = b"".join(self.segment(segment, own) for segment in content["segments"])
        assert len(out) == content["bytes"]
        assert hashlib.sha256(out).hexdigest() == content["sha256"]
        return out

    def segment(self, segment, own):
        if "own" in segment:
            return own.take(segment["own"])
        part = segment["part"]
        plain = self.plain(part["object"], bytes.fromhex(part["key"]))
        assert len(plain) == part["bytes"] and hashlib.sha256(plain).hexdigest() == part["sha256"]
        if "as" not in part:
            return plain
        how = part["as"]["base64"]
        encoded = base64.b64encode(plain)
        end = b"\r\n" if how["crlf"] else b"\n"
        lines = [encoded[at:at + how["width"]] for at in range(0, len(encoded), how["width"])]
        return end.join(lines) + end * how["tail"]

    def report(self, record, content, own):
        evidence = record.get("evidence")
        if evidence is None:
            return None
        if "report" in evidence:
            return self.assemble(evidence["report"], own)
        around = evidence["around"]
        report = self.assemble(around["prefix"], own) + content + self.assemble(around["suffix"], own)
        assert hashlib.sha256(report).hexdigest() == around["sha256"]
        return report


class Own:
    def __init__(self, octets):
        self.octets = octets

    def take(self, count):
        assert len(self.octets) >= count
        taken, self.octets = self.octets[:count], self.octets[count:]
        return taken


def ulid(text):
    number = 0
    for character in text:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(character)
    return number.to_bytes(16, "big")


def leaf(record):
    envelope = (record["mail_from"] if record["mail_from"] is not None else "-") + "\n"
    for who in record["participants"]:
        envelope += "\t".join([who["address"], who["role"], who["evidence"], who.get("expanded_from") or ""]) + "\n"
    source = record["source"]
    received = "" if source["received"] is None else str(source["received"])
    source = f"{source['profile']}\n{source['uidl']}\n{received}\n{source.get('trace') or ''}"
    entry = b"\0postern leaf v2" + ulid(record["message"]) + struct.pack(">Q", record["archived"])
    entry += bytes.fromhex(record["content"]["sha256"])
    entry += hashlib.sha256(envelope.encode()).digest() + hashlib.sha256(source.encode()).digest()
    return hashlib.sha256(entry).digest()


def main():
    instance = pathlib.Path(sys.argv[1])
    recovery = sys.argv[sys.argv.index("--recovery-key") + 1] if "--recovery-key" in sys.argv else None
    assert read_json(instance / "instance.json")["format"] == 2
    master = master_key(instance, recovery)
    for entry in read_json(instance / "stores.json")["stores"]:
        store = Store(pathlib.Path(entry.get("dir") or instance / "stores" / entry["id"]), master)
        leaves = (store.directory / "log" / "leaves").read_bytes()
        contents, shown = {}, {}
        for number, record, own in store.records(2):
            is_logged = leaves[32 * record["leaf"]:32 * record["leaf"] + 32] == leaf(record)
            try:
                content = store.assemble(record["content"], own)
                report = store.report(record, content, own)
            except (AssertionError, InvalidTag, KeyError, zstandard.ZstdError) as error:
                if number in store.uncertain and not is_logged:
                    damaged("message", record["message"], "was perhaps never committed")
                else:
                    damaged("message", record["message"], repr(error))
                continue
            contents[record["message"]] = content
            shown[record["message"]] = {
                "store": entry["id"],
                "id": record["message"],
                "sha256": hashlib.sha256(content).hexdigest(),
                "leaf": is_logged,
                "filed_in": [f"{filed['archive']}/{filed['folder']}/{filed['uid']}" for filed in record["filed_in"]],
                "report_sha256": report and hashlib.sha256(report).hexdigest(),
                "additions": [],
            }
        for number, record, own in store.records(3):
            if record["message"] not in shown:
                damaged("addition", number, "its message is missing")
                continue
            try:
                report = store.report(record, contents[record["message"]], own)
            except (AssertionError, InvalidTag, KeyError, zstandard.ZstdError) as error:
                damaged("the report in addition", number, repr(error))
                report = None
            filed = [f"{filed['archive']}/{filed['folder']}/{filed['uid']}" for filed in record["filed_in"]]
            addition = {"filed_in": filed, "report_sha256": report and hashlib.sha256(report).hexdigest()}
            shown[record["message"]]["additions"].append(addition)
        for line in shown.values():
            print(json.dumps(line))


main()
