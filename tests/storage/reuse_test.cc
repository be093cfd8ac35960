// Pieces that are on this machine already, in other directories.
#include "storage/reuse.h"

#include <gmock/gmock.h>

#include <map>

#include "storage/catalogue.h"
#include "storage/digest_index.h"
#include "storage/indexer.h"
#include "storage/meta_dir.h"
#include "tests/storage/rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::SizeIs;

using Tensors = std::vector<std::pair<std::string, Bytes>>;

// A safetensors file of U8 tensors with these bytes, in this order.
Bytes file_of(const Tensors& tensors) {
  std::vector<std::pair<std::string, std::size_t>> sizes;
  Bytes data;
  for (const auto& [name, bytes] : tensors) {
    sizes.emplace_back(name, bytes.size());
    data.insert(data.end(), bytes.begin(), bytes.end());
  }
  Bytes file = safetensors(sizes, 1);
  std::ranges::copy(data, file.end() - static_cast<std::ptrdiff_t>(data.size()));
  return file;
}

// Ten tensors, of one to three pieces each.
Tensors ten_tensors() {
  Tensors tensors;
  for (std::uint64_t i = 0; i < 10; ++i) {
    tensors.emplace_back("model.layers." + std::to_string(i) + ".w",
                         noise((i % 3 << 20) + 1000 + i, 500 + i));
  }
  return tensors;
}

class ReuseTest : public testing::Test {
 protected:
  // Indexed and registered.
  void hold(const std::string& name, const Files& files) {
    write_tree(dir_ / name, files);
    Workers workers(2);
    const auto report =
        must(index_directory({.directory = dir_ / name, .state_directory = state_}, workers));
    must(Catalogue(state_).add(dir_ / name, report.manifest->id()));
  }
  // Fetched and registered.
  void hold_part(const std::string& name, const Files& files, const ResolvedSelection& selection) {
    const auto manifest = manifest_of(files);
    Rig rig;
    rig.fetch(dir_ / name, manifest, selection, files);
    must(Catalogue(state_).add(dir_ / name, manifest->id()));
  }
  std::vector<ReuseSource> find(const Files& wanted, const std::atomic<bool>* cancel = nullptr) {
    manifest_ = manifest_of(wanted);
    return find(wanted, PieceSet::full(manifest_->piece_count()), cancel);
  }
  // Finds, and checks what must hold for any answer: each piece once, with its right bytes.
  std::vector<ReuseSource> find(const Files& wanted, const PieceSet& missing,
                                const std::atomic<bool>* cancel = nullptr) {
    manifest_ = manifest_of(wanted);
    found_ = PieceSet(manifest_->piece_count());
    auto sources =
        find_reusable(rig_.environment(),
                      {.state_directory = state_, .not_here = dir_ / "target", .cancel = cancel},
                      *manifest_, missing);
    for (const ReuseSource& source : sources) {
      EXPECT_FALSE(source.pieces.empty());
      for (const auto& [ours, theirs] : source.pieces) {
        EXPECT_TRUE(missing.contains(ours));
        EXPECT_TRUE(found_.insert(ours)) << ours.value << " is named twice";
        EXPECT_TRUE(
            same(rig_.read_piece(*source.store, theirs), piece_of(wanted, *manifest_, ours)))
            << ours.value;
      }
    }
    return sources;
  }
  // Pieces of the wanted model that were not found.
  std::uint32_t unfound() const { return manifest_->piece_count() - found_.count(); }
  bool found_tensor(const std::string& name) const {
    const PieceSet pieces = only_tensors(*manifest_, {name}).pieces;
    return (pieces & found_) == pieces;
  }

  TempDir dir_;
  fs::path state_ = dir_ / "state";
  Rig rig_;
  std::shared_ptr<const Manifest> manifest_;
  PieceSet found_;
};

// --- what is found (STO-50) ---

TEST_F(ReuseTest, AFineTuneHasAllButWhatWasTrained) {
  Tensors tensors = ten_tensors();
  hold("base", {{"model.safetensors", file_of(tensors)}, {"config.json", bytes_of("{}")}});
  for (const std::size_t changed : {2U, 3U, 8U}) tensors[changed].second[7] ^= std::byte{1};
  const auto sources =
      find({{"model.safetensors", file_of(tensors)}, {"config.json", bytes_of("{}")}});
  ASSERT_THAT(sources, SizeIs(1));
  // Of a changed tensor it is the piece with the changed byte.
  EXPECT_EQ(unfound(), 3U);
  EXPECT_TRUE(found_tensor("model.layers.5.w"));
  EXPECT_FALSE(found_tensor("model.layers.2.w"));
}

