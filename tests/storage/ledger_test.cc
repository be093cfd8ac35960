// The ledger against an encoder of its own, made from spec/storage.md alone.
#include "storage/ledger.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "tests/storage/checkpoint.h"
#include "tests/support/project.h"

namespace shardswarm::test {
namespace {

constexpr std::uint32_t kPieces = 40;
constexpr std::uint32_t kFiles = 3;
constexpr std::size_t kHead = 64;

void put_le(Bytes& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(value >> (8 * i)));
}

std::uint64_t get_le(std::span<const std::byte> in, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;) value = value << 8 | std::to_integer<std::uint64_t>(in[at + i]);
  return value;
}

// STO-12
std::uint64_t checksum(std::uint64_t salt, std::uint64_t position,
                       std::span<const std::byte> bytes) {
  Bytes all;
  put_le(all, salt, 8);
  put_le(all, position, 8);
  all.insert(all.end(), bytes.begin(), bytes.end());
  return xxh3_64(all);
}

// STO-11
Bytes head_bytes(const ModelId& model, std::uint32_t layout, std::uint64_t salt) {
  Bytes out = bytes_of("SSLEDGR1");
  put_le(out, layout, 4);
  put_le(out, 0, 4);
  out.insert(out.end(), model.bytes.begin(), model.bytes.end());
  put_le(out, salt, 8);
  put_le(out, checksum(salt, 0, out), 8);
  return out;
}

// STO-13
void add_record(Bytes& ledger, std::uint64_t salt, std::uint32_t type, const Bytes& body) {
  Bytes record;
  put_le(record, body.size(), 4);
  put_le(record, type, 4);
  record.insert(record.end(), body.begin(), body.end());
  put_le(record, checksum(salt, ledger.size(), record), 8);
  ledger.insert(ledger.end(), record.begin(), record.end());
}

Bytes pieces_body(const std::vector<PieceRecord>& records) {
  Bytes body;
  for (const PieceRecord& record : records) {
    put_le(body, record.piece.value, 4);
    put_le(body, record.xxh3, 8);
  }
  return body;
}

Bytes file_body(std::uint32_t file, const FileIdentity& identity) {
  Bytes body;
  put_le(body, file, 4);
  put_le(body, identity.inode, 8);
  put_le(body, identity.size, 8);
  put_le(body, static_cast<std::uint64_t>(identity.mtime_ns), 8);
  return body;
}

Bytes lost_body(const std::vector<std::uint32_t>& pieces) {
  Bytes body;
  for (const std::uint32_t piece : pieces) put_le(body, piece, 4);
  return body;
}

ModelId some_model() {
  ModelId id;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<std::byte>(i);
  return id;
}

const FileIdentity kIdentity{.inode = 77, .size = 1'048'600, .mtime_ns = -5};

std::vector<std::uint32_t> recorded(const LedgerContent& content) {
  std::vector<std::uint32_t> pieces;
  content.recorded.for_each([&](PieceIndex piece) { pieces.push_back(piece.value); });
  return pieces;
}

// A ledger of four records, with what each leaves behind.
class LedgerTest : public testing::Test {
 protected:
  void SetUp() override {
    auto ledger = must(Ledger::create(path_, some_model(), Layout::kMirror));
    note_end();
    const std::vector<PieceRecord> first{{PieceIndex(3), 33}, {PieceIndex(39), 0xffffffffffffffff}};
    must(ledger.append_pieces(first));
    note_end();
    must(ledger.append_file(PlacedIndex(2), kIdentity));
    note_end();
    const PieceIndex lost[] = {PieceIndex(3)};
    must(ledger.append_lost(lost));
    note_end();
    const std::vector<PieceRecord> second{{PieceIndex(0), 1}};
    must(ledger.append_pieces(second));
    note_end();
    bytes_ = read_file(path_);
    salt_ = get_le(bytes_, 48);
  }

  void note_end() { ends_.push_back(std::filesystem::file_size(path_)); }

  // What must be read when only the first `records` records stand.
  void expect_prefix(const LedgerContent& content, std::size_t records) const {
    static const std::vector<std::vector<std::uint32_t>> kAfter = {
        {}, {3, 39}, {3, 39}, {39}, {0, 39}};
    EXPECT_EQ(recorded(content), kAfter.at(records));
    EXPECT_EQ(content.files.at(2).has_value(), records >= 2);
    EXPECT_EQ(content.model, some_model());
    EXPECT_EQ(content.layout, Layout::kMirror);
  }
  // How many records lie wholly before `at`.
  std::size_t records_before(std::size_t at) const {
    std::size_t records = 0;
    while (records + 1 < ends_.size() && ends_[records + 1] <= at) ++records;
    return records;
  }
  Result<LedgerContent> read(const Bytes& bytes) {
    write_file(path_, bytes);
    return Ledger::read(path_, kPieces, kFiles);
  }

