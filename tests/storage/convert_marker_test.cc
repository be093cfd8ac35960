// Conversions that were decided and interrupted: completed by whoever comes, and only ours.
#include "storage/convert_marker.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <thread>

#include "tests/storage/convert_rig.h"

namespace shardswarm::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

std::string text_of(const fs::path& path) {
  const Bytes bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Each state between the marker and the end, as complete_conversion goes through them: files of the
// staging moved one by one, what belongs to the layout moved, old files removed.
class AfterMarkerTest : public ConvertTest {
 protected:
  // The directory as it is right after the marker: the old files, the staging, the marker.
  void make_marked(Layout from, Layout to) {
    fetch(target_, {}, from);
    fs::copy(target_, dir_ / "after", fs::copy_options::recursive);
    must(convert(dir_ / "after", to));
    const fs::path staging = target_ / ".shardswarm/convert";
    ConversionMarker marker;
    fs::create_directories(staging / ".shardswarm");
    for (const std::string_view name : kOfLayout) {
      const fs::path made = dir_ / "after/.shardswarm" / name;
      if (!fs::exists(made)) continue;
      fs::rename(made, staging / ".shardswarm" / name);
      marker.taken.emplace(name);
    }
    Files old = tree_of(target_);
    for (const auto& entry : fs::directory_iterator(dir_ / "after")) {
      if (entry.path().filename() == ".shardswarm") continue;
      fs::rename(entry.path(), staging / entry.path().filename());
    }
    for (const std::string& path : staged()) marker.moved.insert(path);
    for (const auto& [path, bytes] : old) {
      if (!path.starts_with('.') && !fs::exists(staging / path)) marker.removed.insert(path);
    }
    const Fd root(::open(target_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    must(write_conversion_marker(root.get(), manifest_->id(), marker));
    removed_ = marker.removed;
    fs::remove_all(dir_ / "after");
  }
  std::vector<std::string> staged() const {
    std::vector<std::string> paths;
    for (const auto& [path, bytes] : tree_of(target_ / ".shardswarm/convert")) {
      if (!path.starts_with('.')) paths.push_back(path);
    }
    return paths;
  }
  void open_somehow(int how) {
    Rig rig;
    std::vector<std::string> warnings;
    if (how == 0) {
      must(Store::open_source(rig.environment(),
                              {.directory = target_, .state_directory = dir_ / "s"}, warnings));
      EXPECT_TRUE(warnings.empty());
    } else if (how == 1) {
      const auto store = must(Store::open_target(
          rig.environment(), {.directory = target_, .step = HoldingStep{false, {}}}, manifest_,
          must(resolved({}))));
      EXPECT_TRUE((store->wanted() - store->have()).empty());
      must(rig.finish(*store));
    } else {
      EXPECT_TRUE(
          must(verify_directory(rig.environment(), target_, dir_ / "s", true)).wrong.empty());
    }
  }

  std::set<std::string> removed_;  // files of the old layout alone
};

TEST_F(AfterMarkerTest, WhoeverOpensTheDirectoryNextCompletesIt) {
  constexpr std::array<std::pair<Layout, Layout>, 3> kCases = {
      {{Layout::kOriginal, Layout::kCompact},
       {Layout::kCompact, Layout::kOriginal},
       {Layout::kCompact, Layout::kMirror}}};
  for (const auto& [from, to] : kCases) {
    for (std::size_t moved = 0; moved < 16 && !HasFailure(); ++moved) {
      SCOPED_TRACE(testing::Message()
                   << layout_name(from) << " to " << layout_name(to) << ", " << moved << " steps");
      fs::remove_all(target_);
      make_marked(from, to);
      std::size_t left = moved;
      const fs::path staging = target_ / ".shardswarm/convert";
      for (const std::string& path : staged()) {
        if (left == 0) break;
        --left;
        fs::rename(staging / path, target_ / path);
      }
      for (const char* name : {"cut", "original", "incoming", "holding", "ledger"}) {
        if (left == 0) break;
        --left;
        fs::remove_all(target_ / ".shardswarm" / name);
        if (left == 0) break;  // removed, and not there in its new form yet
        --left;
        if (fs::exists(staging / ".shardswarm" / name)) {
          fs::rename(staging / ".shardswarm" / name, target_ / ".shardswarm" / name);
        }
      }
      if (left > 0) {
        for (const std::string& path : removed_) fs::remove(target_ / path);
        fs::remove_all(staging);
      }
      open_somehow(static_cast<int>(moved % 3));
      expect_right(target_, to, all());
    }
  }
}

// A marker that is not ours deletes nothing.
TEST_F(AfterMarkerTest, AMarkerThatIsDamagedOrOfAnotherModelIsRefused) {
  make_marked(Layout::kCompact, Layout::kOriginal);
  const fs::path path = target_ / ".shardswarm/converted";
  const std::string good = text_of(path);
  const auto expect_refused = [&](Errc code) {
    const Files before = tree_of(target_);
    Rig rig;
    std::vector<std::string> warnings;
    const auto source = Store::open_source(rig.environment(), {.directory = target_}, warnings);
    ASSERT_FALSE(source);
    EXPECT_EQ(source.error().code, code);
    EXPECT_THAT(source.error().message, HasSubstr("converted"));
    EXPECT_EQ(open(rig, target_, {}).error().code, code);
    EXPECT_EQ(tree_of(target_), before);
  };
  for (std::size_t i = 0; i < good.size(); i += 41) {
    SCOPED_TRACE(i);
    write_file(path, good.substr(0, i));
    expect_refused(Errc::kMalformed);
    std::string changed = good;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    write_file(path, changed);
    expect_refused(Errc::kMalformed);
  }
  const Fd root(::open(target_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  must(write_conversion_marker(root.get(), sha256(bytes_of("another")), {}));
  expect_refused(Errc::kMalformed);
  for (const ConversionMarker& marker :
       {ConversionMarker{.moved = {"../x"}, .taken = {}, .removed = {}},
        ConversionMarker{.moved = {}, .taken = {"root"}, .removed = {}},
        ConversionMarker{.moved = {}, .taken = {}, .removed = {".shardswarm/root"}}}) {
    must(write_conversion_marker(root.get(), manifest_->id(), marker));
    expect_refused(Errc::kMalformed);
  }
  fs::remove(path);
  write_file(dir_ / "elsewhere", good);
  fs::create_symlink(dir_ / "elsewhere", path);
  expect_refused(Errc::kForeign);
  fs::remove(path);
  write_file(path, good);
  open_somehow(0);
  expect_right(target_, Layout::kOriginal, all());
}

TEST_F(AfterMarkerTest, AStagingThatIsALinkIsRefused) {
  make_marked(Layout::kCompact, Layout::kOriginal);
  const fs::path staging = target_ / ".shardswarm/convert";
  fs::rename(staging, dir_ / "moved");
  fs::create_directory_symlink(dir_ / "moved", staging);
  Rig rig;
  EXPECT_EQ(open(rig, target_, {}).error().code, Errc::kForeign);
  fs::remove(staging);
  fs::rename(dir_ / "moved", staging);
  open_somehow(1);
  expect_right(target_, Layout::kOriginal, all());
  fs::create_directory_symlink(dir_ / "moved", staging);
  EXPECT_EQ(convert(target_, Layout::kCompact).error().code, Errc::kForeign);
}

// Of several that find the marker one completes it; the others wait for no marker that is gone.
TEST_F(AfterMarkerTest, ManyOpenItAtOnce) {
  make_marked(Layout::kOriginal, Layout::kCompact);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Rig rig;
      for (int tries = 0; tries < 50; ++tries) {
        std::vector<std::string> warnings;
        const auto source = Store::open_source(rig.environment(), {.directory = target_}, warnings);
        if (source) return;
        EXPECT_EQ(source.error().code, Errc::kBusy) << source.error().message;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  open_somehow(0);
  expect_right(target_, Layout::kCompact, all());
}

}  // namespace
}  // namespace shardswarm::test
