"""Files that somebody made to hurt whoever reads them, by name. As a program: compares them under watch.

    python hostile_files.py DIRECTORY

prints one line of JSON: the verdict of each, and what happened that must not happen while they were compared.
"""

import bz2
import gzip
import io
import json
import lzma
import pickle
import resource
import struct
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

MEMORY_BYTES = 2 << 30
"""Of addresses: what the libraries that are loaded take, and some hundreds of megabytes."""
ZEROS = b"\0" * (64 << 20)


def pickles(marker):
    touch = f"touch {marker}".encode()
    system = b"\x80\x04cos\nsystem\n(V" + touch + b"\ntR."
    evaluate = b"\x80\x04cbuiltins\neval\n(V__import__('os').system('" + touch + b"')\ntR."
    doubled = b"\x80\x04]\x94(h\x00h\x00l\x94" + b"".join(
        b"(" + b"h%c" % i * 8 + b"l\x94" for i in range(1, 100)
    )
    return {
        "system": system,
        "system_by_stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c"
        + bytes([len(touch)])
        + touch
        + b"\x85R.",
        "eval": evaluate,
        "old_object": b"\x80\x02(V" + touch + b"\nios\nsystem\n.",
        "object_of_marks": b"\x80\x02(cos\nsystem\nV" + touch + b"\no.",
        "new_object": b"\x80\x02csubprocess\nPopen\n(V" + touch + b"\nt\x81.",
        "state": b"\x80\x02cos\nsystem\n)R}V__setstate__\ncos\nsystem\nsb.",
        "name_of_a_list": b"\x80\x04]\x8c\x06system\x93.",
        "dotted_name": b"\x80\x04\x8c\x08builtins\x8c\x12__import__.__self__\x93)R.",
        "aliases_of_aliases": doubled + b".",
        "memo_of_nothing": b"\x80\x04h\x05.",
        "stack_of_nothing": b"\x80\x04" + b"0" * 10 + b".",
        "endless_marks": b"\x80\x04" + b"(" * 1_000_000 + b".",
        "huge_integer": b"\x80\x04\x8b\xff\xff\xff\x7f.",
        "huge_integer_in_text": b"\x80\x02I" + b"9" * 100_000 + b"\n.",
        "negative_length": b"\x80\x04\x8b\xff\xff\xff\xff.",
        "huge_text": b"\x80\x04X\xff\xff\xff\xffa.",
        "huge_bytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa.",
        "huge_frame": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.",
        "huge_memo": b"\x80\x04Nr\xff\xff\xff\xff.",
        "deep_tuples": b"\x80\x04)" + b"\x85" * 1_000_000 + b".",
        "deep_lists": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "itself": b"\x80\x04]\x94h\x00a.",
        "itself_as_key": b"\x80\x04}\x94)h\x00\x86h\x00s.",
        "itself_in_a_set": b"\x80\x04\x8f\x94(h\x00\x85\x90.",
        "list_as_key": b"\x80\x04}]Ns.",
        "key_twice": b"\x80\x04}(NNNNu.",
        "odd_items": b"\x80\x04}(NNNu.",
        "buffers": b"\x80\x05\x97.",
        "dup_of_nothing": b"\x80\x042.",
        "text_with_code": b"\x80\x02S'%s' + __import__('os').system('x')\n." % touch,
        "surrogates": b"\x80\x04\x8c\x03\xed\xa0\x80.",
        "cut_off": system[:-9],
        "huge_array": b"\x80\x04cnumpy._core.numeric\n_frombuffer\n(C\x01acnumpy\ndtype\n(X\x02\0\0\0f8I0\nI1\ntR"
        b"\x8b\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\x0f\x85X\x01\0\0\0CtR.",
        "odd_dtype": b"\x80\x04cnumpy._core.numeric\n_frombuffer\n(C\x01aNNNtR.",
        "endless_pickles": b"\x80\x04N." * 200_000,
    }


def npys():
    def npy(header, data=b""):
        text = header.encode()
        return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text + data

    plain = "{'descr': %s, 'fortran_order': False, 'shape': %s, }"
    return {
        "shape_of_2_60": npy(plain % ("'<f8'", (1 << 60,)), b"a" * 64),
        "shape_that_overflows": npy(plain % ("'<f8'", (1 << 32, 1 << 32)), b""),
        "negative_shape": npy(plain % ("'<f8'", (-1, -8)), b"a" * 64),
        "code_in_the_header": npy("__import__('os').system('x')"),
        "deep_header": npy("(" * 5000),
        "deep_fields": npy(plain % ("[('a', " * 50 + "'<f8'" + ")]" * 50, (1,)), b"a" * 8),
        "field_of_2_60": npy(plain % (f"[('a', '<f8', ({1 << 60},))]", (1,)), b"a" * 8),
        "odd_dtype": npy(plain % ("'<q99'", (1,)), b"a"),
        "objects": npy(plain % ("'|O'", (1,)), b"\x80\x04cos\nsystem\n(Vx\ntR."),
        "long_header": b"\x93NUMPY\x02\0\xff\xff\xff\xff",
    }