TEST_F(ReuseTest, NamesOrderAndFilesDoNotMatter) {
  const Tensors tensors = ten_tensors();
  hold("base", {{"model.safetensors", file_of(tensors)}});
  Tensors first;
  Tensors second;
  for (std::size_t i = 10; i-- > 0;) {
    (i % 2 == 0 ? first : second).emplace_back("other." + std::to_string(i), tensors[i].second);
  }
  const auto sources =
      find({{"x/1.safetensors", file_of(first)}, {"x/2.safetensors", file_of(second)}});
  ASSERT_THAT(sources, SizeIs(1));
  EXPECT_EQ(unfound(), 0U);
  const auto& pieces = sources[0].pieces;
  EXPECT_TRUE(std::ranges::is_sorted(pieces, {}, [](const auto& pair) { return pair.second; }));
}

TEST_F(ReuseTest, EqualTensorsEachGetASource) {
  const Bytes tied = noise((1 << 20) + 5, 3);
  hold("base", {{"a.safetensors", file_of({{"embed", tied}, {"x", noise(100, 4)}})}});
  find({{"b.safetensors", file_of({{"embed", tied}, {"head", tied}, {"y", noise(100, 5)}})}});
  EXPECT_TRUE(found_tensor("embed"));
  EXPECT_TRUE(found_tensor("head"));
  EXPECT_EQ(unfound(), 1U);
}

// Which of equal pieces is here the index does not know.
TEST_F(ReuseTest, OfEqualPiecesTheOneThatIsHereIsTaken) {
  const Bytes tied = noise(5000, 3);
  const Files files = {{"a.safetensors", file_of({{"embed", tied}, {"head", tied}})}};
  hold_part("part", files, only_tensors(*manifest_of(files), {"head"}));
  find({{"b.safetensors", file_of({{"w", tied}})}});
  EXPECT_EQ(unfound(), 0U);
}

TEST_F(ReuseTest, TheSameModelElsewhereGivesWhatIsThere) {
  const Files files = small_checkpoint();
  const auto manifest = manifest_of(files);
  const auto part = only_tensors(*manifest, {"model.layers.0.w", "model.norm"});
  hold_part("part", files, part);
  find(files);
  EXPECT_EQ(found_, part.pieces);
  hold("whole", files);
  const auto sources = find(files);
  EXPECT_EQ(unfound(), 0U);
  EXPECT_THAT(sources, SizeIs(1)) << "those that give most come first, and it gave all";
}

TEST_F(ReuseTest, OnlyWhatIsMissingIsLookedFor) {
  const Files files = small_checkpoint();
  hold("whole", files);
  const auto manifest = manifest_of(files);
  PieceSet missing(manifest->piece_count());
  missing.insert(PieceIndex(1));
  missing.insert(PieceIndex(4));
  find(files, missing);
  EXPECT_EQ(found_, missing);
  EXPECT_THAT(find(files, PieceSet(manifest->piece_count())), IsEmpty());
}

TEST_F(ReuseTest, SourcesThatGiveMostComeFirst) {
  const Tensors tensors = ten_tensors();
  const auto some = [&](std::size_t from, std::size_t to) {
    return Files{{"m.safetensors", file_of({tensors.begin() + static_cast<std::ptrdiff_t>(from),
                                            tensors.begin() + static_cast<std::ptrdiff_t>(to)})}};
  };
  hold("a", some(0, 2));
  hold("b", some(0, 7));
  hold("c", some(5, 10));
  const auto sources = find(some(0, 10));
  ASSERT_THAT(sources, SizeIs(2));
  EXPECT_GT(sources[0].pieces.size(), sources[1].pieces.size());
  EXPECT_EQ(unfound(), 0U);
}

TEST_F(ReuseTest, ModelsWithNothingInCommonAreNotOpened) {
  hold("base", small_checkpoint(1));
  Files other = small_checkpoint(2);
  other.erase("empty.txt");
  EXPECT_THAT(find(other), IsEmpty());
}

// --- what is left out (STO-51) ---

TEST_F(ReuseTest, TheTargetItselfIsLeftOut) {
  const Files files = small_checkpoint();
  hold("target", files);
  EXPECT_THAT(find(files), IsEmpty());
}

TEST_F(ReuseTest, PiecesOfAChangedFileAreNotNamed) {
  const Files files = small_checkpoint();
  hold("base", files);
  const auto manifest = manifest_of(files);
  const PieceIndex bad = manifest->first_piece(file_named(*manifest, "a.safetensors"));
  flip_byte(dir_ / "base" / "a.safetensors", manifest->extent(bad).offset);
  fs::last_write_time(dir_ / "base" / "a.safetensors",
                      fs::last_write_time(dir_ / "base" / "a.safetensors") + std::chrono::hours(1));
  find(files);
  EXPECT_FALSE(found_.contains(bad));
  EXPECT_EQ(unfound(), 1U);
}

