#include "piece/safetensors.h"

#include <simdjson.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/text.h"

namespace shardswarm {
namespace {

struct DtypeRow {
  Dtype dtype;
  std::string_view name;
  std::uint32_t bits;
};

constexpr std::array kDtypes = {
    DtypeRow{Dtype::kBool, "BOOL", 8},
    DtypeRow{Dtype::kF4, "F4", 4},
    DtypeRow{Dtype::kF6E2M3, "F6_E2M3", 6},
    DtypeRow{Dtype::kF6E3M2, "F6_E3M2", 6},
    DtypeRow{Dtype::kU8, "U8", 8},
    DtypeRow{Dtype::kI8, "I8", 8},
    DtypeRow{Dtype::kF8E5M2, "F8_E5M2", 8},
    DtypeRow{Dtype::kF8E4M3, "F8_E4M3", 8},
    DtypeRow{Dtype::kF8E8M0, "F8_E8M0", 8},
    DtypeRow{Dtype::kF8E4M3FNUZ, "F8_E4M3FNUZ", 8},
    DtypeRow{Dtype::kF8E5M2FNUZ, "F8_E5M2FNUZ", 8},
    DtypeRow{Dtype::kI16, "I16", 16},
    DtypeRow{Dtype::kU16, "U16", 16},
    DtypeRow{Dtype::kF16, "F16", 16},
    DtypeRow{Dtype::kBF16, "BF16", 16},
    DtypeRow{Dtype::kI32, "I32", 32},
    DtypeRow{Dtype::kU32, "U32", 32},
    DtypeRow{Dtype::kF32, "F32", 32},
    DtypeRow{Dtype::kC64, "C64", 64},
    DtypeRow{Dtype::kF64, "F64", 64},
    DtypeRow{Dtype::kI64, "I64", 64},
    DtypeRow{Dtype::kU64, "U64", 64},
};
static_assert(
    [] {
      for (std::size_t i = 0; i < kDtypes.size(); ++i) {
        if (static_cast<std::size_t>(kDtypes[i].dtype) != i) return false;
      }
      return true;
    }(),
    "the table is indexed by Dtype");

constexpr std::uint64_t kPrefixBytes = 8;
// Levels of objects and arrays, as deep as the reference reader follows. Only fields that are not
// read can nest deeper than three.
constexpr std::size_t kNestingMax = 127;

namespace dom = simdjson::dom;

std::unexpected<Error> bad(std::string message) {
  return fail(Errc::kMalformed, std::move(message));
}

// Bytes of a tensor; nothing if the product overflows or is not whole bytes.
std::optional<std::uint64_t> bytes_of(Dtype dtype, const std::vector<std::uint64_t>& shape) {
  if (std::find(shape.begin(), shape.end(), 0U) != shape.end()) return 0;
  std::uint64_t bits = dtype_bits(dtype);
  for (const std::uint64_t dim : shape) {
    if (__builtin_mul_overflow(bits, dim, &bits)) return std::nullopt;
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

// Sorts the names. A set that hashes them would let a stranger choose names of one hash.
std::optional<std::string_view> named_twice(std::vector<std::string_view>& names) {
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  if (twice == names.end()) return std::nullopt;
  return *twice;
}

Result<void> parse_metadata(dom::element value, SafetensorsHeader& header) {
  if (value.is_null()) return {};
  dom::object object;
  if (value.get(object) != simdjson::SUCCESS) return bad("__metadata__ is not an object");
  std::vector<std::string_view> keys;
  for (const auto& [key, text] : object) {
    std::string_view content;
    if (text.get(content) != simdjson::SUCCESS) {
      return bad("__metadata__ entry " + shown(key) + " is not a string");
    }
    header.metadata.emplace_back(key, content);
    keys.push_back(key);
  }
  if (const auto twice = named_twice(keys))
    return bad("__metadata__ names " + shown(*twice) + " twice");
  return {};
}

// What can be told of a header without parsing it.
struct Glance {
  std::uint64_t objects = 0;  // '{' outside strings
  bool minus_zero = false;    // a number "-0" outside strings, which the parser takes for 0
};
bool is_minus_zero(std::string_view json, std::size_t at) {
  constexpr std::string_view kGoesOn = "0123456789.eE";
  return json[at] == '-' && at + 1 < json.size() && json[at + 1] == '0' &&
         (at + 2 == json.size() || kGoesOn.find(json[at + 2]) == std::string_view::npos);
}

Glance glance_at(std::string_view json) {
  Glance glance;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (in_string && json[i] == '\\') {
      ++i;
    } else if (json[i] == '"') {
      in_string = !in_string;
    } else if (!in_string) {
      glance.objects += json[i] == '{' ? 1U : 0U;
      glance.minus_zero |= is_minus_zero(json, i);
    }
  }
  return glance;
}

Result<void> parse_shape(dom::element value, const std::string& name,
                         std::vector<std::uint64_t>& shape) {
  dom::array dims;
  if (value.get(dims) != simdjson::SUCCESS)
    return bad("tensor " + name + ": shape is not an array");
  for (const dom::element dim : dims) {
    std::uint64_t size = 0;
    if (dim.get(size) != simdjson::SUCCESS) {
      return bad("tensor " + name + ": shape holds something else than whole numbers");
    }
    if (shape.size() == limits::kTensorRankMax) {
      return fail(Errc::kLimit, "tensor " + name + " has more than " +
                                    std::to_string(limits::kTensorRankMax) + " dimensions");
    }
    shape.push_back(size);
  }
  return {};
}

Result<void> parse_offsets(dom::element value, const std::string& name, TensorInfo& tensor) {
  dom::array offsets;
  if (value.get(offsets) != simdjson::SUCCESS || offsets.size() != 2 ||
      offsets.at(0).get(tensor.begin) != simdjson::SUCCESS ||
      offsets.at(1).get(tensor.end) != simdjson::SUCCESS) {
    return bad("tensor " + name + ": data_offsets are not two whole numbers");
  }
  if (tensor.begin > tensor.end) return bad("tensor " + name + ": data_offsets run backwards");
  return {};
}

Result<void> parse_dtype(dom::element value, const std::string& name, Dtype& dtype) {
  std::string_view text;
  if (value.get(text) != simdjson::SUCCESS)
    return bad("tensor " + name + ": dtype is not a string");
  const auto known = dtype_from_name(text);
  if (!known) return bad("tensor " + name + ": unknown dtype " + shown(text));
  dtype = *known;
  return {};
}

Result<TensorInfo> parse_tensor(std::string_view key, dom::element value) {
  const std::string name = shown(key);
  if (key.size() > limits::kTensorNameBytesMax) {
    return fail(Errc::kLimit, "tensor name " + name + " is longer than " +
                                  std::to_string(limits::kTensorNameBytesMax) + " bytes");
  }
  dom::object fields;
  if (value.get(fields) != simdjson::SUCCESS) return bad("tensor " + name + " is not an object");
  TensorInfo tensor;
  tensor.name = key;
  bool has_dtype = false;
  bool has_shape = false;
  bool has_offsets = false;
  for (const auto& [field, content] : fields) {
    Result<void> parsed;
    bool* const has = field == "dtype"          ? &has_dtype
                      : field == "shape"        ? &has_shape
                      : field == "data_offsets" ? &has_offsets
                                                : nullptr;
    if (has == nullptr) continue;  // a field of a writer that knows more: no reader needs it
    if (std::exchange(*has, true)) {
      return bad("tensor " + name + " has the field " + shown(field) + " twice");
    }
    if (has == &has_dtype) {
      parsed = parse_dtype(content, name, tensor.dtype);
    } else if (has == &has_shape) {
      parsed = parse_shape(content, name, tensor.shape);
    } else {
      parsed = parse_offsets(content, name, tensor);
    }
    if (!parsed) return std::unexpected(parsed.error());
  }
  if (!has_dtype || !has_shape || !has_offsets) {
    return bad("tensor " + name + " lacks dtype, shape or data_offsets");
  }
  const auto bytes = bytes_of(tensor.dtype, tensor.shape);
  if (!bytes || *bytes != tensor.bytes()) {
    return bad("tensor " + name + ": dtype and shape do not make the " +
               std::to_string(tensor.bytes()) + " bytes of its data_offsets");
  }
  return tensor;
}

// Why a header that does not end with '}' is refused. Zero bytes, with which some writers pad, have
// a line of their own: who reads the message can mend the writer.
std::string after_the_object(std::string_view json) {
  if (json.back() == '\0') return "the header is padded with zero bytes instead of white space";
  return "something else than white space follows the header's JSON";
}

Result<void> check_contiguous(SafetensorsHeader& header) {
  std::sort(header.tensors.begin(), header.tensors.end(),
            [](const TensorInfo& a, const TensorInfo& b) {
              return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
            });
  std::uint64_t at = 0;
  for (const TensorInfo& tensor : header.tensors) {
    if (tensor.begin != at) {
      return bad("tensor " + shown(tensor.name) + " begins at " + std::to_string(tensor.begin) +
                 " where " + std::to_string(at) +
                 " is due: " + (tensor.begin < at ? "tensors overlap" : "there is a hole"));
    }
    at = tensor.end;
  }
  header.data_bytes = at;
  return {};
}

}  // namespace

std::string_view dtype_name(Dtype dtype) { return kDtypes[static_cast<std::size_t>(dtype)].name; }

std::optional<Dtype> dtype_from_name(std::string_view name) {
  for (const DtypeRow& row : kDtypes) {
    if (row.name == name) return row.dtype;
  }
  return std::nullopt;
}

std::uint32_t dtype_bits(Dtype dtype) { return kDtypes[static_cast<std::size_t>(dtype)].bits; }

Result<std::uint64_t> safetensors_header_bytes(std::span<const std::byte> prefix) {
  if (prefix.size() < kPrefixBytes) return bad("too short for a safetensors file");
  const auto length = little_endian_at<std::uint64_t>(prefix, 0);
  if (length > limits::kHeaderJsonBytesMax) {
    return fail(Errc::kLimit, "the header claims " + std::to_string(length) +
                                  " bytes; at most 100000000 are valid");
  }
  return kPrefixBytes + length;
}

Result<SafetensorsHeader> parse_safetensors_header(std::span<const std::byte> bytes) {
  const auto stated = safetensors_header_bytes(bytes);
  if (!stated) return std::unexpected(stated.error());
  if (*stated != bytes.size()) return bad("the header ends before its stated length");
  const std::string_view json = trimmed(
      {reinterpret_cast<const char*>(bytes.data()) + kPrefixBytes, bytes.size() - kPrefixBytes});
  if (json.empty() || json.front() != '{') return bad("the header does not begin with '{'");
  if (json.back() != '}') return bad(after_the_object(json));
  const Glance glance = glance_at(json);
  // Every tensor is an object of its own: refuse ten million of them before parsing any.
  if (glance.objects > std::uint64_t{limits::kTensorsMax} + 2) {
    return fail(Errc::kLimit,
                "the header names more than " + std::to_string(limits::kTensorsMax) + " tensors");
  }

  dom::parser parser;
  dom::element root;
  auto error = parser.allocate(json.size(), kNestingMax);
  if (error == simdjson::SUCCESS) error = parser.parse(json.data(), json.size(), true).get(root);
  if (error != simdjson::SUCCESS) {
    return bad(std::string("the header is not valid JSON: ") + simdjson::error_message(error));
  }
  dom::object entries;
  if (root.get(entries) != simdjson::SUCCESS) return bad("the header is not a JSON object");

  SafetensorsHeader header;
  header.header_bytes = bytes.size();
  std::vector<std::string_view> names;
  for (const auto& [key, value] : entries) {
    names.push_back(key);
    if (key == "__metadata__") {
      if (auto parsed = parse_metadata(value, header); !parsed) {
        return std::unexpected(parsed.error());
      }
      continue;
    }
    auto tensor = parse_tensor(key, value);
    if (!tensor) return std::unexpected(tensor.error());
    header.tensors.push_back(std::move(*tensor));
  }
  if (const auto twice = named_twice(names)) {
    return bad("the header names " + shown(*twice) + " twice");
  }
  if (header.tensors.size() > limits::kTensorsMax) {
    return fail(Errc::kLimit,
                "the header names more than " + std::to_string(limits::kTensorsMax) + " tensors");
  }
  if (glance.minus_zero) return bad("the header holds a negative number");
  if (auto checked = check_contiguous(header); !checked) return std::unexpected(checked.error());
  return header;
}

}  // namespace shardswarm
