#!/usr/bin/env python3
"""Reads a photo archive of format version 0. Written from format-spec.md alone, sharing no code with the program.

    read_archive.py ARCHIVE list                                 snapshots, newest last
    read_archive.py ARCHIVE restore ID-PREFIX|latest TARGET      TARGET must be new or an empty folder
    read_archive.py ARCHIVE verify                               check every object and every chunk
    read_archive.py --self-test

    --no-segments   do not use segments: read the directories of the packs
    --frames        do not use directories either: look for the frames in the packs

Needs Python 3.9 and nothing else for BLAKE3, and the `zstd` program for Zstandard. The modules `blake3` and `zstandard` are
used if they are there (not if READ_ARCHIVE_PURE is set). It only reads the archive. It does not mend with parity, does not
open sealed archives, and does not decode codec 2 (JPEG/Lepton). The exit status is 0 if all went well, 1 if anything was
damaged, missing, newer or not supported, and 2 if it could not begin. Paragraphs (§) are those of format-spec.md.
"""
import argparse, array, os, re, struct, subprocess, sys, tempfile, threading, time

PURE = bool(os.environ.get("READ_ARCHIVE_PURE"))
try:
    blake3 = None if PURE else __import__("blake3").blake3
except ImportError:
    blake3 = None
try:
    zstandard = None if PURE else __import__("zstandard")
except ImportError:
    zstandard = None

MAGIC, FRAME_MAGIC = bytes.fromhex("8941524B0D0A1A0A"), bytes.fromhex("F566726D")
HEADER, PACK, SEGMENT, SNAPSHOT, MARK = 1, 2, 3, 4, 8
KIND_NAMES = {1: "header", 2: "pack", 3: "segment", 4: "snapshot", 6: "key slot", 7: "derived", 8: "mark"}
DATA, TREE, LIST = 0, 1, 2  # kinds of chunks
CONTEXTS = {DATA: None, TREE: "photo archive 2026 tree page", LIST: "photo archive 2026 chunk list page"}
CODEC_VERSIONS = {0: 0, 1: 0, 2: 1}
MAX_CHUNK, MAX_PACK, MAX_OBJECT = 1 << 26, 1 << 27, {"segments": 1 << 26, "snapshots": 1 << 26, "marks": 1 << 20}
MAX_LEVEL, MAX_ENTRIES, MAX_CHUNKS, MAX_NAME, MAX_TARGET, MAX_DEPTH = 8, 16777216, 4194304, 255, 65535, 2048
MAX_PATH, MAX_ROWS, MAX_PAGE_ATTRIBUTES = 65535, 65536, 262144
MAX_RESTORED = 1 << 24  # entries of one restore: a limit of this reader, so that a small archive cannot fill the drive
FRAME_HEADER, ROW = struct.Struct("<4s4BII32s4s"), struct.Struct("<32sIII4B")


class Refused(Exception):
    """Something that must not be used: damaged, or not as the format says."""


class Newer(Refused):
    """Something with a number that this reader does not know."""
    def __str__(self):
        return f"newer than this reader: {super().__str__()}"


class Unsupported(Refused):
    """Something that this reader knows of but cannot do."""


class TooMany(Exception):
    """More entries than can be true; the restore ends."""


# ---- BLAKE3 -----------------------------------------------------------------------------------------------------------------
# 1024 chunks are hashed side by side: each of the 16 words of the state is one long Python integer that holds the word of
# every chunk, in lanes of 64 bits, so that one operation works on all of them.

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIXED = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
START, END, PARENT, ROOT, CONTEXT, MATERIAL = 1, 2, 4, 8, 32, 64
LANES = 1024


def words_of(data):
    words = array.array("I", data)
    if sys.byteorder == "big":
        words.byteswap()
    return words


def lanes_of(words):
    spread = array.array("I", bytes(8 * len(words)))
    spread[::2] = words
    if sys.byteorder == "big":
        spread.byteswap()
    return int.from_bytes(spread.tobytes(), "little")


def ones_of(n):
    return lanes_of(array.array("I", [1]) * n)


def compress(state, message, ones, low, high, length, flags):
    """One block in every lane; low and high are the lanes of the two halves of the counter."""
    mask = ones * 0xFFFFFFFF
    v = list(state) + [word * ones for word in IV[:4]] + [low, high, length * ones, flags * ones]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(MIXED):
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            for x, r1, r2 in ((message[2 * i], 16, 12), (message[2 * i + 1], 8, 7)):
                va = (va + vb + x) & mask
                vd ^= va
                vd = ((vd << 32 | vd) >> r1) & mask
                vc = (vc + vd) & mask
                vb ^= vc
                vb = ((vb << 32 | vb) >> r2) & mask
            v[a], v[b], v[c], v[d] = va, vb, vc, vd
        message = [message[i] for i in PERMUTATION]
    return [v[i] ^ v[i + 8] for i in range(8)]


def values_of(state, n):
    """The chaining values of n lanes, 32 bytes each."""
    out = array.array("I", bytes(32 * n))
    for i, lane in enumerate(state):
        out[i::8] = words_of(lane.to_bytes(8 * n, "little"))[::2]
    if sys.byteorder == "big":
        out.byteswap()
    return out.tobytes()


