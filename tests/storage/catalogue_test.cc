// What this machine holds, and forgetting it.
#include "storage/catalogue.h"

#include <gmock/gmock.h>

#include <thread>

#include "storage/indexer.h"
#include "storage/meta_dir.h"
#include "tests/storage/rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class CatalogueTest : public testing::Test {
 protected:
  // A directory that was indexed and registered.
  CatalogueEntry index(const fs::path& directory, std::uint64_t seed = 1) {
    write_file(directory / "config.json", "{\"seed\":" + std::to_string(seed) + "}");
    Workers workers(1);
    const auto report =
        must(index_directory({.directory = directory, .state_directory = state_}, workers));
    must(catalogue_.add(directory, report.manifest->id()));
    return {fs::canonical(directory), report.manifest->id()};
  }
  CatalogueEntry fetch(const fs::path& directory) {
    const Files files = {{"config.json", bytes_of("{}")}};
    const auto manifest = manifest_of(files);
    Rig rig;
    rig.fetch(directory, manifest, everything(*manifest), files);
    must(catalogue_.add(directory, manifest->id()));
    return {fs::canonical(directory), manifest->id()};
  }
  std::vector<CatalogueEntry> entries() { return must(catalogue_.entries()); }
  fs::path entry_file(const fs::path& directory) const {
    return state_ / "catalogue" / must(directory_ledger(state_, directory)).filename();
  }
  bool manifest_kept(const CatalogueEntry& entry) const {
    return fs::exists(model_meta_dir(state_, entry.model));
  }

  TempDir dir_;
  fs::path state_ = dir_ / "state";
  Catalogue catalogue_{state_};
};

// --- adding (STO-40, STO-41) ---

TEST_F(CatalogueTest, WithoutAStateDirectoryNothingIsHeld) {
  EXPECT_THAT(entries(), IsEmpty());
  EXPECT_FALSE(fs::exists(state_));
}

TEST_F(CatalogueTest, WhatWasAddedIsListedByDirectory) {
  const auto b = index(dir_ / "b", 2);
  const auto c = fetch(dir_ / "c");
  const auto a = index(dir_ / "a", 1);
  EXPECT_THAT(entries(), ElementsAre(a, b, c));
  must(catalogue_.add(dir_ / "b", b.model));
  EXPECT_THAT(entries(), ElementsAre(a, b, c));
}

TEST_F(CatalogueTest, ADirectoryIsTheSameByWhateverName) {
  const auto a = index(dir_ / "a");
  fs::create_directory_symlink(dir_ / "a", dir_ / "link");
  must(catalogue_.add(dir_ / "link", a.model));
  must(catalogue_.add(dir_ / "a" / ".." / "a" / "", a.model));
  EXPECT_THAT(entries(), ElementsAre(a));
  must(catalogue_.forget(dir_ / "link" / ""));
  EXPECT_THAT(entries(), IsEmpty());
}

TEST_F(CatalogueTest, ADirectoryWithAnotherModelNowIsListedWithThat) {
  const auto before = index(dir_ / "a", 1);
  const auto now = index(dir_ / "a", 2);
  ASSERT_NE(before, now);
  EXPECT_THAT(entries(), ElementsAre(now));
}

TEST_F(CatalogueTest, PathsMayHoldAnyBytes) {
  const auto odd = index(dir_ / "we\"ird\\ 100%\n\xff\xc3\xa4");
  EXPECT_THAT(entries(), ElementsAre(odd));
  const Bytes file = read_file(entry_file(odd.directory));
  EXPECT_TRUE(std::ranges::all_of(file, [](std::byte b) { return b < std::byte{0x7f}; }));
}

TEST_F(CatalogueTest, NoDirectoryCannotBeAdded) {
  EXPECT_EQ(catalogue_.add(dir_ / "nothing", ModelId{}).error().code, Errc::kNotFound);
}

TEST_F(CatalogueTest, WhatIsRegisteredAlreadyNeedsNoWriting) {
  const auto a = index(dir_ / "a");
  fs::remove(state_ / "catalogue" / "lock");
  fs::create_directory(state_ / "catalogue" / "lock");  // cannot be opened
  EXPECT_TRUE(catalogue_.add(dir_ / "a", a.model));
  EXPECT_FALSE(catalogue_.add(dir_ / "a", ModelId{}));
}

// --- dropping (STO-42) ---

TEST_F(CatalogueTest, DirectoriesThatAreGoneAreDropped) {
  const auto a = index(dir_ / "a", 1);
  index(dir_ / "b", 2);
  fetch(dir_ / "c");
  fs::rename(dir_ / "b", dir_ / "away");
  fs::remove_all(dir_ / "c");
  EXPECT_THAT(entries(), ElementsAre(a));
  fs::rename(dir_ / "away", dir_ / "b");
  EXPECT_THAT(entries(), ElementsAre(a)) << "dropped, not hidden";
}

TEST_F(CatalogueTest, DirectoriesThatHoldSomethingElseAreDropped) {
  auto other = index(dir_ / "a", 1);
  other.model = sha256({});
  must(catalogue_.add(dir_ / "a", other.model));
  EXPECT_THAT(entries(), IsEmpty());
  index(dir_ / "b", 2);
  fs::remove(must(directory_ledger(state_, dir_ / "b")));
  EXPECT_THAT(entries(), IsEmpty());
  fetch(dir_ / "c");
  fs::remove_all(dir_ / "c" / kMetaDirName);
  EXPECT_THAT(entries(), IsEmpty());
  index(dir_ / "d", 3);
  fs::remove_all(dir_ / "d");
  write_file(dir_ / "d", "a file");
  EXPECT_THAT(entries(), IsEmpty());
  for (const auto& entry : fs::directory_iterator(state_ / "catalogue")) {
    EXPECT_EQ(entry.path().filename(), "lock");
  }
}