TEST_F(ReuseTest, ADirectoryThatIsGoneIsDropped) {
  const Files files = small_checkpoint();
  hold("base", files);
  fs::remove_all(dir_ / "base");
  EXPECT_THAT(find(files), IsEmpty());
  EXPECT_THAT(must(Catalogue(state_).entries()), IsEmpty());
}

TEST_F(ReuseTest, ADirectoryInUseByAWriterIsLeftOut) {
  const Files files = small_checkpoint();
  hold_part("part", files, everything(*manifest_of(files)));
  {
    Rig writer;
    const auto target =
        must(Store::open_target(writer.environment(), {.directory = dir_ / "part"},
                                manifest_of(files), everything(*manifest_of(files))));
    EXPECT_THAT(find(files), IsEmpty());
  }
  EXPECT_THAT(find(files), SizeIs(1));
}

TEST_F(ReuseTest, ASourceIsLockedWhileItIsUsed) {
  const Files files = small_checkpoint();
  hold_part("part", files, everything(*manifest_of(files)));
  const auto sources = find(files);
  ASSERT_THAT(sources, SizeIs(1));
  Rig writer;
  EXPECT_EQ(Store::open_target(writer.environment(), {.directory = dir_ / "part"},
                               manifest_of(files), everything(*manifest_of(files)))
                .error()
                .code,
            Errc::kBusy);
}

TEST_F(ReuseTest, CancelledItFindsNothing) {
  const Files files = small_checkpoint();
  hold("base", files);
  const std::atomic<bool> cancel = true;
  EXPECT_THAT(find(files, &cancel), IsEmpty());
}

// --- the index (STO-46) ---

TEST_F(ReuseTest, AnIndexThatIsMissingOrDamagedIsMadeAgain) {
  const Files files = small_checkpoint();
  const auto manifest = manifest_of(files);
  hold("base", files);
  hold_part("part", small_checkpoint(2), everything(*manifest_of(small_checkpoint(2))));
  const fs::path indexed = model_meta_dir(state_, manifest->id()) / kDigestIndexName;
  EXPECT_EQ(must(DigestIndex::open(indexed, manifest->id())).pieces(), manifest->piece_count())
      << "made by indexing";
  write_file(indexed, "damaged");
  find(files);
  EXPECT_EQ(unfound(), 0U);
  EXPECT_TRUE(DigestIndex::open(indexed, manifest->id()));
  const fs::path fetched = dir_ / "part" / kMetaDirName / kDigestIndexName;
  EXPECT_TRUE(fs::exists(fetched)) << "looked into on the way";
  find(small_checkpoint(2));
  EXPECT_EQ(unfound(), 0U);
}

TEST_F(ReuseTest, AnIndexThatKnowsTooLittleIsMadeAgain) {
  const Files files = small_checkpoint();
  const auto manifest = manifest_of(files);
  hold("base", files);
  const fs::path file = model_meta_dir(state_, manifest->id()) / kDigestIndexName;
  must(DigestIndex::write(file, must(Manifest::from_root(*manifest->root_blob()))));
  ASSERT_EQ(must(DigestIndex::open(file, manifest->id())).pieces(), 0U);
  find(files);
  EXPECT_EQ(unfound(), 0U);
  EXPECT_EQ(must(DigestIndex::open(file, manifest->id())).pieces(), manifest->piece_count());
}

TEST_F(ReuseTest, WhereNoIndexCanBeWrittenItDoesWithout) {
  const Files files = small_checkpoint();
  hold("base", files);
  const fs::path file = model_meta_dir(state_, manifest_of(files)->id()) / kDigestIndexName;
  fs::remove(file);
  fs::create_directory(file.string() + ".new");  // stands in the way
  find(files);
  EXPECT_EQ(unfound(), 0U);
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(ReuseTest, AnIndexThatNamesWrongPiecesIsNotBelieved) {
  const Files files = small_checkpoint();
  const auto manifest = manifest_of(files);
  hold("base", files);
  const fs::path file = model_meta_dir(state_, manifest->id()) / kDigestIndexName;
  Bytes bytes = read_file(file);
  for (std::size_t at = 56; at + 12 <= bytes.size(); at += 24) bytes[at + 8] ^= std::byte{0x81};
  for (std::size_t at = 56 + 12; at + 12 <= bytes.size(); at += 24) bytes[at + 8] ^= std::byte{1};
  write_file(file, bytes);
  find(files);
  EXPECT_GT(unfound(), 0U);
}

}  // namespace
}  // namespace shardswarm::test
