#include "storage/reuse.h"

#include <algorithm>
#include <cstdint>

#include "base/bytes.h"
#include "storage/catalogue.h"
#include "storage/digest_index.h"
#include "storage/ledger.h"
#include "storage/meta_dir.h"

namespace shardswarm {
namespace {

namespace fs = std::filesystem;

// Digests looked up at once: what is held of a large model in memory stays small.
constexpr std::size_t kBatch = 16384;

// The index of what a directory's manifest knows, made where it is missing or knows less.
Result<DigestIndex> index_of(const fs::path& meta, const Manifest& root) {
  const ModelId& model = root.id();
  const fs::path file = meta / kDigestIndexName;
  if (auto index = DigestIndex::open(file, model);
      index && index->pieces() >= kept_pieces(meta, root)) {
    return index;
  }
  const auto manifest = load_manifest_from(meta);
  if (!manifest) return std::unexpected(manifest.error());
  if ((*manifest)->id() != model) {
    return fail(Errc::kMalformed, meta.string() + " is of another model");
  }
  if (DigestIndex::write(file, **manifest)) {
    if (auto index = DigestIndex::open(file, model)) return index;
  }
  return DigestIndex::in_memory(**manifest);
}

// A wanted piece, ordered by digest without keeping the digests.
struct Wanted {
  std::uint64_t prefix = 0;
  PieceIndex piece;
};

struct Candidate {
  CatalogueEntry entry;
  DigestIndex index;
  PieceSet recorded;        // by its ledger; which files changed since shows when it is opened
  std::size_t matches = 0;  // wanted pieces that it may have
};

// Wanted pieces [first, last) have one digest, which `theirs` may have too.
struct Match {
  std::size_t first = 0;
  std::size_t last = 0;
  PieceIndex theirs;
};

class ReusableFinder {
 public:
  ReusableFinder(const Manifest& manifest, const PieceSet& missing) : manifest_(manifest) {
    missing.for_each([&](PieceIndex piece) {
      if (manifest.needs_piece_list(manifest.file_of(piece))) return;
      wanted_.push_back({big_endian_at<std::uint64_t>(manifest.digest(piece).bytes, 0), piece});
    });
    std::ranges::sort(wanted_, [&](const Wanted& a, const Wanted& b) {
      if (a.prefix != b.prefix) return a.prefix < b.prefix;
      const Digest of_a = manifest.digest(a.piece);
      const Digest of_b = manifest.digest(b.piece);
      return of_a != of_b ? of_a < of_b : a.piece < b.piece;
    });
  }

  bool done() const { return wanted_.empty(); }

  // What a directory may have of the pieces that have no source yet.
  std::vector<Match> matches(Candidate& candidate) const {
    std::vector<Match> found;
    for (std::size_t at = 0; at < wanted_.size();) {
      std::vector<Digest> digests;
      std::vector<std::size_t> groups = {at};  // where each begins, and the end
      while (at < wanted_.size() && digests.size() < kBatch) {
        digests.push_back(manifest_.digest(wanted_[at].piece));
        while (at < wanted_.size() && manifest_.digest(wanted_[at].piece) == digests.back()) ++at;
        groups.push_back(at);
      }
      const auto answers = candidate.index.find(digests);
      if (!answers) return found;  // it shrank: what it told until then may do
      for (const DigestMatch& match : *answers) {
        const bool known = match.piece.value < candidate.recorded.size();
        if (!known || !candidate.recorded.contains(match.piece)) continue;
        found.push_back({groups[match.at], groups[match.at + 1], match.piece});
      }
    }
    return found;
  }

  // Takes from `matches` what the store really has; its pieces are not looked for any more.
  std::vector<std::pair<PieceIndex, PieceIndex>> take(const std::vector<Match>& matches,
                                                      const Store& store) {
    const Manifest& other = store.manifest();
    std::vector<std::pair<PieceIndex, PieceIndex>> pieces;
    PieceSet taken(manifest_.piece_count());
    for (const Match& match : matches) {
      const PieceIndex ours = wanted_[match.first].piece;
      if (taken.contains(ours) || !store.have().contains(match.theirs)) continue;
      if (other.digest(match.theirs) != manifest_.digest(ours)) continue;
      for (std::size_t i = match.first; i < match.last; ++i) {
        taken.insert(wanted_[i].piece);
        pieces.emplace_back(wanted_[i].piece, match.theirs);
      }
    }
    std::erase_if(wanted_, [&](const Wanted& wanted) { return taken.contains(wanted.piece); });
    std::ranges::sort(pieces, {}, &std::pair<PieceIndex, PieceIndex>::second);
    return pieces;
  }

