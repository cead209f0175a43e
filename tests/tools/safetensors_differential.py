#!/usr/bin/env python3
"""Mutated safetensors files, asked of this library and of the format's own implementation (the Python package
safetensors). What the library accepts, the other must accept, with the same names, types, shapes, bytes and metadata.
What it refuses although the other accepts must be refused for one of the reasons in STRICTER.

Usage: safetensors_differential.py VIEWS [--count N] [--seed N]
VIEWS is the program made of tests/tools/safetensors_views.cpp. Ends with 1 and shows the file if they disagree.
"""
import argparse
import collections
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import types

# Reasons for which the library alone refuses a file: what is ambiguous, useless or beyond its limits.
STRICTER = {
    "duplicate_key": "a name or field stands twice, and readers differ in which one counts",
    "field_unknown": "a tensor has another field, whose meaning nobody checked",
    "bad_name": "a name holds a NUL",
    "limit_name": "a name of more than 4,096 bytes",
    "limit_tensors": "more than 65,536 tensors",
    "rank": "more than eight dimensions",
    "metadata": "metadata that is null",
    "json_depth": "an unknown field nested more than eight deep",
    "field_type": "a tensor described by an array of dtype, shape and offsets, in that order",
    "offset_order": "reversed offsets of a tensor that another of the same name hides",
    "overflow": "a shape with a zero whose other sizes multiply beyond 64 bits",
}

BITS = dict(BOOL=8, F4=4, F6_E2M3=6, F6_E3M2=6, U8=8, I8=8, F8_E5M2=8, F8_E4M3=8, F8_E8M0=8, F8_E4M3FNUZ=8,
            F8_E5M2FNUZ=8, I16=16, U16=16, F16=16, BF16=16, I32=32, U32=32, F32=32, C64=64, F64=64, I64=64, U64=64)
TYPES = sorted(BITS)
ODD_TYPES = ["F33", "f32", "C128", "", "F6", "BF32", "F32 ", "\\u00463" + "2"]
ODD_NUMBERS = ["-1", "-0", "2.0", "2e0", "02", "+2", "0x2", "null", "true", '"2"', "[2]", "{}", "NaN", "1e400", "2.",
               "18446744073709551615", "18446744073709551616", "9223372036854775807", "9223372036854775808",
               "4611686018427387908", "4294967296", "4294967295", "1" * 100, "0", "1", "00", " 2", "2 ", "2\t"]
NAMES = ["weight", "a.b.c", "", " ", "\\u0074", "t", "\\ud83d\\ude00", "\u202egpj", "é", "../x", "__metadata__",
         "__Metadata__", "\\u005f_metadata__", "\\/", "/", "\\\\", "\\\"", "\\n", "n" * 4096, "n" * 4097]
BAD_NAMES = ["\\ud800", "\\udc00\\ud800", "\\u0000", "\0", "\n", "\\x41", "\\", "\x7f", "\ud800", "\\uD83D"]
METADATA = ['{"format":"pt"}', "{}", '{"a":"1","b":"2"}', '{"a":"\\u00e9\\n"}', '{"a":"1","a":"2"}', '{"a":1}',
            '{"a":null}', '{"a":{"b":"c"}}', "null", "[]", '"x"', '{"":""}', '{"a":"1","\\u0061":"2"}',
            '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}', '{"dtype":"F32"}']
BLANKS = [" ", "\t", "\n", "\r\n", "   ", "\v", "\0", "\u00a0", "/**/", ",", "\ufeff"]


class Tensor:
    """Everything as the text that will stand in the header."""

    def __init__(self, name, dtype, shape, begin, end):
        self.name = name
        self.fields = [["dtype", f'"{dtype}"'], ["shape", [str(d) for d in shape]],
                       ["data_offsets", [str(begin), str(end)]]]

    def field(self, name):
        return next((f for f in self.fields if f[0] == name), None)

    def text(self, blank):
        def value(v):
            return v if isinstance(v, str) else "[" + ("," + blank()).join(v) + "]"
        return "{" + ",".join(f'{blank()}"{k}":{blank()}{value(v)}' for k, v in self.fields) + blank() + "}"