  TempDir dir_;
  std::filesystem::path path_ = dir_ / "ledger";
  std::vector<std::size_t> ends_;  // of the head, then of each record
  Bytes bytes_;
  std::uint64_t salt_ = 0;
};

TEST_F(LedgerTest, ReadsBackWhatWasAppended) {
  const auto content = must(Ledger::read(path_, kPieces, kFiles));
  expect_prefix(content, 4);
  EXPECT_EQ(content.xxh3.at(39), 0xffffffffffffffffU);
  EXPECT_EQ(content.xxh3.at(0), 1U);
  EXPECT_EQ(content.files.at(2), kIdentity);
  EXPECT_FALSE(content.files.at(0));
  const auto head = must(Ledger::read_head(path_));
  EXPECT_EQ(head.model, some_model());
  EXPECT_EQ(head.layout, Layout::kMirror);
}

// The format is that of the specification, but for the salt, which is random.
TEST_F(LedgerTest, WritesTheBytesOfTheSpecification) {
  Bytes expected = head_bytes(some_model(), 2, salt_);
  add_record(expected, salt_, 1,
             pieces_body({{PieceIndex(3), 33}, {PieceIndex(39), 0xffffffffffffffff}}));
  add_record(expected, salt_, 2, file_body(2, kIdentity));
  add_record(expected, salt_, 3, lost_body({3}));
  add_record(expected, salt_, 1, pieces_body({{PieceIndex(0), 1}}));
  EXPECT_EQ(bytes_, expected);
}

TEST_F(LedgerTest, TheLastRecordOfAFileOrPieceCounts) {
  const FileIdentity newer{.inode = 78, .size = 9, .mtime_ns = 4};
  {
    LedgerContent content;
    auto ledger = must(Ledger::open(path_, kPieces, kFiles, content));
    expect_prefix(content, 4);
    must(ledger.append_file(PlacedIndex(2), newer));
    const std::vector<PieceRecord> again{{PieceIndex(3), 34}, {PieceIndex(39), 40}};
    must(ledger.append_pieces(again));
  }
  const auto content = must(Ledger::read(path_, kPieces, kFiles));
  EXPECT_EQ(recorded(content), (std::vector<std::uint32_t>{0, 3, 39}));
  EXPECT_EQ(content.xxh3.at(3), 34U);
  EXPECT_EQ(content.xxh3.at(39), 40U);
  EXPECT_EQ(content.files.at(2), newer);
}

// A record needs all its bytes: cut anywhere, exactly those that are whole count.
TEST_F(LedgerTest, TornAtAnyByteKeepsTheRecordsBeforeAndNothingElse) {
  for (std::size_t cut = 0; cut <= bytes_.size(); ++cut) {
    SCOPED_TRACE(cut);
    const auto content = read(Bytes(bytes_.begin(), bytes_.begin() + static_cast<long>(cut)));
    ASSERT_EQ(content.has_value(), cut >= kHead);
    if (content) {
      expect_prefix(*content, records_before(cut));
    } else {
      EXPECT_EQ(content.error().code, Errc::kMalformed);
    }
  }
}

// The file was extended before its bytes came: the tail is zeros instead of missing.
TEST_F(LedgerTest, ZerosInPlaceOfTheTailEndIt) {
  for (std::size_t cut = kHead; cut < bytes_.size(); ++cut) {
    SCOPED_TRACE(cut);
    Bytes torn = bytes_;
    std::fill(torn.begin() + static_cast<long>(cut), torn.end(), std::byte{0});
    if (torn == bytes_) continue;  // these bytes were zeros anyhow
    const auto content = read(torn);
    ASSERT_TRUE(content);
    // The first byte that differs is in the record that is lost, with all after it.
    const auto differs = std::ranges::mismatch(torn, bytes_).in1 - torn.begin();
    expect_prefix(*content, records_before(static_cast<std::size_t>(differs)));
  }
}

