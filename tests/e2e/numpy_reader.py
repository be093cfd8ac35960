"""Holds a compact directory against the checkpoint that it was taken from, with numpy and the json
module alone. Run by Debian's python3, whose numpy `./dev setup` installs:

    numpy_reader.py SOURCE COPY    # prints how many tensors are equal; fails at the first that is not

A tensor of the copy is the source's, or rows of it where shard.json says which.
"""

import json
import pathlib
import sys

import numpy

# Formats that numpy does not know are compared by their bits.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
          "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
          "BOOL": "u1", "F8_E4M3": "u1", "F8_E5M2": "u1"}


def arrays(path):
    """{name: array} of a safetensors file, mapped."""
    content = numpy.memmap(path, dtype="u1", mode="r")
    length = int(content[:8].view("<u8")[0])
    header = json.loads(content[8:8 + length].tobytes())
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        found[name] = content[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def main(source, copy):
    originals = {}
    for path in pathlib.Path(source).glob("*.safetensors"):
        originals.update(arrays(path))
    shard = json.loads((pathlib.Path(copy) / "shard.json").read_text())
    rows = {part["tensor"]: slice(*part["rows"]) for part in shard["slices"]}
    [index] = pathlib.Path(copy).glob("*.safetensors.index.json")
    weights = json.loads(index.read_text())["weight_map"]
    files = {file: arrays(pathlib.Path(copy) / file) for file in set(weights.values())}
    assert sum(len(tensors) for tensors in files.values()) == len(weights) == shard["tensors"]
    for name, file in weights.items():
        expected = originals[name][rows[name]] if name in rows else originals[name]
        found = files[file][name]
        assert found.dtype == expected.dtype and found.shape == expected.shape, name
        # By bytes: a NaN is not equal to itself.
        assert found.tobytes() == expected.tobytes(), name
        assert found.ctypes.data % found.dtype.itemsize == 0, f"{name} is not aligned"
    print(len(weights))


if __name__ == "__main__":
    main(*sys.argv[1:])
