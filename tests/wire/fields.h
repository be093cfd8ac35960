// Protobuf written by hand, so that tests can say what no encoder of ours would.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace shardswarm::test {

class Fields {
 public:
  Fields& number(std::uint32_t field, std::uint64_t value) {
    varint(field << 3);
    varint(value);
    return *this;
  }
  Fields& text(std::uint32_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    for (const char c : value) bytes_.push_back(static_cast<std::byte>(c));
    return *this;
  }
  Fields& message(std::uint32_t field, const Fields& value) {
    return text(field, {reinterpret_cast<const char*>(value.bytes_.data()), value.bytes_.size()});
  }
  Fields& packed(std::uint32_t field, const std::vector<std::uint32_t>& values) {
    Fields inner;
    for (const std::uint32_t value : values) inner.varint(value);
    return message(field, inner);
  }
  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(std::byte(value & 0x7f) | std::byte{0x80});
    bytes_.push_back(std::byte(value));
  }

  std::vector<std::byte> bytes_;
};

}  // namespace shardswarm::test
