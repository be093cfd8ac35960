#include "storage/ledger.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <random>

#include "base/bytes.h"
#include "base/limits.h"

namespace shardswarm {
namespace {

constexpr std::array<char, 8> kMagic = {'S', 'S', 'L', 'E', 'D', 'G', 'R', '1'};
constexpr std::size_t kHeadBytes = 64;    // magic, layout, reserved, model, salt, checksum
constexpr std::size_t kRecordBytes = 16;  // length, type, checksum: around each body
constexpr std::array<std::string_view, 3> kLayoutNames = {"original", "mirror", "compact"};
constexpr std::uint32_t kTypePieces = 1;
constexpr std::uint32_t kTypeFile = 2;
constexpr std::uint32_t kTypeLost = 3;
constexpr std::size_t kPieceRecordBytes = 12;
constexpr std::size_t kFileRecordBytes = 28;
// More pieces take several records.
constexpr std::size_t kPiecesPerRecord = std::size_t{1} << 20;
constexpr std::uint32_t kBodyBytesMax = 64 * limits::kMiB;
constexpr std::uint64_t kLedgerBytesMax = 4 * limits::kGiB;

// Over salt and position too: bytes of an older ledger, or of another place, never pass.
std::uint64_t checksum(std::uint64_t salt, std::uint64_t position,
                       std::span<const std::byte> data) {
  std::vector<std::byte> all;
  all.reserve(16 + data.size());
  append_little_endian(all, salt);
  append_little_endian(all, position);
  all.insert(all.end(), data.begin(), data.end());
  return xxh3_64(all);
}

struct ParsedHead {
  Ledger::Head head;
  std::uint64_t salt = 0;
};

Result<ParsedHead> parse_head(std::span<const std::byte> bytes, const std::filesystem::path& file) {
  const auto bad = [&] {
    return fail(Errc::kMalformed, file.string() + " is not a ledger of this program");
  };
  if (bytes.size() < kHeadBytes) return bad();
  if (std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) return bad();
  ParsedHead parsed;
  parsed.salt = little_endian_at<std::uint64_t>(bytes, 48);
  if (little_endian_at<std::uint64_t>(bytes, 56) != checksum(parsed.salt, 0, bytes.first(56)))
    return bad();
  const std::uint32_t layout = little_endian_at<std::uint32_t>(bytes, 8);
  if (layout < static_cast<std::uint32_t>(Layout::kOriginal) ||
      layout > static_cast<std::uint32_t>(Layout::kCompact)) {
    return fail(Errc::kVersion, file.string() + " has a layout that this program does not know");
  }
  parsed.head.layout = static_cast<Layout>(layout);
  std::copy_n(bytes.begin() + 16, 32, parsed.head.model.bytes.begin());
  return parsed;
}

bool take_pieces(std::span<const std::byte> body, LedgerContent& content) {
  if (body.size() % kPieceRecordBytes != 0) return false;
  for (std::size_t at = 0; at < body.size(); at += kPieceRecordBytes) {
    const std::uint32_t piece = little_endian_at<std::uint32_t>(body, at);
    if (piece >= content.recorded.size()) return false;
    content.recorded.insert(PieceIndex(piece));
    content.xxh3[piece] = little_endian_at<std::uint64_t>(body, at + 4);
  }
  return true;
}

bool take_file(std::span<const std::byte> body, LedgerContent& content) {
  if (body.size() != kFileRecordBytes) return false;
  if (content.files.empty()) return true;  // nobody asks
  const std::uint32_t file = little_endian_at<std::uint32_t>(body, 0);
  if (file >= content.files.size()) return false;
  const FileIdentity identity{
      .inode = little_endian_at<std::uint64_t>(body, 4),
      .size = little_endian_at<std::uint64_t>(body, 12),
      .mtime_ns = static_cast<std::int64_t>(little_endian_at<std::uint64_t>(body, 20))};
  content.files[file] = identity == FileIdentity{} ? std::nullopt : std::optional(identity);
  return true;
}

bool take_lost(std::span<const std::byte> body, LedgerContent& content) {
  if (body.size() % 4 != 0) return false;
  for (std::size_t at = 0; at < body.size(); at += 4) {
    const std::uint32_t piece = little_endian_at<std::uint32_t>(body, at);
    if (piece >= content.recorded.size()) return false;
    content.recorded.erase(PieceIndex(piece));
  }
  return true;
}

// Applies records; returns where the first one begins that cannot be used.
std::uint64_t apply_records(std::span<const std::byte> bytes, std::uint64_t salt,
                            LedgerContent& content) {
  std::size_t at = kHeadBytes;
  while (bytes.size() - at >= kRecordBytes) {
    const std::uint32_t length = little_endian_at<std::uint32_t>(bytes, at);
    if (length > kBodyBytesMax || bytes.size() - at - kRecordBytes < length) break;
    const auto covered = bytes.subspan(at, 8 + length);
    if (little_endian_at<std::uint64_t>(bytes, at + 8 + length) != checksum(salt, at, covered))
      break;
    const auto body = covered.subspan(8);
    bool ok = false;
    switch (little_endian_at<std::uint32_t>(bytes, at + 4)) {
      case kTypePieces:
        ok = take_pieces(body, content);
        break;
      case kTypeFile:
        ok = take_file(body, content);
        break;
      case kTypeLost:
        ok = take_lost(body, content);
        break;
      default:
        break;
    }
    if (!ok) break;
    at += kRecordBytes + length;
  }
  return at;
}

struct Loaded {
  LedgerContent content;
  std::uint64_t salt = 0;
  std::uint64_t end = 0;
};

Result<Loaded> load(const std::filesystem::path& file, std::uint32_t pieces, std::uint32_t files) {
  const auto bytes = read_small_file(file, kLedgerBytesMax);
  if (!bytes) return std::unexpected(bytes.error());
  const auto head = parse_head(*bytes, file);
  if (!head) return std::unexpected(head.error());
  Loaded loaded;
  loaded.salt = head->salt;
  loaded.content.model = head->head.model;
  loaded.content.layout = head->head.layout;
  loaded.content.recorded = PieceSet(pieces);
  loaded.content.xxh3.resize(pieces);
  loaded.content.files.resize(files);
  loaded.end = apply_records(*bytes, loaded.salt, loaded.content);
  return loaded;
}

}  // namespace

std::string_view layout_name(Layout layout) {
  return kLayoutNames[static_cast<std::size_t>(layout) - 1];
}

std::optional<Layout> layout_from_name(std::string_view name) {
  const auto found = std::ranges::find(kLayoutNames, name);
  if (found == kLayoutNames.end()) return std::nullopt;
  return static_cast<Layout>(found - kLayoutNames.begin() + 1);
}

Result<Ledger::Head> Ledger::read_head(const std::filesystem::path& file) {
  auto fd = open_for_reading(file);
  if (!fd) return std::unexpected(fd.error());
  std::array<std::byte, kHeadBytes> bytes{};
  if (!read_exactly(fd->get(), 0, bytes, file.string())) {
    return fail(Errc::kMalformed, file.string() + " is not a ledger of this program");
  }
  const auto parsed = parse_head(bytes, file);
  if (!parsed) return std::unexpected(parsed.error());
  return parsed->head;
}

Result<LedgerContent> Ledger::read(const std::filesystem::path& file, std::uint32_t pieces,
                                   std::uint32_t files) {
  auto loaded = load(file, pieces, files);
  if (!loaded) return std::unexpected(loaded.error());
  return std::move(loaded->content);
}

Result<PieceSet> Ledger::read_recorded(const std::filesystem::path& file, std::uint32_t pieces) {
  auto loaded = load(file, pieces, 0);
  if (!loaded) return std::unexpected(loaded.error());
  return std::move(loaded->content.recorded);
}

Result<Ledger> Ledger::create(const std::filesystem::path& file, const ModelId& model,
                              Layout layout) {
  std::vector<std::byte> head;
  head.reserve(kHeadBytes);
  for (const char c : kMagic) head.push_back(static_cast<std::byte>(c));
  append_little_endian(head, static_cast<std::uint32_t>(layout));
  append_little_endian(head, std::uint32_t{0});
  head.insert(head.end(), model.bytes.begin(), model.bytes.end());
  Ledger ledger;
  std::random_device random;
  ledger.salt_ = std::uint64_t{random()} << 32 | random();
  append_little_endian(head, ledger.salt_);
  append_little_endian(head, checksum(ledger.salt_, 0, head));
  if (auto written = replace_file(file, head); !written) return std::unexpected(written.error());
  ledger.fd_ = Fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (!ledger.fd_) return fail_errno(errno, "cannot open " + file.string());
  ledger.end_ = head.size();
  return ledger;
}

Result<Ledger> Ledger::open(const std::filesystem::path& file, std::uint32_t pieces,
                            std::uint32_t files, LedgerContent& content) {
  auto loaded = load(file, pieces, files);
  if (!loaded) return std::unexpected(loaded.error());
  Ledger ledger;
  ledger.fd_ = Fd(::open(file.c_str(), O_RDWR | O_CLOEXEC));
  if (!ledger.fd_) return fail_errno(errno, "cannot open " + file.string());
  ledger.salt_ = loaded->salt;
  ledger.end_ = loaded->end;
  if (::ftruncate(ledger.fd(), static_cast<off_t>(ledger.end_)) != 0) {
    return fail_errno(errno, "cannot cut the torn tail of " + file.string());
  }
  content = std::move(loaded->content);
  return ledger;
}

Result<void> Ledger::append(std::uint32_t type, std::span<const std::byte> body) {
  std::vector<std::byte> record;
  record.reserve(kRecordBytes + body.size());
  append_little_endian(record, static_cast<std::uint32_t>(body.size()));
  append_little_endian(record, type);
  record.insert(record.end(), body.begin(), body.end());
  append_little_endian(record, checksum(salt_, end_, record));
  if (auto written = write_exactly(fd_.get(), end_, record, "the ledger"); !written) return written;
  end_ += record.size();
  return {};
}

Result<void> Ledger::append_pieces(std::span<const PieceRecord> records) {
  while (!records.empty()) {
    const auto some = records.first(std::min(records.size(), kPiecesPerRecord));
    records = records.subspan(some.size());
    std::vector<std::byte> body;
    body.reserve(some.size() * kPieceRecordBytes);
    for (const PieceRecord& record : some) {
      append_little_endian(body, record.piece.value);
      append_little_endian(body, record.xxh3);
    }
    if (auto appended = append(kTypePieces, body); !appended) return appended;
  }
  return {};
}

Result<void> Ledger::append_file(PlacedIndex file, const FileIdentity& identity) {
  std::vector<std::byte> body;
  append_little_endian(body, file.value);
  append_little_endian(body, identity.inode);
  append_little_endian(body, identity.size);
  append_little_endian(body, static_cast<std::uint64_t>(identity.mtime_ns));
  return append(kTypeFile, body);
}

Result<void> Ledger::append_gone(PlacedIndex file) { return append_file(file, FileIdentity{}); }

Result<void> Ledger::append_lost(std::span<const PieceIndex> pieces) {
  while (!pieces.empty()) {
    const auto some = pieces.first(std::min(pieces.size(), kPiecesPerRecord));
    pieces = pieces.subspan(some.size());
    std::vector<std::byte> body;
    for (const PieceIndex piece : some) append_little_endian(body, piece.value);
    if (auto appended = append(kTypeLost, body); !appended) return appended;
  }
  return {};
}

}  // namespace shardswarm