TEST_F(LedgerTest, AppendingAfterATornTailReplacesIt) {
  for (std::size_t cut = ends_[1]; cut < bytes_.size(); ++cut) {
    SCOPED_TRACE(cut);
    write_file(path_, std::span(bytes_).first(cut));
    const std::size_t whole = records_before(cut);
    {
      LedgerContent content;
      auto ledger = must(Ledger::open(path_, kPieces, kFiles, content));
      expect_prefix(content, whole);
      EXPECT_EQ(std::filesystem::file_size(path_), ends_[whole]);
      const std::vector<PieceRecord> more{{PieceIndex(20), 20}};
      must(ledger.append_pieces(more));
    }
    const auto content = must(Ledger::read(path_, kPieces, kFiles));
    EXPECT_TRUE(content.recorded.contains(PieceIndex(20)));
    EXPECT_TRUE(content.recorded.contains(PieceIndex(39)));
  }
}

TEST_F(LedgerTest, AFlippedBitEndsItAtThatRecordAndRefusesTheHead) {
  for (std::size_t at = 0; at < bytes_.size(); ++at) {
    for (const unsigned bit : {0U, 7U}) {
      SCOPED_TRACE(testing::Message() << "byte " << at << " bit " << bit);
      Bytes flipped = bytes_;
      flipped[at] ^= static_cast<std::byte>(1U << bit);
      const auto content = read(flipped);
      ASSERT_EQ(content.has_value(), at >= kHead);
      if (content) {
        expect_prefix(*content, records_before(at));
      } else {
        EXPECT_EQ(content.error().code, Errc::kMalformed);
        EXPECT_FALSE(Ledger::read_head(path_));
      }
    }
  }
}

// Left from an older ledger in the same blocks of the disk.
TEST_F(LedgerTest, RecordsWithAnotherSaltDoNotCount) {
  Bytes other = head_bytes(some_model(), 2, salt_ + 1);
  other.insert(other.end(), bytes_.begin() + kHead, bytes_.end());
  const auto content = read(other);
  ASSERT_TRUE(content);
  expect_prefix(*content, 0);
}

TEST_F(LedgerTest, ARecordAtAnotherPositionDoesNotCount) {
  // The first record twice: the copy has a valid checksum, but of another place.
  Bytes moved(bytes_.begin(), bytes_.begin() + static_cast<long>(ends_[1]));
  moved.insert(moved.end(), bytes_.begin() + kHead, bytes_.end());
  const auto content = read(moved);
  ASSERT_TRUE(content);
  expect_prefix(*content, 1);
}