def archives():
    def zipped(members, compression=zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return buffer.getvalue()

    def tarred(size):
        info = tarfile.TarInfo("a")
        info.size = size
        return info.tobuf(tarfile.GNU_FORMAT) + b"x" * 512

    bomb = ZEROS
    for _ in range(3):
        bomb = gzip.compress(bomb)
    nested = b"x"
    for _ in range(30):
        nested = zipped({"a.zip": nested})
    lying = bytearray(zipped({"a.npy": npys()["objects"]}, zipfile.ZIP_STORED))
    at = lying.rindex(b"PK\x01\x02")
    lying[at + 20 : at + 28] = b"\xf0\xff\xff\xff" * 2
    long_name = tarfile.TarInfo("x")
    long_name.type, long_name.size = tarfile.XHDTYPE, 1 << 40
    return {
        "zip_bomb.zip": zipped({f"a{i}.pkl": ZEROS for i in range(3)}),
        "nested.zip": nested,
        "lying.zip": bytes(lying),
        "twice.zip": zipped({"a": b"1"}) + zipped({"a": b"2"}),
        "gzip_bomb.gz": bomb,
        "nested.gz": gzip.compress(gzip.compress(gzip.compress(b"x" * 100))),
        "bzip2_bomb.bz2": bz2.compress(ZEROS),
        "lzma_memory.lzma": b"\x5d\0\0\0\xff" + b"\xff" * 8 + b"\0" * 100,
        "xz_bomb.xz": lzma.compress(ZEROS),
        "cut.gz": gzip.compress(b"x" * 1000)[:-9],
        "joblib_bomb.pkl": zlib.compress(ZEROS),
        "huge_member.tar": tarred(1 << 40),
        "negative_member.tar": tarred(-(1 << 40)),
        "long_header.tar": long_name.tobuf(tarfile.PAX_FORMAT) + b"x" * 512,
        "endless_headers.tar": (tarfile.TarInfo("x").tobuf()[:156] + b"x") * 5000,
        "checkpoint.pt": zipped(
            {
                "a/version": b"3",
                "a/data.pkl": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
                b"X\x01\0\0\x000X\x03\0\0\0cpuJ\xff\xff\xff\x7ftQJ\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x85K\x01\x85\x89NtR.",
                "a/data/0": b"abcd",
            }
        ),
    }


def texts():
    laughs = "a: &a [x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20)
    )
    merges = "a: &a {x: 1}\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} {{<<: [{', '.join(['*' + chr(97 + i)] * 9)}]}}\n" for i in range(20)
    )
    header = b'{"w":{"dtype":"F32","shape":[%s],"data_offsets":[%s]}}'

    def tensors(shape, offsets, data=b"abcd"):
        text = header % (shape, offsets)
        return len(text).to_bytes(8, "little") + text + data

    return {
        "laughs.yaml": laughs.encode(),
        "merges.yaml": merges.encode(),
        "objects.yaml": b"a: !!python/object/apply:os.system ['touch x']\n",
        "deep.yaml": b"[" * 100_000,
        "deep.json": b"[" * 1_000_000 + b"]" * 1_000_000,
        "deep_objects.json": b'{"a":' * 900 + b"1" + b"}" * 900,
        "digits.json": b"[" + b"9" * 1_000_000 + b"]",
        "exponent.json": b"[1e999999999]",
        "quotes.csv": b'a,b\n"' + b"x" * 1_000_000,
        "columns.csv": b"," * 1_000_000,
        "nul.csv": b"a\0,b\n",
        "header.safetensors": b"\xff" * 7 + b"\x7f" + b"{" + b" " * 100,
        "shape.safetensors": tensors(b"1152921504606846976", b"0,4"),
        "offsets.safetensors": tensors(b"1", b"-4,0"),
        "beyond.safetensors": tensors(b"1000000", b"0,4000000"),
        "array.ubj": b"{i\x01a[$d#L\x7f" + b"\xff" * 7,
        "count.ubj": b"{i\x01a[#L\x7f" + b"\xff" * 7 + b"Z" * 100,
        "deep.ubj": b"{i\x01a" + b"[" * 100_000,
        "model.txt": b"tree\nversion=v4\nTree=0\nleaf_value=" + b"1e" * 10_000,
    }


def hostile_files(marker):
    """Returns every file by its name."""
    return {
        **{f"{name}.pkl": data for name, data in pickles(marker).items()},
        **{f"{name}.npy": data for name, data in npys().items()},
        **archives(),
        **texts(),
    }


BENIGN = {
    "pkl": pickle.dumps([1]),
    "yaml": b"a: 1\n",
    "csv": b"a,b\n1,2\n",
    "ubj": b"{i\x01aZ}",
    "txt": b"tree\nversion=v4\n",
    "json": b"[1]",
    "npy": npys()["objects"],
    "safetensors": texts()["beyond.safetensors"],
}
"""Another file of the same format."""


FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "subprocess.",
    "socket.",
    "pickle.",
)


def main(folder):
    from mlvc.repro.compare.files import compare_windows  # noqa: PLC0415  # only the program needs it
    from mlvc.repro.compare.numerics import measure  # noqa: F401, PLC0415  # so that nothing is loaded later
    from mlvc.repro.compare.windows import Unpacked, Window  # noqa: PLC0415

    files = hostile_files(folder / "marker")
    happened, verdicts = [], {}

    def watch(event, args):
        if event.startswith(FORBIDDEN) or (
            event == "import" and not str(args[0]).startswith(("mlvc", "numpy", "encodings"))
        ):
            happened.append(f"{event} {args!r}"[:200])

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    sys.addaudithook(watch)
    for name, data in files.items():
        # Against a harmless one of its kind, and against one that holds the same.
        for other in (
            BENIGN.get(name.rpartition(".")[2], data),
            data[:-1] + b"N0." if name.endswith(".pkl") else data + b"\n",
        ):
            if other == data:
                continue
            with Unpacked(folder, most_bytes=256 << 20) as unpacked:
                told = compare_windows(
                    Window.of(io.BytesIO(other)), Window.of(io.BytesIO(data)), unpacked, name=name
                )
            verdicts.setdefault(name, []).append(told.verdict)
    print(json.dumps({"verdicts": verdicts, "happened": happened}))  # noqa: T201  # this is its answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
