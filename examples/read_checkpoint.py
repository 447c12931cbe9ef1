"""Restores a checkpoint's allocations into files, by docs/formats/store.md alone: python3 read_checkpoint.py STORE ID FOLDER"""
import json, pathlib, struct, sys
M32, M64 = 2**32 - 1, 2**64 - 1
def key(j):
    z = (0x6763722d68617368 + (j // 2 + 1) * 0x9e3779b97f4a7c15) & M64
    z = ((z ^ z >> 30) * 0xbf58476d1ce4e5b9) & M64; z = ((z ^ z >> 27) * 0x94d049bb133111eb) & M64
    return (z ^ z >> 31) >> 32 * (j % 2) & M32
KEYS = [key(j) for j in range(780)]
def nh(words, keys):  # NH over pairs of words
    return sum((a + k & M32) * (b + l & M32) for a, b, k, l in zip(words[::2], words[1::2], keys[::2], keys[1::2])) & M64
def rot(x, n): return (x << n | x >> 64 - n) & M64
def sip(a, b, c, d, rounds):
    for _ in range(rounds):
        a = (a + b) & M64; b = rot(b, 13) ^ a; a = rot(a, 32); c = (c + d) & M64; d = rot(d, 16) ^ c
        a = (a + d) & M64; d = rot(d, 21) ^ a; c = (c + b) & M64; b = rot(b, 17) ^ c; c = rot(c, 32)
    return a, b, c, d
def chunk_hash(data):
    rows = max(1, -(-len(data) // 1024)); words = struct.unpack(f"<{rows * 256}I", data.ljust(rows * 1024, b"\0"))
    lanes = [[w for row in range(0, rows * 256, 256) for w in words[row + lane:row + lane + 4]] for lane in range(0, 256, 4)]
    message = [half for lane in lanes for p in (0, 2, 4, 6) for a in [nh(lane, KEYS[p:262])] for half in (a & M32, a >> 32)]
    a, b, c, d = (nh(message, KEYS[262 + p:]) for p in (0, 2, 4, 6))
    a, b, c, d = sip(a, b, c, d ^ len(data), 2); a, b, c, d = sip(a ^ len(data), b, c ^ 0xee, d, 4)
    low, (a, b, c, d) = a ^ b ^ c ^ d, sip(a, b ^ 0xdd, c, d, 4)
    return struct.pack("<QQ", low or not a ^ b ^ c ^ d, a ^ b ^ c ^ d)
def tree_hash(data):
    pages = [chunk_hash(data[i:i + 65536]) for i in range(0, max(1, len(data)), 65536)]
    return pages[0] if len(pages) == 1 else tree_hash(b"".join(pages))
def checked_json(path):
    head, _, tail = path.read_bytes().rpartition(b',"check":')
    assert tail == b'"%s"}\n' % tree_hash(head).hex().encode(), f"{path}: check"
    return json.loads(head + b"}")
def read_map(manifest):
    data = (store / "manifests" / f"{manifest['map']['hash']}.map").read_bytes()
    assert tree_hash(data).hex() == manifest["map"]["hash"], "map: hash"
    count, lists = struct.unpack_from("<12xI", data)[0], {}
    entries = struct.iter_unpack("<II16s", data[64 + 64 * count:][:24 * struct.unpack_from("<Q", data, 16)[0]])
    for at in range(64, 64 + 64 * count, 64):
        ident, _, size, listed, _, complete = struct.unpack_from("<QQQQII", data, at)
        lists[ident] = size, complete, {chunk: name for _, (chunk, _, name) in zip(range(listed), entries)}
    return lists
store, ident, folder = pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
assert checked_json(store / "store.json")["version"] == 1
places = {}  # name -> pack, place, length; the tables of the packs say what the index says
for pack in (store / "packs").glob("*.pack"):
    with open(pack, "rb") as file:
        file.seek(-4096, 2); count, table = struct.unpack("<8xQQ", file.read(24)); file.seek(table)
        places |= {n: (pack, 4096 * block, length) for n, block, length in struct.iter_unpack("<16sII8x", file.read(32 * count))}
manifest, sizes, names, done = checked_json(store / "manifests" / f"{ident}.json"), {}, {}, set()
while manifest:
    lists = read_map(manifest); sizes = sizes or {a: size for a, (size, _, _) in lists.items()}
    for a in sizes.keys() - done:  # newest first: what is known already stays
        names[a] = {**lists[a][2], **names.get(a, {})}; done |= {a} if lists[a][1] else set()
    manifest = checked_json(store / "manifests" / f"{manifest['parent']}.json") if len(done) < len(sizes) else None
for a, size in sizes.items():
    with open(folder / f"{a}.bin", "wb") as out:
        out.truncate(size)
        for chunk, name in ((c, n) for c, n in names[a].items() if any(n)):
            pack, place, length = places[name]; file = open(pack, "rb"); file.seek(place); content = file.read(length); file.close()
            assert chunk_hash(content) == name and length == min(65536, size - 65536 * chunk), f"{pack}: {name.hex()}"
            out.seek(65536 * chunk); out.write(content)