TEST_F(CatalogueTest, DamagedEntriesAreDropped) {
  const auto a = index(dir_ / "a", 1);
  index(dir_ / "b", 2);
  const fs::path file = entry_file(dir_ / "b");
  const Bytes good = read_file(file);
  const std::string text(reinterpret_cast<const char*>(good.data()), good.size());
  const std::string path = "\"directory\":\"" + (dir_ / "b").string();
  const std::string of_a = "\"directory\":\"" + (dir_ / "a").string();
  ASSERT_THAT(text, HasSubstr(path));
  const auto with = [&](const std::string& instead) {
    std::string changed = text;
    return changed.replace(changed.find(path), path.size(), instead);
  };
  for (const std::string& bad :
       {std::string(), std::string("{}"), std::string("["), text.substr(0, text.size() / 2),
        std::string("{\"directory\":1,\"model\":2}"), with(of_a), with(path + "%4"),
        with(path + "%zz"), with("\"directory\":\"b"), text + std::string(1 << 20, ' ')}) {
    SCOPED_TRACE(bad.substr(0, 100));
    write_file(file, bad);
    EXPECT_THAT(entries(), ElementsAre(a));
    EXPECT_FALSE(fs::exists(file));
  }
  write_file(file, good);
  EXPECT_THAT(entries(), SizeIs(2));
}

TEST_F(CatalogueTest, WhereNothingCanBeWrittenTheyAreLeftOut) {
  const auto a = index(dir_ / "a", 1);
  index(dir_ / "b", 2);
  const fs::path file = entry_file(dir_ / "b");
  fs::remove_all(dir_ / "b");
  fs::remove(state_ / "catalogue" / "lock");
  fs::create_directory(state_ / "catalogue" / "lock");
  EXPECT_THAT(entries(), ElementsAre(a));
  EXPECT_TRUE(fs::exists(file));
}

// --- forgetting (STO-43) ---

TEST_F(CatalogueTest, AnIndexedDirectoryIsForgottenWithLedgerAndManifest) {
  const auto a = index(dir_ / "a", 1);
  const auto b = index(dir_ / "b", 2);
  must(catalogue_.forget(dir_ / "a"));
  EXPECT_THAT(entries(), ElementsAre(b));
  EXPECT_FALSE(fs::exists(must(directory_ledger(state_, dir_ / "a"))));
  EXPECT_FALSE(manifest_kept(a));
  EXPECT_TRUE(manifest_kept(b));
  EXPECT_TRUE(fs::exists(dir_ / "a" / "config.json"));
  index(dir_ / "a", 1);
  EXPECT_THAT(entries(), ElementsAre(a, b));
}

TEST_F(CatalogueTest, TheManifestStaysWhileAnotherDirectoryNeedsIt) {
  const auto a = index(dir_ / "a");
  const auto b = index(dir_ / "b");
  ASSERT_EQ(a.model, b.model);
  must(catalogue_.forget(dir_ / "a"));
  EXPECT_TRUE(manifest_kept(b));
  // A ledger is enough: its directory may have been indexed before there was a catalogue.
  index(dir_ / "a");
  fs::remove(entry_file(dir_ / "b"));
  must(catalogue_.forget(dir_ / "a"));
  EXPECT_TRUE(manifest_kept(b));
}

TEST_F(CatalogueTest, AFetchedDirectoryIsNotTouched) {
  const auto c = fetch(dir_ / "c");
  const Bytes ledger = read_file(dir_ / "c" / kMetaDirName / "ledger");
  must(catalogue_.forget(dir_ / "c"));
  EXPECT_THAT(entries(), IsEmpty());
  EXPECT_EQ(read_file(dir_ / "c" / kMetaDirName / "ledger"), ledger);
  EXPECT_EQ(must(load_manifest_from(dir_ / "c" / kMetaDirName))->id(), c.model);
}

TEST_F(CatalogueTest, ADirectoryThatIsGoneCanBeForgotten) {
  const auto a = index(dir_ / "a");
  fs::remove_all(dir_ / "a");
  must(catalogue_.forget(dir_ / "a" / ""));
  EXPECT_FALSE(manifest_kept(a));
  EXPECT_THAT(entries(), IsEmpty());
}

TEST_F(CatalogueTest, WhatIsNotRegisteredIsNotFound) {
  for (int round = 0; round < 2; ++round) {
    const auto forgotten = catalogue_.forget(dir_ / "nothing");
    ASSERT_FALSE(forgotten);
    EXPECT_EQ(forgotten.error().code, Errc::kNotFound);
    EXPECT_THAT(forgotten.error().message, HasSubstr("nothing"));
    index(dir_ / "a");
  }
}

// --- several at once ---

TEST_F(CatalogueTest, SeveralMayAddForgetAndListAtOnce) {
  const auto stays = index(dir_ / "stays", 1);
  const auto comes = index(dir_ / "comes", 2);
  const auto all_right = [](const Result<void>& result) {
    return result || result.error().code == Errc::kNotFound;
  };
  const auto work = [&] {
    Catalogue own(state_);
    for (int i = 0; i < 50; ++i) {
      EXPECT_TRUE(own.add(comes.directory, comes.model));
      EXPECT_TRUE(own.add(stays.directory, stays.model));
      const auto entries = own.entries();
      ASSERT_TRUE(entries);
      EXPECT_THAT(*entries, testing::Contains(stays));
      EXPECT_TRUE(all_right(own.forget(comes.directory)));
    }
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_THAT(entries(), ElementsAre(stays));
}

}  // namespace
}  // namespace shardswarm::test