class PureBlake3:
    def __init__(self, data=b"", derive_key_context=None, _key=IV, _flags=0):
        self.key, self.flags, self.waiting, self.done, self.trees = _key, _flags, bytearray(), 0, b""
        if derive_key_context is not None:
            context = PureBlake3(derive_key_context.encode(), _flags=CONTEXT).digest()
            self.key, self.flags = tuple(words_of(context)), MATERIAL
        self.update(data)

    def update(self, data):
        self.waiting += data
        while len(self.waiting) > 1024 * LANES:
            self.trees += self.join(self.chunks(bytes(self.waiting[:1024 * LANES]), self.done))
            self.done += LANES
            del self.waiting[:1024 * LANES]

    def chunks(self, data, counter):
        """Chaining values of whole chunks."""
        n, words = len(data) // 1024, words_of(data)
        if not n:
            return b""
        ones = ones_of(n)
        low = lanes_of(array.array("I", [(counter + i) & 0xFFFFFFFF for i in range(n)]))
        state = [word * ones for word in self.key]
        for block in range(16):
            message = [lanes_of(words[16 * block + i::256]) for i in range(16)]
            flags = self.flags | (START if block == 0 else END if block == 15 else 0)
            state = compress(state, message, ones, low, (counter >> 32) * ones, 64, flags)
        return values_of(state, n)

    def last_chunk(self, data, counter, root):
        state, blocks = list(self.key), max(1, -(-len(data) // 64))
        for block in range(blocks):
            part = data[64 * block:64 * block + 64]
            flags = self.flags | (START if block == 0 else 0) | ((END | root) if block == blocks - 1 else 0)
            message = words_of(part.ljust(64, b"\0"))
            state = compress(state, message, 1, counter & 0xFFFFFFFF, counter >> 32, len(part), flags)
        return values_of(state, 1)

    def join(self, values, root=0):
        """Chaining values to one: neighbours in pairs, level by level; one left over goes up as it is."""
        while len(values) > 32:
            n, words = len(values) // 64, words_of(values[:len(values) // 64 * 64])
            ones = ones_of(n)
            flags = self.flags | PARENT | (root if len(values) == 64 else 0)
            message = [lanes_of(words[i::16]) for i in range(16)]
            state = compress([word * ones for word in self.key], message, ones, 0, 0, 64, flags)
            values = values_of(state, n) + values[64 * n:]
        return values

    def digest(self):
        data = bytes(self.waiting)
        whole = max(0, (len(data) - 1) // 1024)
        alone = whole == 0 and not self.trees
        values = self.chunks(data[:1024 * whole], self.done)
        values += self.last_chunk(data[1024 * whole:], self.done + whole, ROOT if alone else 0)
        if self.trees:
            values = self.trees + self.join(values)
        return self.join(values, ROOT)


def hasher(context=None):
    return (blake3 or PureBlake3)(b"", derive_key_context=context) if context else (blake3 or PureBlake3)()


def digest(data, context=None):
    state = hasher(context)
    state.update(data)
    return state.digest()


# ---- Codecs (§5.5) ----------------------------------------------------------------------------------------------------------

def check_zstandard(data, plain):
    """Refuses all but one frame that states this content size, has no dictionary and no large window, and ends with the data."""
    try:
        if data[:4] != b"\x28\xB5\x2F\xFD":
            raise Refused("the stored bytes are not a Zstandard frame")
        flags, at = data[4], 5
        single, size_code = flags >> 5 & 1, flags >> 6
        window = None
        if not single:
            base = 1 << 10 + (data[at] >> 3)
            window, at = base + base // 8 * (data[at] & 7), at + 1
        if flags & 3 or flags & 8:
            raise Refused("the Zstandard frame has a dictionary or a reserved bit")
        length = (single, 2, 4, 8)[size_code]
        size = int.from_bytes(data[at:at + length], "little") + (256 if length == 2 else 0)
        if not length or size != plain or (size if single else window) > MAX_CHUNK:
            raise Refused("the Zstandard frame has no content size, another one, or too large a window")
        at, last = at + length, 0
        while not last:
            block = int.from_bytes(data[at:at + 3], "little") if at + 3 <= len(data) else 6
            last, kind, at = block & 1, block >> 1 & 3, at + 3 + (1 if block >> 1 & 3 == 1 else block >> 3)
            if kind == 3:
                raise Refused("the Zstandard frame has a bad block")
    except IndexError:
        raise Refused("the Zstandard frame is too short") from None
    if at + (4 if flags & 4 else 0) != len(data):
        raise Refused("the Zstandard frame does not end with the stored bytes")


def decode(codec, version, stored, plain):
    if CODEC_VERSIONS.get(codec, version) != version:
        raise Newer(f"codec {codec}, codec version {version}")
    if codec == 0:
        result = stored
    elif codec == 1:
        check_zstandard(stored, plain)
        if zstandard:
            try:
                result = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK).decompress(stored, max_output_size=plain)
            except zstandard.ZstdError as error:
                raise Refused(f"Zstandard: {error}") from None
        else:
            result = run_zstd(stored, plain)
    elif codec == 2:
        raise Unsupported("codec 2 is not supported by this reader")
    else:
        raise Newer(f"codec {codec}")
    if len(result) != plain:
        raise Refused("decoding gives another length than the frame states")
    return result


def run_zstd(stored, plain):
    with tempfile.TemporaryFile() as file:
        file.write(stored)
        file.seek(0)
        try:
            child = subprocess.Popen(["zstd", "-d", "-c", "-q", "--memory=64MB"], stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        except OSError:
            raise Unsupported("Zstandard needs the module `zstandard` or the program `zstd`") from None
        with child:
            result = child.stdout.read(plain + 1)
            if len(result) > plain:
                child.kill()
    if child.returncode:
        raise Refused("Zstandard: the stored bytes cannot be decoded")
    return result


# ---- CBOR (§7) --------------------------------------------------------------------------------------------------------------

def parse_cbor(data):
    value, at = parse_item(data, 0, 0)
    if at != len(data):
        raise Refused("there are bytes after the CBOR value")
    return value


def parse_item(data, at, depth):
    if at >= len(data) or depth > 8:
        raise Refused("the CBOR value is too short or too deep")
    major, info, at = data[at] >> 5, data[at] & 31, at + 1
    if (major, info) == (7, 21):
        return True, at
    if major > 5 or info > 27:
        raise Refused("the CBOR value has a type or a form that is not allowed")
    number = info
    if info > 23:
        length = 1 << info - 24
        number = int.from_bytes(data[at:at + length], "big")
        if at + length > len(data) or number < (24 if length == 1 else 1 << 4 * length):
            raise Refused("a CBOR number is cut off or not in its shortest form")
        at += length
    if major < 2:
        return (number if major == 0 else -1 - number), at
    if number > len(data) - at:
        raise Refused("the CBOR value is too short")
    if major in (2, 3):
        part = bytes(data[at:at + number])
        try:
            return (part if major == 2 else part.decode("utf-8")), at + number
        except UnicodeDecodeError:
            raise Refused("a text is not UTF-8") from None
    if major == 4:
        items = []
        for _ in range(number):
            item, at = parse_item(data, at, depth + 1)
            items.append(item)
        return items, at
    fields, last = {}, -1
    for _ in range(number):
        key, at = parse_item(data, at, depth + 1)
        if type(key) is not int or key <= last:
            raise Refused("the keys of a map are not ascending numbers")
        last = key
        fields[key], at = parse_item(data, at, depth + 1)
    return fields, at


def array_of(*types):
    """A check: an array that repeats these types, not empty."""
    def check(value):
        return type(value) is list and value and len(value) % len(types) == 0 and all(
            right(item) for item, right in zip(value, types * (len(value) // len(types))))
    return check


def number_in(least, limit):
    return lambda value: type(value) is int and least <= value < limit


def is_bytes(value):
    return type(value) is bytes


def is_id(value):
    return is_bytes(value) and len(value) == 32


def is_text(value):
    return type(value) is str


TIME, NANOS, ANY = number_in(-1 << 63, 1 << 63), number_in(0, 10 ** 9), number_in(0, 1 << 64)
LATER_NANOS, ID32, MINUTES = number_in(1, 10 ** 9), number_in(1, (1 << 32) - 1), number_in(-1559, 1560)
# Key: the kinds of entries that have it, whether it must be there, and its check. What is never written is refused.
ENTRY_FIELDS = {
    1: ((0, 1, 2), True, is_bytes), 2: ((0, 1, 2), True, ANY), 3: ((0, 1, 2), True, number_in(0, 0o10000)),
    4: ((0, 1, 2), False, ID32), 5: ((0, 1, 2), False, ID32),
    6: ((0, 1, 2), True, TIME), 7: ((0, 1, 2), False, LATER_NANOS), 8: ((0, 1, 2), True, TIME), 9: ((0, 1, 2), False, LATER_NANOS),
    10: ((0, 1, 2), False, number_in(1, 1 << 64)), 11: ((0, 1, 2), False, number_in(1, 1 << 64)),
    12: ((0, 1, 2), False, number_in(2, 1 << 64)), 13: ((0, 1, 2), False, array_of(is_bytes, is_bytes)),
    14: ((0,), True, ANY), 15: ((0,), True, is_id), 16: ((0,), False, is_bytes), 17: ((0,), False, is_id),
    18: ((0,), False, lambda value: value is True), 19: ((0,), False, lambda value: value is True),
    20: ((1,), True, is_id), 21: ((1,), True, ANY), 22: ((1,), True, ANY), 23: ((2,), True, is_bytes),
    24: ((0, 1, 2), False, TIME), 25: ((0, 1, 2), False, LATER_NANOS), 26: ((0, 1, 2), False, number_in(1, 1 << 64)),
    27: ((0,), False, lambda value: value is True)}
SNAPSHOT_FIELDS = {
    1: (True, ANY), 2: (True, TIME), 3: (True, NANOS), 4: (True, MINUTES), 5: (True, is_text), 6: (True, is_text),
    7: (True, lambda value: type(value) is list and all(type(item) is list and len(item) == 3 and is_bytes(item[0]) and is_bytes(item[1])
                                                        and array_of(ANY)(item[2]) for item in value)),
    8: (True, is_id), 9: (False, is_id), 10: (False, array_of(is_text)), 11: (False, is_text), 12: (False, array_of(is_text)),
    13: (True, is_text), 14: (True, lambda value: array_of(ANY)(value) and len(value) == 12), 15: (False, array_of(is_bytes, is_text)),
    16: (False, lambda value: value is True)}

is_path = lambda value: is_bytes(value) and value != b""
MARK_FIELDS = {key: SNAPSHOT_FIELDS[key] for key in (1, 2, 3, 4, 5, 6, 13)} | {
    20: (True, ANY), 21: (True, is_text), 22: (True, is_path), 23: (False, is_path)}


def check_fields(value, fields, what):
    if type(value) is not dict:
        raise Refused(f"{what} is not a map")
    for key in value:
        if key not in fields:
            raise Newer(f"{what} has the unknown field {key}")
        if not fields[key][1](value[key]):
            raise Refused(f"{what} has a bad field {key}")
    for key, (needed, _) in fields.items():
        if needed and key not in value:
            raise Refused(f"{what} lacks the field {key}")


def check_name(name):
    if not is_bytes(name) or not 1 <= len(name) <= MAX_NAME or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise Refused(f"{show(name)!r} cannot be a name")


def check_entry(entry):
    kind = entry.get(2) if type(entry) is dict else None
    if type(kind) is int and kind not in (0, 1, 2):
        raise Newer(f"an entry has the unknown kind {kind}")
    if type(entry) is dict and any(key in ENTRY_FIELDS and kind not in ENTRY_FIELDS[key][0] for key in entry):
        raise Refused("an entry has a field of another kind of entry")
    check_fields(entry, {key: (needed, right) for key, (kinds, needed, right) in ENTRY_FIELDS.items() if kind in kinds}, "an entry")
    check_name(entry[1])
    names = entry.get(13, [])[::2]
    if any(a >= b for a, b in zip(names, names[1:])) or any(not 1 <= len(n) <= MAX_NAME or b"\0" in n for n in names):
        raise Refused("the attributes of an entry are not in order or have bad names")
    if 25 in entry and 24 not in entry:
        raise Refused("an entry has nanoseconds of no time")
    if entry.get(26, 1) > 2:
        raise Newer(f"an entry was not read for the unknown reason {entry[26]}")
    if kind == 2 and (not 1 <= len(entry[23]) <= MAX_TARGET or b"\0" in entry[23]):
        raise Refused("a symbolic link has a bad target")
    if kind == 0:
        if 16 in entry and 17 in entry or 17 in entry and not entry[14]:
            raise Refused("a file has two lists of chunks, or one without need")
        if 16 in entry and not entry[16] or 17 not in entry and sum(n for _, n in chunk_rows(entry.get(16, b""))) != entry[14]:
            raise Refused("the chunks of a file do not add up to its length")


def chunk_rows(data):
    if len(data) % 36:
        raise Refused("a list of chunks has no whole rows")
    rows = list(struct.iter_unpack("<32sI", data))
    if any(not 0 < length <= MAX_CHUNK for _, length in rows):
        raise Refused("a list of chunks has a chunk of a forbidden length")
    return rows


def parse_page(data, level, content):
    page = parse_cbor(data)
    if type(page) is not list or len(page) != 2 or type(page[0]) is not int or type(page[1]) is not content:
        raise Refused("it is not a page")
    row = 1 if content is list else 40 if page[0] else 36
    if len(page[1]) > MAX_ROWS * row:
        raise Refused("it has more rows than a page may have")
    if not 0 <= page[0] <= MAX_LEVEL or level is not None and page[0] != level:
        raise Refused("it is a page of a wrong level")
    return page


def parse_tree_page(data, level=None, first=None):
    """A page of a directory: (level, entries) or (level, pairs)."""
    level_given, (level, items) = level, parse_page(data, level, list)
    for item in items:
        if level == 0:
            check_entry(item)
        elif type(item) is not list or len(item) != 2 or not is_id(item[1]):
            raise Refused("a page has a bad pair")
        else:
            check_name(item[0])
    if level == 0 and sum(len(item.get(13, ())) // 2 for item in items) > MAX_PAGE_ATTRIBUTES:
        raise Refused("a page has too many extended attributes")
    names = [item[1] if level == 0 else item[0] for item in items]
    if any(a >= b for a, b in zip(names, names[1:])):
        raise Refused("the names of a page are not ascending")
    if not names and (level or level_given is not None):
        raise Refused("a page is empty, but the directory is not")
    if first is not None and names[0] != first:
        raise Refused("a page begins with another name than the page above says")
    return level, items


def parse_list_page(data, covers, level=None):
    """A page of a chunk list: (level, rows of an id and a length)."""
    level, body = parse_page(data, level, bytes)
    if level and len(body) % 40:
        raise Refused("a page of a chunk list has no whole rows")
    rows = list(struct.iter_unpack("<32sQ", body)) if level else chunk_rows(body)
    if not all(length for _, length in rows) or sum(length for _, length in rows) != covers:
        raise Refused("a page of a chunk list does not add up")
    return level, rows


# ---- Objects (§3 to §8) -----------------------------------------------------------------------------------------------------

def show(name):
    text = name.decode("utf-8", "backslashreplace") if is_bytes(name) else str(name)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def check_envelope(data, kind):
    """Refuses an object that is not of this kind; returns byte 10, which only packs use."""
    if len(data) < 16 or data[:8] != MAGIC:
        raise Refused("it does not begin as an object of an archive")
    if data[8] not in KIND_NAMES or data[9] != 0:
        raise Newer(f"kind {data[8]}, version {data[9]}")
    if data[8] != kind:
        raise Refused(f"it is a {KIND_NAMES[data[8]]}, not a {KIND_NAMES[kind]}")
    if any(data[11:16]) or data[10] > (1 if kind == PACK else 0):
        raise Newer("reserved bytes of the envelope are not zero")
    return data[10]


def check_frame(kind, codec, stored, plain):
    """What must be so whatever the codec; one that is unknown matters only to whoever wants the chunk."""
    if kind not in CONTEXTS:
        raise Newer(f"chunk kind {kind}")
    if not 0 < stored <= plain <= MAX_CHUNK or codec == 0 and stored != plain:
        raise Refused("a frame has forbidden lengths")


def parse_frame_header(data):
    """(kind, codec, codec version, stored, plain, id) or None if it is no whole frame header."""
    if len(data) < 52 or data[:4] != FRAME_MAGIC or digest(data[:48])[:4] != data[48:52]:
        return None
    _, kind, codec, version, _, stored, plain, chunk, _ = FRAME_HEADER.unpack(data[:52])
    check_frame(kind, codec, stored, plain)
    return kind, codec, version, stored, plain, chunk


def parse_rows(data, content):
    """Rows of a directory: a list of (kind, id, at, plain), and where the last frame ends."""
    rows, expected = [], 16
    for chunk, at, stored, plain, kind, codec, _, _ in ROW.iter_unpack(data):
        check_frame(kind, codec, stored, plain)
        if at != expected or (kind != DATA) != bool(content):
            raise Refused("the rows of a directory do not fit a pack")
        rows.append((kind, chunk, at, plain))
        expected += 52 + stored
    return rows, expected


def parse_segment(data):
    """Yields (pack id, length that the pack must have, rows)."""
    check_envelope(data, SEGMENT)
    packs, at = [], 20
    for _ in range(int.from_bytes(data[16:20], "little")):
        if at + 40 > len(data):
            raise Refused("it is too short")
        pack, count, content, *reserved = struct.unpack_from("<32sI4B", data, at)
        if content > 1 or any(reserved):
            raise Newer(f"content {content} of a pack")
        if not count or at + 40 + 48 * count > len(data):
            raise Refused("it is too short, or tells of an empty pack")
        rows, end = parse_rows(data[at + 40:at + 40 + 48 * count], content)
        packs.append((pack.hex(), end + 48 * count + 48, rows))
        at += 40 + 48 * count
    if at != len(data):
        raise Refused("there are bytes after its end")
    return packs


def parse_header(data):
    """What one block says: the seal and the parity. Sizes and chunker are the business of writers."""
    if len(data) != 96 or digest(data[:64]) != data[64:]:
        raise Refused("its length or its hash is wrong")
    check_envelope(data, HEADER)
    if data[41] > 1 or any(data[60:64]):
        raise Newer(f"seal {data[41]}")
    return data[41], int.from_bytes(data[42:44], "little")


def salvage_header(objects):
    """What the first whole block says, or else the block whose every bit is what more than half of the blocks say."""
    blocks = [data[at:at + 96] for data in objects for at in range(0, min(len(data), 768) - 95, 96)]
    for block in blocks:
        try:
            return parse_header(block), block
        except Newer:
            raise
        except Refused:
            pass
    if not blocks:
        raise Refused("it is too short")
    block = bytes(sum(1 << bit for bit in range(8) if sum(other[at] >> bit & 1 for other in blocks) * 2 > len(blocks)) for at in range(96))
    return parse_header(block), block


def parse_snapshot(data):
    check_envelope(data, SNAPSHOT)
    value = parse_cbor(data[16:])
    check_fields(value, SNAPSHOT_FIELDS, "the snapshot")
    for name, _, _ in value[7]:
        check_name(name)
    if len({name for name, _, _ in value[7]}) != len(value[7]):
        raise Refused("two sources have one name")
    return value


def parse_mark(data):
    check_envelope(data, MARK)
    value = parse_cbor(data[16:])
    if type(value) is dict and value.get(20) not in (None, 1, 2, 3):
        raise Newer(f"the mark says {value[20]}")
    check_fields(value, MARK_FIELDS, "the mark")
    if (value[20] == 1) != (23 in value) or value.get(23) == value[22]:
        raise Refused("the mark has not the paths that belong to what it says")
    return value


class Archive:
    """level: how chunks are found: 0 segments, 1 directories of packs, 2 frames. It rises when a chunk is not found."""

    def __init__(self, folder, level=0):
        self.folder, self.level, self.problems, self.told, self.parity = folder, level, 0, set(), 0
        self.places, self.loaded, self.files, self.recent = {}, None, {}, {}
        self.read_header()

    def bad(self, message):
        if message not in self.told:
            self.told.add(message)
            self.problems += 1
            print(f"read_archive: {message}", file=sys.stderr)

    def read_header(self):
        found, remains = {}, []
        for name in ("header", "header.copy"):
            try:
                with open(os.path.join(self.folder, name), "rb") as file:
                    data = file.read(4096)
                remains.append(data)
                values, block = salvage_header([data])
                found[block] = values
                if data != block * 8:
                    self.bad(f"{name}: some of it is damaged")
            except (OSError, Refused) as error:
                self.bad(f"{name}: {error}")
                if isinstance(error, Newer) and not found:
                    found[name] = error
        if not found:
            try:
                values, block = salvage_header(remains)
                found[block] = values
            except Refused:
                pass
        values = [value for value in found.values() if not isinstance(value, Newer)]
        if not found and not os.path.isdir(os.path.join(self.folder, "packs")):
            raise Refused(f"{self.folder} is not an archive")
        if found and not values:
            raise Newer("both copies of the header" if len(found) == 2 else "the header")
        if len(values) > 1:
            self.bad("header, header.copy: both are whole, but they are not equal")
        if not values:
            self.bad("no copy of the header is whole; what else is there can still be read")
        if any(seal for seal, _ in values):
            raise Unsupported("the archive is sealed; this reader does not open sealed archives")
        self.parity = max((parity for _, parity in values), default=0)

    def objects(self, folder):
        """The ids in packs, parity, segments, snapshots or marks, in order; all other names are ignored."""
        base = os.path.join(self.folder, folder)
        if folder not in ("packs", "parity"):
            names = [(name, name) for name in list_folder(base)]
        else:
            names = [(two, name) for two in list_folder(base) if len(two) == 2 for name in list_folder(os.path.join(base, two))]
        return sorted(name for two, name in names if re.fullmatch("[0-9a-f]{64}", name) and name.startswith(two))

    def path(self, folder, name):
        return os.path.join(self.folder, folder, *([name[:2]] if folder in ("packs", "parity") else []), name)

    def read_object(self, folder, name):
        """The bytes of an object, if they are those of its name."""
        with open(self.path(folder, name), "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_OBJECT[folder]:
                raise Refused("it is too long")
            data = file.read()
        if digest(data).hex() != name:
            raise Refused("damaged: its bytes are not those of its name")
        return data

    def snapshots(self):
        """(id, snapshot), newest last."""
        found = []
        for name in self.objects("snapshots"):
            try:
                found.append((name, parse_snapshot(self.read_object("snapshots", name))))
            except (OSError, Refused) as error:
                self.bad(f"snapshots/{name}: {error}")
        return sorted(found, key=lambda pair: (pair[1][1], pair[1][2], pair[1][3], pair[0]))

    # -- finding chunks (§5.4)

    def load(self):
        self.places, self.loaded = {}, self.level
        lengths = {}
        for name in self.objects("packs"):
            try:
                lengths[name] = os.stat(self.path("packs", name)).st_size
            except OSError as error:
                self.bad(f"pack {name}: {error}")
        todo = set(lengths)
        for name in self.objects("segments") if self.level == 0 else ():
            try:
                for pack, length, rows in parse_segment(self.read_object("segments", name)):
                    if lengths.get(pack) == length:
                        self.learn(pack, rows)
                        todo.discard(pack)
            except (OSError, Refused) as error:
                self.bad(f"segments/{name}: {error}; the directories of its packs serve")
        for name in sorted(todo):
            try:
                self.learn(name, self.pack_rows(name))
            except (OSError, Refused) as error:
                self.bad(f"pack {name}: {error}")

    def learn(self, pack, rows):
        for kind, chunk, at, _ in rows:
            self.places.setdefault((kind, chunk), set()).add((pack, at))

    def pack_rows(self, name):
        with open(self.path("packs", name), "rb") as file:
            content = None
            try:
                content = check_envelope(file.read(16), PACK)
                if self.level < 2:
                    return self.directory_of(file)
            except Newer:
                if self.is_whole(file, name):
                    raise
                self.bad(f"pack {name}: damaged; its frames serve")
            except Refused as error:
                self.bad(f"pack {name}: {error}; its frames serve")
            return list(self.frames_of(file, name, content))

    @staticmethod
    def is_whole(file, name):
        state = hasher()
        file.seek(0)
        while part := file.read(1 << 22):
            state.update(part)
        return state.digest().hex() == name

    @staticmethod
    def directory_of(file):
        size = os.fstat(file.fileno()).st_size
        file.seek(0)
        content = check_envelope(file.read(16), PACK)
        if not 16 + 53 + 96 <= size <= MAX_PACK:
            raise Refused("its length cannot be that of a pack")
        file.seek(size - 48)
        start, count, magic, reserved, check = struct.unpack("<II4sI32s", file.read(48))
        if magic != FRAME_MAGIC or start + 48 * count + 48 != size or not count:
            raise Refused("its trailer is damaged")
        file.seek(start)
        data = file.read(48 * count)
        if digest(data) != check:
            raise Refused("its directory is damaged")
        if reserved:
            raise Newer("reserved bytes of the trailer are not zero")
        rows, end = parse_rows(data, content)
        if end != start:
            raise Refused("its directory does not fit its frames")
        return rows

    def frames_of(self, file, name, content=None):
        """Finds frames from the front. After a damaged header a frame only counts if its bytes decode to its id, to the end of the
        pack: the bytes of a file could look like frames. One of a codec that this reader lacks is kept, but its length is not believed."""
        size, at, lost = os.fstat(file.fileno()).st_size, 16, False
        left = 4 * size + (1 << 28)  # how much may be decoded of what was searched for
        while at + 52 <= size:
            file.seek(at)
            try:
                frame = parse_frame_header(file.read(52))
            except Refused:
                frame = None
            if frame and at == 16:
                content = int(frame[0] != DATA)
            if frame and (content is None or (frame[0] != DATA) == bool(content)):
                kind, _, _, stored, plain, chunk = frame
                try:
                    if lost:
                        if 52 + stored + plain > left:
                            raise Refused("too much is claimed")
                        left -= 52 + stored + plain
                        self.read_frame(file, at, kind, chunk)
                    yield kind, chunk, at, plain
                    at += 52 + stored
                    continue
                except Unsupported:
                    yield kind, chunk, at, plain
                except Refused:
                    pass
            at, lost = self.next_magic(file, at + 1), True

    @staticmethod
    def next_magic(file, at):
        while True:
            file.seek(at)
            part = file.read(1 << 20)
            found = part.find(FRAME_MAGIC)
            if found >= 0 or len(part) < 4:
                return at + (found if found >= 0 else len(part))
            at += len(part) - 3

    @staticmethod
    def read_frame(file, at, kind, chunk):
        file.seek(at)
        frame = parse_frame_header(file.read(52))
        if frame is None or (frame[0], frame[5]) != (kind, chunk):
            raise Refused("there is no whole frame of the chunk")
        _, codec, version, stored, plain, _ = frame
        data = file.read(stored)
        if len(data) != stored:
            raise Refused("the frame is cut off")
        data = decode(codec, version, data, plain)
        if digest(data, CONTEXTS[kind]) != chunk:
            raise Refused("the chunk is damaged")
        return data

    def open_pack(self, name):
        if name not in self.files:
            while len(self.files) >= 8:
                self.files.pop(next(iter(self.files))).close()
            self.files[name] = open(self.path("packs", name), "rb")
        return self.files[name]

    def chunk(self, kind, chunk):
        """The bytes of a chunk, from whatever whole place is found. The last few are remembered: holes are all alike."""
        if (kind, chunk) not in self.recent:
            while len(self.recent) >= 8:
                self.recent.pop(next(iter(self.recent)))
            self.recent[kind, chunk] = self.find_chunk(kind, chunk)
        return self.recent[kind, chunk]

    def find_chunk(self, kind, chunk):
        while True:
            if self.loaded != self.level:
                self.load()
            unsupported = None
            for pack, at in sorted(self.places.get((kind, chunk), ())):
                try:
                    return self.read_frame(self.open_pack(pack), at, kind, chunk)
                except Unsupported as error:
                    unsupported = error
                except (OSError, Refused) as error:
                    self.bad(f"pack {pack}, frame at {at}, chunk {chunk.hex()}: {error}")
            if unsupported:
                raise unsupported
            if self.level == 2:
                raise Refused(f"chunk {chunk.hex()} is in no pack, or damaged")
            self.level += 1

    # -- trees (§7)

    def directory(self, top, where):
        """Yields the entries of each whole page of a directory. A page that is refused is reported and left out."""
        if where.count(b"/") >= MAX_DEPTH or len(where) > MAX_PATH:
            raise Refused("the directories are nested too deep")
        last, count = None, 0
        for entries in self.tree_pages(top, where):
            if entries and last is not None and entries[0][1] <= last:
                self.bad(f"{show(where)}: the names of the directory do not ascend from page to page")
                continue
            last, count = entries[-1][1] if entries else last, count + len(entries)
            if count > MAX_ENTRIES:
                self.bad(f"{show(where)}: the directory has too many entries")
                return
            yield entries

    def tree_pages(self, page, where, level=None, first=None):
        try:
            level, items = parse_tree_page(self.chunk(TREE, page), level, first)
        except Refused as error:
            self.bad(f"{show(where)}: page {page.hex()} of the directory: {error}")
            return
        if level == 0:
            yield items
        for name, child in items if level else ():
            yield from self.tree_pages(child, where, level - 1, name)

    def chunks_of(self, entry):
        """Yields the rows of a file: id and length of each chunk."""
        if 17 not in entry:
            yield from chunk_rows(entry.get(16, b""))
            return
        for count, row in enumerate(self.list_rows(entry[17], entry[14]), 1):
            if count > MAX_CHUNKS:
                raise Refused("the file has too many chunks")
            yield row

    def list_rows(self, page, covers, level=None):
        data = self.chunk(LIST, page)
        try:
            level, rows = parse_list_page(data, covers, level)
        except Refused as error:
            raise type(error)(f"page {page.hex()} of a chunk list: {error}") from None
        for item, length in rows:
            if level:
                yield from self.list_rows(item, length, level - 1)
            else:
                yield item, length


def list_folder(path):
    try:
        return os.listdir(path)
    except (FileNotFoundError, NotADirectoryError):
        return []


# ---- Restoring --------------------------------------------------------------------------------------------------------------

class Restore:
    """Everything is made new, inside folders that were made new and are held open, so nothing is ever followed out of TARGET."""

    def __init__(self, archive, snapshot, target):
        self.archive, self.first_names, self.done, self.unsupported = archive, {}, [0, 0, 0, 0], 0
        self.root = os.geteuid() == 0
        if not os.path.isdir(target):
            os.mkdir(target)
        if os.listdir(target):
            raise Refused(f"{target} is not empty")
        self.top = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
        self.devices = {name: len(devices) for name, _, devices in snapshot[7]}
        self.restored = 0
        self.entries(snapshot[8], self.top, b"", None, [MAX_RESTORED, 1 << 64])

    def entries(self, page, folder, path, source, left):
        """left: how many files and bytes may be below; a directory that is named again and again could hold any number."""
        for entries in self.archive.directory(page, path or b"(top)"):
            for entry in entries:
                where = path + b"/" + entry[1] if path else entry[1]
                files, size = (entry[21], entry[22]) if entry[2] == 1 else (1, entry.get(14, 0))
                left[:] = left[0] - files, left[1] - size
                self.restored += 1
                if min(left) < 0 or self.restored > MAX_RESTORED:
                    raise TooMany(f"{show(where)}: there is more in its directory than the directory says, or too much for one restore")
                try:
                    self.entry(entry, folder, where, entry[1] if source is None else source)
                except Unsupported as error:
                    self.unsupported += 1
                    self.archive.bad(f"{show(where)}: not restored: {error}")
                except (Refused, OSError, ValueError, OverflowError, RecursionError) as error:
                    self.archive.bad(f"{show(where)}: not restored: {error}")

    def entry(self, entry, folder, where, source):
        kind, name = entry[2], entry[1]
        if entry.get(11, 0) and entry[11] >= self.devices.get(source, 0):
            self.archive.bad(f"{show(where)}: its device is not in the snapshot's list")
        if kind == 1:
            os.mkdir(name, 0o700, dir_fd=folder)
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            try:
                self.entries(entry[20], handle, where, source, [entry[21], entry[22]])
                self.metadata(entry, handle, where)
            finally:
                os.close(handle)
        elif kind == 2:
            os.symlink(entry[23], name, dir_fd=folder)
            self.link_metadata(entry, folder, where)
        else:
            same = (source, entry.get(11, 0), entry.get(10, 0), entry[15]) if entry.get(12, 1) > 1 and entry.get(10, 0) else None
            if same not in self.first_names or not self.hard_link(self.first_names[same], name, folder):
                self.file(entry, folder, where)
                if same:
                    self.first_names.setdefault(same, where)
            else:
                self.done[3] += 1
        self.done[kind] += 1

    def hard_link(self, old, name, folder):
        try:
            os.link(old, name, src_dir_fd=self.top, dst_dir_fd=folder, follow_symlinks=False)
            return True
        except OSError:
            return False

    def file(self, entry, folder, where):
        handle = os.open(entry[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
        try:
            state = hasher()
            for chunk, length in self.archive.chunks_of(entry):
                data = self.archive.chunk(DATA, chunk)
                if len(data) != length:
                    raise Refused(f"chunk {chunk.hex()} has another length than the file says")
                state.update(data)
                write(handle, data, 18 in entry)
            os.ftruncate(handle, os.lseek(handle, 0, os.SEEK_CUR))
            if os.fstat(handle).st_size != entry[14] or state.digest() != entry[15]:
                raise Refused("its length or its hash is not that of the snapshot")
            self.metadata(entry, handle, where)
        except BaseException:
            os.unlink(entry[1], dir_fd=folder)
            raise
        finally:
            os.close(handle)

    def metadata(self, entry, handle, where):
        """Owner first, since that can clear attributes and permission bits; the time last."""
        mode = entry[3]
        try:
            self.owner(entry, lambda user, group: os.chown(handle, user, group))
        except OSError as error:
            self.archive.bad(f"{show(where)}: owner: {error}")
            mode &= 0o777
        self.attributes(entry, handle, where)
        try:
            os.fchmod(handle, mode if self.root else mode & 0o1777)
            os.utime(handle, ns=(nanoseconds(entry),) * 2)
        except (OSError, OverflowError) as error:
            self.archive.bad(f"{show(where)}: mode or time: {error}")

    def link_metadata(self, entry, folder, where):
        try:
            self.owner(entry, lambda user, group: os.chown(entry[1], user, group, dir_fd=folder, follow_symlinks=False))
            self.attributes(entry, f"/proc/self/fd/{folder}/".encode() + entry[1], where, follow_symlinks=False)
            os.utime(entry[1], ns=(nanoseconds(entry),) * 2, dir_fd=folder, follow_symlinks=False)
        except (OSError, OverflowError) as error:
            self.archive.bad(f"{show(where)}: owner or time: {error}")

    def owner(self, entry, change):
        """Only root can give files away; for others the owner is whoever restores."""
        if self.root:
            change(entry.get(4, 0), entry.get(5, 0))

    def attributes(self, entry, place, where, **how):
        pairs = entry.get(13, [])
        for name, value in zip(pairs[::2], pairs[1::2]):
            try:
                os.setxattr(place, name, value, **how)
            except (OSError, AttributeError) as error:
                self.archive.bad(f"{show(where)}: attribute {show(name)}: {error}")


def nanoseconds(entry):
    return entry[6] * 10 ** 9 + entry.get(7, 0)


def write(handle, data, holes):
    """Leaves out blocks of zeros if the file had holes."""
    step, view = (4096 if holes else len(data)), memoryview(data)
    for at in range(0, len(data), step):
        part = view[at:at + step]
        if holes and not part.tobytes().strip(b"\0"):
            os.lseek(handle, len(part), os.SEEK_CUR)
            continue
        while part:
            part = part[os.write(handle, part):]


# ---- Verifying --------------------------------------------------------------------------------------------------------------

class Verify:
    def __init__(self, archive):
        self.archive, self.good, self.totals, self.counts = archive, {}, {}, dict.fromkeys(
            ("packs", "chunks", "chunks of codec 2, not decoded", "segments", "snapshots", "marks", "directories", "files", "parity objects"), 0)
        self.rows = {}
        for folder, check in (("packs", self.pack), ("segments", self.segment), ("snapshots", self.snapshot), ("marks", self.mark),
                              ("parity", self.parity)):
            for name in archive.objects(folder):
                try:
                    self.counts["parity objects" if folder == "parity" else folder] += 1
                    check(name)
                except (OSError, Refused) as error:
                    archive.bad(f"{folder}/{name}: {error}")
        if archive.parity:
            for name in sorted(set(archive.objects("packs") + archive.objects("snapshots") + archive.objects("marks")) - set(archive.objects("parity"))):
                archive.bad(f"{name}: it has no parity")

    def pack(self, name):
        archive = self.archive
        with open(archive.path("packs", name), "rb") as file:
            if not archive.is_whole(file, name):
                archive.bad(f"packs/{name}: damaged: its bytes are not those of its name")
            try:
                rows = self.rows[name] = archive.directory_of(file)
            except Newer:
                raise
            except Refused as error:
                archive.bad(f"packs/{name}: {error}")
                rows = list(archive.frames_of(file, name))
            for kind, chunk, at, plain in rows:
                self.counts["chunks"] += 1
                try:
                    if len(archive.read_frame(file, at, kind, chunk)) != plain:
                        raise Refused("the directory gives another length")
                    self.good[kind, chunk] = plain
                except Unsupported:
                    self.counts["chunks of codec 2, not decoded"] += 1
                    self.good[kind, chunk] = plain
                except Refused as error:
                    archive.bad(f"packs/{name}, frame at {at}, chunk {chunk.hex()}: {error}")

    def segment(self, name):
        for pack, _, rows in parse_segment(self.archive.read_object("segments", name)):
            if self.rows.get(pack, rows) != rows:
                self.archive.bad(f"segments/{name}: it says something else of pack {pack} than its directory")

    def snapshot(self, name):
        snapshot = parse_snapshot(self.archive.read_object("snapshots", name))
        self.directory(snapshot[8], f"snapshots/{name}".encode())

    def mark(self, name):
        parse_mark(self.archive.read_object("marks", name))

    def directory(self, page, where):
        """Checks each directory once; returns how many files and bytes are below."""
        if page not in self.totals:
            files = size = 0
            self.counts["directories"] += 1
            for entries in self.archive.directory(page, where):
                for entry in entries:
                    path = where + b"/" + entry[1]
                    if entry[2] == 1:
                        try:
                            below = self.directory(entry[20], path)
                        except Refused as error:
                            self.archive.bad(f"{show(path)}: {error}")
                            continue
                        if below != (entry[21], entry[22]):
                            self.archive.bad(f"{show(path)}: the directory counts {entry[21]} files, {entry[22]} bytes; there are {below}")
                    else:
                        below = (1, entry.get(14, 0))
                    if entry[2] == 0:
                        self.file(entry, path)
                    files, size = files + below[0], size + below[1]
            self.totals[page] = files, size
        return self.totals[page]

    def file(self, entry, path):
        self.counts["files"] += 1
        try:
            rows = list(self.archive.chunks_of(entry))
        except Refused as error:
            self.archive.bad(f"{show(path)}: {error}")
            return
        for chunk, length in rows:
            if self.good.get((DATA, chunk)) != length:
                self.archive.bad(f"{show(path)}: chunk {chunk.hex()} of {length} bytes is not there or not whole")
        if len(rows) == 1 and rows[0][0] != entry[15] or not rows and entry[15] != digest(b""):
            self.archive.bad(f"{show(path)}: its hash is not that of its chunk")

    def bytes_of(self, folder, name):
        with open(self.archive.path(folder, name), "rb") as file:
            return file.read()

    def parity(self, name):
        """Both heads, and the sums of the shards (§9)."""
        data = self.bytes_of("parity", name)
        h = int.from_bytes(data[-4:], "little")
        if len(data) < 64 or h < 76 or 2 * h + 4 > len(data) or data[:h] != data[-4 - h:-4] or digest(data[:h - 16])[:16] != data[h - 16:h]:
            raise Refused("its head is damaged")
        magic, version, length, s, d, p = struct.unpack_from("<6sHQIII", data)
        if magic != b"PARITY" or version != 1:
            raise Newer(f"parity version {version}")
        if not (s and s % 64 == 0 and 1 <= d <= 32768 and 1 <= p <= 32768 and d == max(1, -(-length // s))
                and s < max(length, 1) + 64 and h == 44 + 16 * (d + p) and len(data) == 2 * h + p * s + 4):
            raise Refused("its numbers do not fit each other")
        shards = [data[h + i * s:h + i * s + s] for i in range(p)]
        folder = next((f for f in ("packs", "snapshots", "marks") if os.path.exists(self.archive.path(f, name))), None)
        if not folder:
            self.archive.bad(f"parity/{name}: there is no object that it is of")
        if folder:
            whole = self.bytes_of(folder, name)
            if len(whole) != length:
                raise Refused("it is for an object of another length")
            shards = [whole[i * s:i * s + s].ljust(s, b"\0") for i in range(d)] + shards
        sums = data[28 if folder else 28 + 16 * d:h - 16]
        wrong = [i for i, shard in enumerate(shards) if digest(shard)[:16] != sums[16 * i:16 * i + 16]]
        if wrong:
            raise Refused(f"{len(wrong)} shards do not fit their sums, the first is {wrong[0]}")


# ---- Self-test and command line -----------------------------------------------------------------------------------------------

BLAKE3_VECTORS = (  # length of the input (0, 1, … 250, 0, 1, …), hash, derived key
    (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262", "2cc39783c223154fea8dfb7c1b1660f2ac2dcbd1c1de8277b0b0dd39b7e50d7d"),
    (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213", "b3e2e340a117a499c6cf2398a19ee0d29cca2bb7404c73063382693bf66cb06c"),
    (64, "4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98", "a5c4a7053fa86b64746d4bb688d06ad1f02a18fce9afd3e818fefaa7126bf73e"),
    (65, "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee", "51fd05c3c1cfbc8ed67d139ad76f5cf8236cd2acd26627a30c104dfd9d3ff8a8"),
    (1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11", "74a16c1c3d44368a86e1ca6df64be6a2f64cce8f09220787450722d85725dea5"),
    (1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7", "7356cd7720d5b66b6d0697eb3177d9f8d73a4a5c5e968896eb6a689684302706"),
    (1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444", "effaa245f065fbf82ac186839a249707c3bddf6d3fdda22d1b95a3c970379bcb"),
    (2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a", "7b2945cb4fef70885cc5d78a87bf6f6207dd901ff239201351ffac04e1088a23"),
    (2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030", "2ea477c5515cc3dd606512ee72bb3e0e758cfae7232826f35fb98ca1bcbdf273"),
    (102400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085", "4652cff7a3f385a6103b5c260fc1593e13c778dbe608efb092fe7ee69df6e9c6"),)
EMPTY_PAGE, LIST_PAGE = "820080", "820058245e8bbae7e88e4ae1d5e34720d270c86b3d584c0334cdc6d7153932202682891305000000"
TREE_PAGE = ("820081ad0145612e6a70670200031901a4041903e80518640601071a1dcd65000801091a1dcd65000a070e050f58205e8bbae7e88e4ae1d5e34720"
             "d270c86b3d584c0334cdc6d715393220268289131058245e8bbae7e88e4ae1d5e34720d270c86b3d584c0334cdc6d7153932202682891305000000")
FRAME = "f566726d0000000005000000050000005e8bbae7e88e4ae1d5e34720d270c86b3d584c0334cdc6d71539322026828913036d5f43"
HEADER_BYTES = ("8941524b0d0a1a0a0100000000000000000102030405060708090a0b0c0d0e0f00f153650000000001001e0000000400000010000000400000000002"
                "00000000a53c373ab00a01ec07ceff19934cfd93b08ed78cad8e0c3e5b9fa540543d34e5")
BAD_CBOR = ("1800", "1900ff", "1a0000ffff", "1b00000000ffffffff", "5800", "9f00ff", "5f4100ff", "a2010101 02", "a202000100", "a1410000",
            "f4", "f6", "f97c00", "c000", "0000", "6180", "41", "8201", "fb0000000000000000", "ff", "", "9b7fffffffffffffff")


def self_test():
    for length, plain, derived in BLAKE3_VECTORS:
        data = bytes(i % 251 for i in range(length))
        assert PureBlake3(data).digest().hex() == plain, length
        assert PureBlake3(data, derive_key_context="BLAKE3 2019-12-27 16:29:52 test vectors context").digest().hex() == derived, length
    photo = "5e8bbae7e88e4ae1d5e34720d270c86b3d584c0334cdc6d71539322026828913"
    assert digest(b"photo").hex() == photo
    assert digest(bytes.fromhex(EMPTY_PAGE), CONTEXTS[TREE]).hex() == "058c4812dbdb0808189ffe4e429288e075f660b9cd57b3482cc58df04a6caccd"
    assert digest(bytes.fromhex(LIST_PAGE), CONTEXTS[LIST]).hex() == "c92d708cd29d0cfa6a97e2501a17d4d5212e03bfa57f7af8837f037bb2fa85d6"
    assert parse_list_page(bytes.fromhex(LIST_PAGE), 5) == (0, [(bytes.fromhex(photo), 5)])
    entry = parse_tree_page(bytes.fromhex(TREE_PAGE))[1][0]
    assert entry[1] == b"a.jpg" and entry[4] == 1000 and nanoseconds(entry) == 1500000000 and entry[10] == 7
    assert parse_frame_header(bytes.fromhex(FRAME)) == (0, 0, 0, 5, 5, bytes.fromhex(photo))
    assert parse_header(bytes.fromhex(HEADER_BYTES)) == (0, 30)
    header = bytearray(bytes.fromhex(HEADER_BYTES) * 8)
    for number in range(8):  # a wrong bit in each block
        header[96 * number + 11 * number] ^= 1 << number
    assert salvage_header([bytes(header)]) == ((0, 30), bytes.fromhex(HEADER_BYTES))
    for text in BAD_CBOR:
        try:
            parse_cbor(bytes.fromhex(text))
        except Refused:
            continue
        raise AssertionError(f"CBOR {text} was taken")
    print("self-test: all is well")


def list_snapshots(archive):
    for name, snapshot in archive.snapshots():
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(snapshot[2] + 60 * snapshot[4]))
        ahead = f"{'-' if snapshot[4] < 0 else '+'}{abs(snapshot[4]) // 60:02}:{abs(snapshot[4]) % 60:02}"
        print(f"{name}  {snapshot[1]:6}  {when} {ahead}  {show(snapshot[5])}  {snapshot[14][0]} files")


def restore(archive, wanted, target):
    found = archive.snapshots()
    found = found[-1:] if wanted == "latest" else [pair for pair in found if pair[0].startswith(wanted)]
    if len(found) != 1:
        raise Refused(f"{len(found) or 'no'} whole snapshots fit {wanted!r}")
    result = Restore(archive, found[0][1], target)
    files, folders, links, hard = result.done
    print(f"restored {files} files ({hard} as hard links), {folders} directories, {links} symbolic links of {found[0][0]}")
    if result.unsupported:
        print(f"codec 2 is not supported by this reader: {result.unsupported} files were not restored")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?")
    parser.add_argument("command", nargs="?", choices=("list", "restore", "verify"))
    parser.add_argument("words", nargs="*", metavar="ID-PREFIX TARGET")
    parser.add_argument("--no-segments", action="store_true")
    parser.add_argument("--frames", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    given = parser.parse_intermixed_args()
    if given.self_test:
        return self_test()
    if not given.command or len(given.words) != (2 if given.command == "restore" else 0):
        parser.error("say what to do: ARCHIVE list, ARCHIVE restore ID-PREFIX TARGET, or ARCHIVE verify")
    try:
        archive = Archive(given.archive, 2 if given.frames else 1 if given.no_segments else 0)
        if given.command == "list":
            list_snapshots(archive)
        elif given.command == "restore":
            restore(archive, *given.words)
        else:
            for what, count in Verify(archive).counts.items():
                print(f"{count:10} {what}")
    except (Refused, TooMany, OSError) as error:
        print(f"read_archive: {error}", file=sys.stderr)
        return 2
    if archive.problems:
        print(f"read_archive: {archive.problems} problems", file=sys.stderr)
    return 1 if archive.problems else 0


def deeply():
    """Runs main where directories may be nested as deep as the format allows."""
    status = []
    sys.setrecursionlimit(12 * MAX_DEPTH)
    threading.stack_size(1 << 29)
    worker = threading.Thread(target=lambda: status.append(main()), daemon=True)
    worker.start()
    worker.join()
    return status[0] if status else 2


if __name__ == "__main__":
    sys.exit(deeply())
