// The safetensors reader, fed with anything: as a header as it is, and as the JSON of one whose
// length is right. What it accepts must satisfy the rules that others rely on.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "piece/safetensors.h"

namespace shardswarm {
namespace {

void check(std::span<const std::byte> header) {
  const auto parsed = parse_safetensors_header(header);
  if (!parsed) {
    if (parsed.error().message.empty()) std::abort();
    return;
  }
  if (parsed->header_bytes != header.size()) std::abort();
  std::uint64_t at = 0;
  for (const TensorInfo& tensor : parsed->tensors) {
    if (tensor.begin != at || tensor.end < tensor.begin) std::abort();
    at = tensor.end;
  }
  if (at != parsed->data_bytes) std::abort();
}

}  // namespace
}  // namespace shardswarm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto input = std::as_bytes(std::span(data, size));
  const auto length = shardswarm::safetensors_header_bytes(input);
  if (length && *length <= size) shardswarm::check(input.first(*length));

  std::vector<std::byte> header(8 + size);
  const std::uint64_t json_bytes = size;
  for (std::size_t i = 0; i < 8; ++i) header[i] = std::byte((json_bytes >> (8 * i)) & 0xff);
  if (size > 0) std::memcpy(header.data() + 8, data, size);
  shardswarm::check(header);
  return 0;
}
