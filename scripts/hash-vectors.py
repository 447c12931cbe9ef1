#!/usr/bin/env python3
"""Writes fixtures/hash/vectors.json: chunk hashes and tree hashes by an implementation of their own, made from
docs/formats/chunk-hash.md alone and for being read, not for speed. The C++ tests and the TypeScript tests hold the real one against them.

Contents are described, not stored: `pattern` says how `length` bytes come about (see `content`)."""
import json
import os
import struct

MASK32 = 0xFFFFFFFF
MASK64 = 0xFFFFFFFFFFFFFFFF


def key_words():
    state, words = 0x6763722D68617368, []
    while len(words) < 780:
        state = (state + 0x9E3779B97F4A7C15) & MASK64
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        z ^= z >> 31
        words += [z & MASK32, z >> 32]
    return words


WORDS = key_words()
K1, K2 = WORDS[:262], WORDS[262:]


def rotate(value, bits):
    return ((value << bits) | (value >> (64 - bits))) & MASK64


def sip_round(v):
    v[0] = (v[0] + v[1]) & MASK64
    v[1] = rotate(v[1], 13) ^ v[0]
    v[0] = rotate(v[0], 32)
    v[2] = (v[2] + v[3]) & MASK64
    v[3] = rotate(v[3], 16) ^ v[2]
    v[0] = (v[0] + v[3]) & MASK64
    v[3] = rotate(v[3], 21) ^ v[0]
    v[2] = (v[2] + v[1]) & MASK64
    v[1] = rotate(v[1], 17) ^ v[2]
    v[2] = rotate(v[2], 32)


def chunk_hash(data):
    rows = max(1, -(-len(data) // 1024))
    padded = data + bytes(rows * 1024 - len(data))
    message = [0] * 512
    for lane in range(64):
        for p in range(4):
            total = 0
            for r in range(rows):
                w = struct.unpack_from('<4I', padded, 1024 * r + 16 * lane)
                for h in (0, 1):
                    left = (w[2 * h] + K1[4 * r + 2 * h + 2 * p]) & MASK32
                    right = (w[2 * h + 1] + K1[4 * r + 2 * h + 1 + 2 * p]) & MASK32
                    total += left * right
            total &= MASK64
            message[8 * lane + 2 * p] = total & MASK32
            message[8 * lane + 2 * p + 1] = total >> 32
    v = []
    for p in range(4):
        total = 0
        for i in range(256):
            left = (message[2 * i] + K2[2 * i + 2 * p]) & MASK32
            right = (message[2 * i + 1] + K2[2 * i + 1 + 2 * p]) & MASK32
            total += left * right
        v.append(total & MASK64)
    v[3] ^= len(data)
    for _ in range(2):
        sip_round(v)
    v[0] ^= len(data)
    v[2] ^= 0xEE
    for _ in range(4):
        sip_round(v)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    for _ in range(4):
        sip_round(v)
    digest = bytearray(struct.pack('<2Q', low, v[0] ^ v[1] ^ v[2] ^ v[3]))
    if not any(digest):
        digest[0] = 1
    return bytes(digest)


def tree_hash(data):
    while len(data) > 65536:
        data = b''.join(chunk_hash(data[i:i + 65536]) for i in range(0, len(data), 65536))
    return chunk_hash(data)


def content(pattern, length):
    """zero: zero bytes. ones: 0xff. counter: byte i is i mod 256. lcg: byte i is the top byte of a 32-bit state, which starts as `length`
    and becomes state * 1664525 + 1013904223 before each byte. last: zero but for a last byte of 0x80."""
    if pattern == 'zero':
        return bytes(length)
    if pattern == 'ones':
        return b'\xff' * length
    if pattern == 'counter':
        return bytes(i & 255 for i in range(length))
    if pattern == 'last':
        return bytes(length - 1) + b'\x80'
    state, out = length & MASK32, bytearray()
    for _ in range(length):
        state = (state * 1664525 + 1013904223) & MASK32
        out.append(state >> 24)
    return bytes(out)


def main():
    chunks = [('zero', n) for n in (0, 1, 16, 1024, 4095, 65535, 65536)]
    chunks += [(p, n) for p in ('ones', 'counter', 'lcg', 'last')
               for n in (1, 3, 4, 15, 16, 17, 1023, 1024, 1025, 4095, 4096, 20000, 65535, 65536)]
    trees = [('counter', 65537), ('lcg', 131072), ('lcg', 131073), ('zero', 200000)]
    vectors = {
        'chunk': [{'pattern': p, 'length': n, 'hash': chunk_hash(content(p, n)).hex()} for p, n in chunks],
        'tree': [{'pattern': p, 'length': n, 'hash': tree_hash(content(p, n)).hex()} for p, n in trees],
    }
    # Two levels above the pages: 4,097 pages have more than 65,536 bytes of hashes. All pages but the last are equal, which saves the time.
    page, last = chunk_hash(bytes(65536)), chunk_hash(b'\x00\x80')
    vectors['tree'].append({'pattern': 'last', 'length': 4096 * 65536 + 2, 'hash': tree_hash(page * 4096 + last).hex()})
    target = os.path.join(os.path.dirname(__file__), '..', 'fixtures', 'hash', 'vectors.json')
    os.makedirs(os.path.dirname(target), exist_ok=True)
    lines = []
    for kind, items in vectors.items():
        body = ',\n'.join('    ' + json.dumps(item) for item in items)
        lines.append(f'  "{kind}": [\n{body}\n  ]')
    with open(target, 'w', encoding='utf-8') as file:
        file.write('{\n' + ',\n'.join(lines) + '\n}\n')


if __name__ == '__main__':
    main()