class File:
    def __init__(self, rng):
        self.rng = rng
        self.tensors, self.metadata, at = [], [], 0
        for i in range(rng.choice([0, 1, 1, 2, 2, 3, 4, 6])):
            dtype = rng.choice(TYPES) if rng.random() < 0.6 else "F32"
            shape = [rng.choice([0, 1, 1, 2, 2, 3, 4, 8]) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 8, 9]))]
            bits = BITS[dtype]
            for d in shape:
                bits *= d
            while bits % 8 and rng.random() < 0.8:
                shape.append(4)
                bits *= 4
            if bits > 8 * 4096:
                shape, bits = [1], BITS[dtype]
            name = rng.choice(NAMES) if rng.random() < 0.2 else "abcdef"[i]
            self.tensors.append(Tensor(name, dtype, shape, at, at + bits // 8))
            at += bits // 8
        if rng.random() < 0.4:
            self.metadata.append(("__metadata__", rng.choice(METADATA[:4])))
        self.data = rng.randbytes(at)
        self.blanks = []
        self.members = []  # texts that stand among the tensors as they are
        self.wrap = ["", ""]
        self.length_error = 0
        self.done = []

    # -- mutations: each changes one thing

    def any_field(self, name):
        with_field = [t for t in self.tensors if t.field(name)]
        return self.rng.choice(with_field).field(name)[1] if with_field else None

    def offsets(self):
        offsets = self.any_field("data_offsets")
        if not isinstance(offsets, list) or not all(o.isdigit() for o in offsets[:2]) or len(offsets) < 2:
            return
        delta = self.rng.choice([-16, -8, -4, -2, -1, 1, 2, 4, 8, 16, 1 << 32, (1 << 64) - 16, 1 << 63])
        for i in self.rng.choice([[0], [1], [0, 1]]):
            offsets[i] = str(int(offsets[i]) + delta)

    def swap_offsets(self):
        a, b = self.any_field("data_offsets"), self.any_field("data_offsets")
        if isinstance(a, list) and isinstance(b, list):
            a[:], b[:] = list(b), list(a)

    def reverse_offsets(self):
        offsets = self.any_field("data_offsets")
        if isinstance(offsets, list):
            offsets.reverse()

    def shape(self):
        shape = self.any_field("shape")
        if isinstance(shape, list):
            kind = self.rng.randrange(5)
            at = self.rng.randrange(len(shape) + 1)
            if kind == 0:
                shape.insert(at, "1")
            elif kind == 1:
                shape.insert(at, self.rng.choice(["0", "2", "18446744073709551615", "4294967296"]))
            elif kind == 2 and at < len(shape):
                del shape[at]
            elif kind == 3 and at < len(shape):
                shape[at] = self.rng.choice(["0", "1", "2", "3", "4", "6", "8", "16", "18446744073709551615"])
            else:
                self.rng.shuffle(shape)

    def number(self):
        numbers = self.any_field(self.rng.choice(["shape", "data_offsets"]))
        if isinstance(numbers, list) and numbers:
            numbers[self.rng.randrange(len(numbers))] = self.rng.choice(ODD_NUMBERS)

    def count_of_numbers(self):
        numbers = self.any_field(self.rng.choice(["shape", "data_offsets"]))
        if isinstance(numbers, list):
            if self.rng.random() < 0.5 and numbers:
                numbers.pop()
            else:
                numbers.append(self.rng.choice(["0", "1", "16"]))

    def dtype(self):
        if self.tensors:
            field = self.rng.choice(self.tensors).field("dtype")
            if field:
                field[1] = f'"{self.rng.choice(TYPES if self.rng.random() < 0.6 else ODD_TYPES)}"'

    def value(self):
        if self.tensors:
            self.rng.choice(self.rng.choice(self.tensors).fields or [["", ""]])[1] = self.rng.choice(
                ["null", "1", '"x"', "[]", "{}", "true", '["F32"]', "[[1]]", "[null]"])

    def drop_field(self):
        if self.tensors:
            fields = self.rng.choice(self.tensors).fields
            if fields:
                fields.pop(self.rng.randrange(len(fields)))

    def repeat_field(self):
        if self.tensors:
            fields = self.rng.choice(self.tensors).fields
            if fields:
                again = list(self.rng.choice(fields))
                if self.rng.random() < 0.3 and again[0].isalpha():
                    again[0] = "\\u00%02x" % ord(again[0][0]) + again[0][1:]
                fields.insert(self.rng.randrange(len(fields) + 1), again)

    def extra_field(self):
        if self.tensors:
            self.rng.choice(self.tensors).fields.append(
                self.rng.choice([["x", "1"], ["", "null"], ["Shape", "[]"], ["deep", "[" * 9 + "]" * 9]]))

    def field_order(self):
        for t in self.tensors:
            self.rng.shuffle(t.fields)

    def tensor_order(self):
        self.rng.shuffle(self.tensors)

    def repeat_tensor(self):
        if self.tensors:
            t = self.rng.choice(self.tensors)
            name = t.name
            if self.rng.random() < 0.4 and name and name[0].isalpha():
                name = "\\u%04x" % ord(name[0]) + name[1:]
            other = self.rng.choice(self.tensors).text(lambda: "")
            self.members.append(f'"{name}":{other}')

    def rename(self):
        if self.tensors:
            self.rng.choice(self.tensors).name = self.rng.choice(NAMES if self.rng.random() < 0.5 else BAD_NAMES)

    def metadata_of_any_kind(self):
        name = self.rng.choice(["__metadata__"] * 4 + ["\\u005f_metadata__", "__metadata"])
        self.metadata.append((name, self.rng.choice(METADATA)))

    def empty_tensor(self):
        at = self.rng.choice([0, len(self.data), self.rng.randrange(len(self.data) + 2)])
        self.tensors.insert(self.rng.randrange(len(self.tensors) + 1),
                            Tensor("z", self.rng.choice(TYPES), self.rng.choice([[0], [0, 3], [5, 0]]), at, at))

    def blank(self):
        self.blanks.append(self.rng.choice(BLANKS[:5] if self.rng.random() < 0.7 else BLANKS))

    def around(self):
        self.wrap[self.rng.randrange(2)] += self.rng.choice(BLANKS + ["x", "{}", "}", "{", "        "])

    def length(self):
        self.length_error += self.rng.choice([-9, -8, -2, -1, 1, 2, 8, 9, 100000, 1 << 27, 1 << 32, 1 << 63])

    def cut_data(self):
        self.data = self.data[:-self.rng.choice([1, 2, 4, 8, 16])]

    def more_data(self):
        self.data += self.rng.choice([b"\0", b"\0" * 8, b"PK\5\6" + b"\0" * 18])

    def mutate(self):
        kinds = [f for f in (self.offsets, self.swap_offsets, self.reverse_offsets, self.shape, self.number,
                             self.count_of_numbers, self.dtype, self.value, self.drop_field, self.repeat_field,
                             self.extra_field, self.field_order, self.tensor_order, self.repeat_tensor, self.rename,
                             self.metadata_of_any_kind, self.empty_tensor, self.blank, self.around, self.length,
                             self.cut_data, self.more_data)]
        for _ in range(self.rng.choice([0, 1, 1, 1, 1, 2, 2, 3])):
            kind = self.rng.choice(kinds)
            kind()
            self.done.append(kind.__name__)

    def bytes(self):
        def blank():
            return self.rng.choice(self.blanks) if self.blanks and self.rng.random() < 0.3 else ""
        members = [f'{blank()}"{t.name}"{blank()}:{blank()}{t.text(blank)}' for t in self.tensors] + self.members
        for name, value in self.metadata:
            members.insert(self.rng.choice([0, len(members)]), f'"{name}":{value}')
        header = (self.wrap[0] + "{" + ",".join(members) + blank() + "}" + self.wrap[1]).encode("utf-8", "surrogatepass")
        if self.rng.random() < 0.3:
            header += b" " * (-len(header) % 8)
        return struct.pack("<Q", (len(header) + self.length_error) % (1 << 64)) + header + self.data


def flip(rng, file):
    """One to three bytes of a file's header changed, inserted, deleted or repeated."""
    file = bytearray(file)
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(min(len(file), 512) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(file):
            file[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(file):
            file[at] = rng.choice(b'0123456789{}[]",:\\ \0\x7f\xff')
        elif kind == 2:
            file.insert(at, rng.choice(b'0123456789{}[]",:\\ \0\x80'))
        elif kind == 3 and at < len(file):
            del file[at]
        else:
            piece = file[at:at + rng.randrange(1, 40)]
            file[at:at] = piece
    if rng.random() < 0.7 and len(file) > 8:  # the length made right again
        end = file.rfind(b"}") + 1
        file[:8] = struct.pack("<Q", max(end - 8, 0))
    return bytes(file)


def mutants(count, seed, corpus):
    """(what was done, bytes), the same for the same seed."""
    rng = random.Random(seed)
    small = [c for c in corpus if len(c[1]) <= 4096]
    for name, content in corpus:
        yield name, content
    for i in range(count - len(corpus)):
        if i % 4 == 3:
            name, content = rng.choice(small)
            yield "bytes of " + name, flip(rng, content)
        else:
            made = File(rng)
            made.mutate()
            yield "+".join(made.done) or "nothing", made.bytes()


def make_corpus():
    tool = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/corpora/safetensors_corpus_gen.py")
    with tempfile.TemporaryDirectory() as folder:
        with open(tool) as text:
            code = compile(text.read(), tool, "exec")
        arguments, output = sys.argv, sys.stdout
        sys.argv, sys.stdout = [tool, folder], open(os.devnull, "w")
        exec(code, {"__name__": "__main__"})
        sys.argv, sys.stdout = arguments, output
        files = []
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                files.append((name, file.read()))
        return files


class Theirs:
    def __init__(self, scratch):
        # safe_open wants numpy only for the tensors that are asked of it; here only metadata is.
        sys.modules.setdefault("numpy", types.ModuleType("numpy"))
        import safetensors
        self.module = safetensors
        self.path = os.path.join(scratch, "file.safetensors")

    def views(self, content):
        """{name: (type, shape, bytes)}, or None if it is refused."""
        try:
            tensors = self.module.deserialize(content)
        except BaseException as e:  # a panic of Rust is no Exception
            if isinstance(e, KeyboardInterrupt):
                raise
            return None
        return {name: (t["dtype"], t["shape"], t["data"]) for name, t in tensors}

    def metadata(self, content):
        with open(self.path, "wb") as file:
            file.write(content)
        with self.module.safe_open(self.path, framework="np") as opened:
            return opened.metadata() or {}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("views")
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    files = list(mutants(options.count, options.seed, make_corpus()))
    with tempfile.TemporaryFile() as stream:
        for _, content in files:
            stream.write(struct.pack("<Q", len(content)) + content)
        stream.seek(0)
        answers = subprocess.run([options.views], stdin=stream, stdout=subprocess.PIPE, check=True).stdout.splitlines()
    assert len(answers) == len(files), "one answer for each file"

    both = theirs_only = neither = 0
    wrong, stricter = [], collections.Counter()
    with tempfile.TemporaryDirectory() as scratch:
        theirs = Theirs(scratch)
        for (what, content), answer in zip(files, answers):
            verdict, _, words = answer.partition(b" ")
            views = theirs.views(content)
            if verdict == b"refused":
                code = words.decode()
                if views is None:
                    neither += 1
                else:
                    theirs_only += 1
                    stricter[code] += 1
                    if code not in STRICTER:
                        wrong.append((f"refused as {code}, accepted by the other", what, content))
                continue
            if views is None:
                wrong.append(("accepted, refused by the other", what, content))
                continue
            both += 1
            ours = json.loads(words)
            seen = {name: (dtype, shape, content[begin:end]) for name, dtype, shape, begin, end in ours["tensors"]}
            if seen != views or len(seen) != len(ours["tensors"]):
                wrong.append(("other tensors", what, content))
            elif b"metadata" in content and ours["metadata"] != theirs.metadata(content):
                wrong.append(("other metadata", what, content))

    print(f"{len(files)} files, seed {options.seed}: {both} accepted by both, {neither} refused by both, "
          f"{theirs_only} refused here alone:")
    for code, times in stricter.most_common():
        print(f"  {times:6} {code}: {STRICTER.get(code, 'NOT EXPECTED')}")
    for why, what, content in wrong[:10]:
        print(f"WRONG: {why}; {what}: {content[:400]!r}")
    print(f"{len(wrong)} disagreements")
    # Were there enough of both kinds to say anything?
    return 1 if wrong or both < options.count // 20 or neither < options.count // 20 else 0


if __name__ == "__main__":
    sys.exit(main())
