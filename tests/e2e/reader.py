"""A reader of shards of our own: json and bytes, none of the project's code. What it finds in a
directory is held against the rows of the checkpoint that it was taken from."""

import json
import pathlib
import struct

ALIGNED = 4096
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "I16": 16, "U16": 16, "F16": 16,
        "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64}
INDEX = ".safetensors.index.json"


class Tensor:
    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, shape, data

    def rows(self, begin, end):
        each = len(self.data) // self.shape[0]
        return Tensor(self.dtype, [end - begin, *self.shape[1:]], self.data[begin * each:end * each])

    def __eq__(self, other):
        return isinstance(other, Tensor) and (self.dtype, self.shape, self.data) == (
            other.dtype, other.shape, other.data)

    def __repr__(self):
        return f"{self.dtype} {self.shape}"


def read_file(path):
    """{name: Tensor} of a safetensors file, in the order of its bytes; the offset of the data."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    found, at = {}, 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        elements = 1
        for dim in entry["shape"]:
            elements *= dim
        if begin != at or (end - begin) * 8 != elements * BITS[entry["dtype"]]:
            raise AssertionError(f"{path}: {name} lies at {begin}-{end}, not after {at}")
        at = end
        found[name] = Tensor(entry["dtype"], entry["shape"], content[8 + length + begin:8 + length + end])
    if 8 + length + at != len(content):
        raise AssertionError(f"{path}: {len(content)} bytes, its header says {8 + length + at}")
    return found, 8 + length


def weight_files(directory):
    directory = pathlib.Path(directory)
    return [path for path in sorted(directory.rglob("*.safetensors"))
            if not any(part.startswith(".") for part in path.relative_to(directory).parts)]


def read_model(directory, but=()):
    """{folder and name: Tensor} of all safetensors files but these."""
    found = {}
    for path in weight_files(directory):
        if path.name in but:
            continue
        folder = path.relative_to(directory).parent.as_posix()
        for name, tensor in read_file(path)[0].items():
            found[name if folder == "." else f"{folder}/{name}"] = tensor
    return found


def plain_files(directory, but=(".pth",)):
    """{relative path: bytes} of what is neither weights, nor an index, nor ours."""
    directory = pathlib.Path(directory)
    return {path.relative_to(directory).as_posix(): path.read_bytes()
            for path in directory.rglob("*")
            if path.is_file() and path.suffix not in (".safetensors", *but)
            and not path.name.endswith(INDEX) and path.name != "shard.json"
            and not any(part.startswith(".") for part in path.relative_to(directory).parts)}


def wanted_of(model, names, rows=None):
    """{name: Tensor} of these names, some by their rows only ({name: (begin, end)})."""
    rows = rows or {}
    return {name: tensor.rows(*rows[name]) if name in rows else tensor
            for name, tensor in model.items() if names(name)}


def check_shard(test, source, copy, wanted, rows=None, but=()):
    """That `copy` is a complete compact shard with exactly these tensors."""
    rows = rows or {}
    shard = json.loads((copy / "shard.json").read_text())
    test.assertTrue(shard["complete"])
    named, indexes = {}, {}
    for path in weight_files(copy):
        held, data = read_file(path)
        relative = path.relative_to(copy)
        test.assertEqual(data % ALIGNED, 0, relative)
        folder = relative.parent.as_posix()
        index = indexes.setdefault(folder, {"bytes": 0, "weights": {}})
        at = 0
        for name, tensor in held.items():
            test.assertEqual(at * 8 % BITS[tensor.dtype], 0, f"{name} is not aligned to its dtype")
            at += len(tensor.data)
            full = name if folder == "." else f"{folder}/{name}"
            test.assertNotIn(full, named)
            named[full] = tensor
            index["weights"][name] = path.name
        index["bytes"] += at
        entry = [file for file in shard["files"] if file["path"] == relative.as_posix()]
        test.assertEqual([file["tensor_bytes"] for file in entry], [at], relative)
    test.assertEqual(set(named), set(wanted))
    for name, tensor in wanted.items():
        test.assertEqual(named[name], tensor, name)
    test.assertEqual(len(shard["files"]), len(weight_files(copy)))
    found = {path.parent.relative_to(copy).as_posix(): json.loads(path.read_text())
             for path in copy.rglob("*" + INDEX) if ".shardswarm" not in path.parts}
    test.assertEqual(found, {folder: {"metadata": {"total_size": index["bytes"]},
                                      "weight_map": index["weights"]}
                             for folder, index in indexes.items()})
    test.assertEqual(shard["tensors"], len(wanted))
    test.assertEqual(shard["tensor_bytes"], sum(len(tensor.data) for tensor in wanted.values()))
    short = {name.split("/")[-1]: list(part) for name, part in rows.items()}
    test.assertEqual({part["tensor"]: part["rows"] for part in shard["slices"]}, short)
    test.assertEqual(plain_files(copy), plain_files(source))