TEST_F(LedgerTest, RecordsThatCannotBeOfThisModelEndIt) {
  struct Case {
    const char* what;
    std::uint32_t type;
    Bytes body;
  };
  const std::vector<Case> cases = {
      {"a piece that the model does not have", 1, pieces_body({{PieceIndex(kPieces), 1}})},
      {"a lost piece that it does not have", 3, lost_body({kPieces})},
      {"a file that it does not have", 2, file_body(kFiles, kIdentity)},
      {"half a piece", 1, Bytes(6)},
      {"half a lost piece", 3, Bytes(3)},
      {"a file record that is too short", 2, Bytes(27)},
      {"a file record that is too long", 2, Bytes(29)},
      {"an unknown type", 4, Bytes(4)},
      {"type 0", 0, {}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    Bytes ledger(bytes_.begin(), bytes_.begin() + static_cast<long>(ends_[3]));
    add_record(ledger, salt_, c.type, c.body);
    add_record(ledger, salt_, 1, pieces_body({{PieceIndex(7), 7}}));  // beyond the end: unread
    const auto content = read(ledger);
    ASSERT_TRUE(content);
    expect_prefix(*content, 3);
  }
}

TEST_F(LedgerTest, ALengthBeyondTheFileEndsIt) {
  for (const std::uint32_t length : {1000U, 64U << 20, (64U << 20) + 1, 0xffffffffU}) {
    SCOPED_TRACE(length);
    Bytes ledger = bytes_;
    put_le(ledger, length, 4);
    put_le(ledger, 1, 4);
    ledger.resize(ledger.size() + 100);
    const auto content = read(ledger);
    ASSERT_TRUE(content);
    expect_prefix(*content, 4);
  }
}

TEST_F(LedgerTest, LostPiecesComeBackWhenTheyArePutAgain) {
  Bytes ledger = head_bytes(some_model(), 1, 9);
  add_record(ledger, 9, 3, lost_body({5}));  // lost before it was there: harmless
  add_record(ledger, 9, 1, pieces_body({{PieceIndex(5), 50}, {PieceIndex(6), 60}}));
  add_record(ledger, 9, 3, lost_body({5, 6}));
  add_record(ledger, 9, 1, pieces_body({{PieceIndex(5), 51}}));
  const auto content = read(ledger);
  ASSERT_TRUE(content);
  EXPECT_EQ(recorded(*content), std::vector<std::uint32_t>{5});
  EXPECT_EQ(content->xxh3.at(5), 51U);
  EXPECT_EQ(content->layout, Layout::kOriginal);
}

TEST_F(LedgerTest, ForeignFilesAreRefusedByName) {
  for (const Bytes& foreign : {Bytes{}, bytes_of("hello"), noise(200, 1), Bytes(64)}) {
    const auto content = read(foreign);
    ASSERT_FALSE(content);
    EXPECT_EQ(content.error().code, Errc::kMalformed);
    EXPECT_THAT(content.error().message, testing::HasSubstr(path_.string()));
    LedgerContent ignored;
    EXPECT_FALSE(Ledger::open(path_, kPieces, kFiles, ignored));
    EXPECT_EQ(read_file(path_), foreign);  // untouched
    EXPECT_EQ(Ledger::read_head(path_).error().code, Errc::kMalformed);
  }
}

TEST_F(LedgerTest, ALayoutOfTheFutureIsRefusedAsSuch) {
  for (const std::uint32_t layout : {0U, 4U, 0x101U}) {
    const auto content = read(head_bytes(some_model(), layout, 5));
    ASSERT_FALSE(content) << layout;
    EXPECT_EQ(content.error().code, Errc::kVersion);
  }
}

TEST_F(LedgerTest, AMissingOneIsNotFound) {
  std::filesystem::remove(path_);
  EXPECT_EQ(Ledger::read(path_, kPieces, kFiles).error().code, Errc::kNotFound);
  EXPECT_EQ(Ledger::read_head(path_).error().code, Errc::kNotFound);
}

TEST_F(LedgerTest, CreatingReplacesAnOldOneWithAnotherSalt) {
  must(Ledger::create(path_, some_model(), Layout::kOriginal));
  const Bytes fresh = read_file(path_);
  EXPECT_EQ(fresh.size(), kHead);
  EXPECT_NE(get_le(fresh, 48), salt_);
  EXPECT_TRUE(recorded(must(Ledger::read(path_, kPieces, kFiles))).empty());
}

// --- the worked example of spec/storage.md ---

Bytes example() {
  std::ifstream spec(project_root() / "spec" / "storage.md");
  EXPECT_TRUE(spec.is_open());
  std::string line;
  while (std::getline(spec, line) && line != "```hex ledger") continue;
  Bytes bytes;
  while (std::getline(spec, line) && line != "```") {
    std::istringstream words(line);
    for (std::string word; words >> word;) bytes.push_back(std::byte(std::stoi(word, nullptr, 16)));
  }
  return bytes;
}

constexpr std::uint64_t kExampleSalt = 0x0123456789abcdef;
const FileIdentity kExampleFile{
    .inode = 4242, .size = 1'048'676, .mtime_ns = 1'700'000'000'123'456'789};

TEST_F(LedgerTest, TheExampleOfTheSpecificationIsWhatItsRulesGive) {
  Bytes expected = head_bytes(some_model(), 1, kExampleSalt);
  add_record(
      expected, kExampleSalt, 1,
      pieces_body({{PieceIndex(0), 0x1111111111111111}, {PieceIndex(2), 0x2222222222222222}}));
  add_record(expected, kExampleSalt, 2, file_body(1, kExampleFile));
  add_record(expected, kExampleSalt, 3, lost_body({2}));
  EXPECT_THAT(example(), testing::ElementsAreArray(expected));
}

TEST_F(LedgerTest, TheExampleOfTheSpecificationIsUnderstood) {
  const auto content = read(example());
  ASSERT_TRUE(content);
  EXPECT_EQ(content->model, some_model());
  EXPECT_EQ(content->layout, Layout::kOriginal);
  EXPECT_EQ(recorded(*content), std::vector<std::uint32_t>{0});
  EXPECT_EQ(content->xxh3.at(0), 0x1111111111111111U);
  EXPECT_EQ(content->files.at(1), kExampleFile);
}

}  // namespace
}  // namespace shardswarm::test
