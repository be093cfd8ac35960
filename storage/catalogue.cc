#include "storage/catalogue.h"

#include <fcntl.h>
#include <simdjson.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/limits.h"
#include "storage/ledger.h"
#include "storage/meta_dir.h"
#include "storage/path_escape.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

// A path of PATH_MAX bytes, each escaped, and the rest.
constexpr std::uint64_t kEntryBytesMax = 16 * limits::kKiB;

std::string entry_name(const fs::path& canonical) {
  const std::string text = canonical.string();
  return to_hex(sha256(std::as_bytes(std::span(text))));
}

// Also of a directory that is gone: the name that it had.
fs::path canonical_name(const fs::path& directory) {
  std::error_code ec;
  fs::path path = fs::absolute(directory, ec);
  if (!ec) path = fs::weakly_canonical(path, ec);
  if (ec) return directory;
  return path.has_filename() ? path : path.parent_path();
}

std::string encode(const CatalogueEntry& entry) {
  return "{\"directory\":\"" + escape_path(entry.directory.string()) + "\",\"model\":\"" +
         to_hex(entry.model) + "\"}\n";
}

// Nothing when the file is damaged, or not what its name says.
std::optional<CatalogueEntry> read_entry(const fs::path& file) {
  auto bytes = read_small_file(file, kEntryBytesMax);
  if (!bytes || bytes->empty()) return std::nullopt;
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  std::string_view directory;
  std::string_view model;
  const char* text = reinterpret_cast<const char*>(bytes->data());
  if (parser.parse(text, bytes->size(), true).get(root) != simdjson::SUCCESS ||
      root["directory"].get(directory) != simdjson::SUCCESS ||
      root["model"].get(model) != simdjson::SUCCESS) {
    return std::nullopt;
  }
  auto path = unescape_path(directory);
  const auto id = digest_from_hex(model);
  if (!path || !id) return std::nullopt;
  CatalogueEntry entry{.directory = std::move(*path), .model = *id};
  if (!entry.directory.is_absolute() || entry_name(entry.directory) != file.filename()) {
    return std::nullopt;
  }
  return entry;
}

// Only what is certain: a directory that cannot be looked into now may be there.
bool is_stale(const CatalogueEntry& entry, const fs::path& state) {
  std::error_code ec;
  const auto type = fs::status(entry.directory, ec).type();
  if (type == fs::file_type::not_found) return true;
  if (type == fs::file_type::none) return false;
  const auto own = fs::status(entry.directory / kMetaDirName / "root", ec).type();
  if (type == fs::file_type::directory && own == fs::file_type::none) return false;
  const auto record = find_record(entry.directory, state);
  if (!record) return record.error().code == Errc::kNotFound;
  const auto head = Ledger::read_head(record->ledger);
  if (head) return head->model != entry.model;
  return head.error().code == Errc::kNotFound || head.error().code == Errc::kMalformed ||
         head.error().code == Errc::kVersion;
}

bool should_drop(const fs::path& file, const fs::path& state) {
  const auto entry = read_entry(file);
  return !entry || is_stale(*entry, state);
}

// Held while the catalogue is changed, for moments only; waits.
Result<Fd> lock_catalogue(const fs::path& folder) {
  const fs::path path = folder / "lock";
  Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (!fd) return fail_errno(errno, "cannot open " + path.string());
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return fail_errno(errno, "cannot lock " + path.string());
  }
  return fd;
}

// Files of entries; none where there is no catalogue yet.
Result<std::vector<fs::path>> entry_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ec;
  fs::directory_iterator at(folder, ec);
  while (!ec && at != fs::directory_iterator()) {
    if (digest_from_hex(at->path().filename().string())) files.push_back(at->path());
    at.increment(ec);
  }
  if (ec && ec != std::errc::no_such_file_or_directory) {
    return fail_errno(ec.value(), "cannot read " + folder.string());
  }
  return files;
}