 private:
  const Manifest& manifest_;
  std::vector<Wanted> wanted_;  // without a source, by digest
};

std::size_t count(const std::vector<Match>& matches) {
  std::size_t pieces = 0;
  std::size_t end = 0;  // several matches may be of the same pieces
  for (const Match& match : matches) {
    if (match.last > end) pieces += match.last - match.first;
    end = match.last;
  }
  return pieces;
}

Result<Candidate> look_into(const CatalogueEntry& entry, const fs::path& state) {
  const auto record = find_record(entry.directory, state);
  if (!record) return std::unexpected(record.error());
  const auto root = load_root(record->meta);
  if (!root) return std::unexpected(root.error());
  const auto head = Ledger::read_head(record->ledger);
  if (!head) return std::unexpected(head.error());
  auto recorded = Ledger::read_recorded(record->ledger, root->piece_count());
  if (!recorded) return std::unexpected(recorded.error());
  if (root->id() != entry.model || head->model != entry.model) {
    return fail(Errc::kMalformed, record->meta.string() + " is of another model");
  }
  auto index = index_of(record->meta, *root);
  if (!index) return std::unexpected(index.error());
  return Candidate{entry, std::move(*index), std::move(*recorded)};
}

// Directories that may have something, those that may have most first. What cannot be looked into
// has nothing for us.
std::vector<Candidate> candidates(const fs::path& state, const fs::path& not_here,
                                  const ReusableFinder& finder, const std::atomic<bool>* cancel) {
  const auto entries = Catalogue(state).entries();
  if (!entries) return {};
  std::error_code ec;
  const fs::path own = fs::canonical(not_here, ec);  // nothing is there: nothing to leave out
  std::vector<Candidate> found;
  for (const CatalogueEntry& entry : *entries) {
    if (cancel != nullptr && cancel->load()) return {};
    if (entry.directory == own) continue;
    auto candidate = look_into(entry, state);
    if (!candidate) continue;
    candidate->matches = count(finder.matches(*candidate));
    if (candidate->matches > 0) found.push_back(std::move(*candidate));
  }
  std::ranges::sort(found, [](const Candidate& a, const Candidate& b) {
    return a.matches != b.matches ? a.matches > b.matches : a.entry.directory < b.entry.directory;
  });
  return found;
}

}  // namespace

std::vector<ReuseSource> find_reusable(const StorageEnvironment& environment,
                                       const ReuseQuery& query, const Manifest& manifest,
                                       const PieceSet& missing) {
  const std::atomic<bool>* cancel = query.cancel;
  std::vector<ReuseSource> sources;
  ReusableFinder finder(manifest, missing);
  if (finder.done()) return sources;
  for (Candidate& candidate : candidates(query.state_directory, query.not_here, finder, cancel)) {
    if (cancel != nullptr && cancel->load()) return {};
    if (finder.done()) break;
    const auto matches = finder.matches(candidate);
    if (matches.empty()) continue;     // others gave it all
    std::vector<std::string> ignored;  // of files that changed: their pieces come from elsewhere
    auto store = Store::open_source(environment,
                                    {.directory = candidate.entry.directory,
                                     .state_directory = query.state_directory,
                                     .recheck = query.for_copying,
                                     .lock = query.for_copying,
                                     .cancel = cancel},
                                    ignored);
    // Busy, unreadable, or another model's by now.
    if (!store || (*store)->manifest().id() != candidate.entry.model) continue;
    auto pieces = finder.take(matches, **store);
    if (!pieces.empty()) sources.push_back({std::move(*store), std::move(pieces)});
  }
  return sources;
}

}  // namespace shardswarm