// Whether an entry or the ledger of an indexed directory is of this model: directories that were
// indexed and never registered have a ledger alone. What cannot be listed may hold it.
bool is_held(const fs::path& state, const ModelId& model) {
  const auto entries = entry_files(state / "catalogue");
  const auto ledgers = entry_files(state / "directories");
  if (!entries || !ledgers) return true;
  return std::ranges::any_of(*entries,
                             [&](const fs::path& file) {
                               const auto entry = read_entry(file);
                               return entry && entry->model == model;
                             }) ||
         std::ranges::any_of(*ledgers, [&](const fs::path& file) {
           const auto head = Ledger::read_head(file);
           return head && head->model == model;
         });
}

}  // namespace

Catalogue::Catalogue(fs::path state_directory) : state_(std::move(state_directory)) {}

Result<void> Catalogue::add(const fs::path& directory, const ModelId& model) {
  std::error_code ec;
  const CatalogueEntry entry{.directory = fs::canonical(directory, ec), .model = model};
  if (ec) return fail_errno(ec.value(), "cannot open " + directory.string());
  const fs::path folder = state_ / "catalogue";
  const fs::path file = folder / entry_name(entry.directory);
  if (read_entry(file) == entry) return {};  // nothing to write where nothing may be written
  fs::create_directories(folder, ec);
  if (ec) return fail_errno(ec.value(), "cannot make folder " + folder.string());
  const auto lock = lock_catalogue(folder);
  if (!lock) return std::unexpected(lock.error());
  const std::string text = encode(entry);
  return replace_file(file, std::as_bytes(std::span(text)));
}

Result<std::vector<CatalogueEntry>> Catalogue::entries() {
  const fs::path folder = state_ / "catalogue";
  const auto files = entry_files(folder);
  if (!files) return std::unexpected(files.error());
  std::vector<CatalogueEntry> entries;
  std::vector<fs::path> dropped;
  for (const fs::path& file : *files) {
    auto entry = read_entry(file);
    if (entry && !is_stale(*entry, state_)) {
      entries.push_back(std::move(*entry));
    } else {
      dropped.push_back(file);
    }
  }
  if (!dropped.empty()) {
    // Looked at again under the lock: it may have been registered anew since. Where nothing can be
    // written they stay, and are left out all the same.
    if (const auto lock = lock_catalogue(folder)) {
      std::error_code ignored;
      for (const fs::path& file : dropped) {
        if (should_drop(file, state_)) fs::remove(file, ignored);
      }
    }
  }
  std::ranges::sort(entries, {}, &CatalogueEntry::directory);
  return entries;
}

Result<void> Catalogue::forget(const fs::path& directory) {
  const fs::path folder = state_ / "catalogue";
  const std::string name = entry_name(canonical_name(directory));
  const auto not_found = [&] {
    return fail(Errc::kNotFound,
                directory.string() + " is not in the list: `shardswarm list` shows what is");
  };
  std::error_code ec;
  if (!fs::exists(folder / name, ec)) return not_found();
  const auto lock = lock_catalogue(folder);
  if (!lock) return std::unexpected(lock.error());
  const auto entry = read_entry(folder / name);
  if (!fs::remove(folder / name, ec)) {
    if (!ec) return not_found();
    return fail_errno(ec.value(), "cannot remove " + (folder / name).string());
  }
  fs::remove(state_ / "directories" / name, ec);
  if (ec) return fail_errno(ec.value(), "cannot remove the ledger of " + directory.string());
  if (!entry || is_held(state_, entry->model)) return {};
  const fs::path meta = model_meta_dir(state_, entry->model);
  // The root first: without it the rest counts as nothing.
  fs::remove(meta / "root", ec);
  if (!ec) fs::remove_all(meta, ec);
  if (ec) return fail_errno(ec.value(), "cannot remove " + meta.string());
  return {};
}

}  // namespace shardswarm
