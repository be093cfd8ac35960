// Telling peers which pieces came: HAVE, for several pieces at a time, and LOST.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/time.h"
#include "piece/piece_set.h"

namespace shardswarm {

struct Context;
struct Model;

// Of a model.
class AnnouncementRecord {
 public:
  AnnouncementRecord() = default;
  explicit AnnouncementRecord(std::uint32_t pieces) : waiting_(pieces) {}
  // Whether every piece that came was announced.
  bool done() const { return waiting_.empty(); }

 private:
  friend class Announcements;
  PieceSet waiting_;
  Time since_{};  // when the first of them came
};

class Announcements {
 public:
  explicit Announcements(Context& context) : context_(context) {}

  static void came(Model& model, const PieceSet& pieces, Time now);
  static void came(Model& model, PieceIndex piece, Time now);
  // Tells what is due: at once if the fetch is complete or many pieces wait.
  void announce(Model& model, Time now);
  // These pieces could not be read any more; `have` are left.
  void lost(Model& model, const PieceSet& have, std::span<const PieceRun> lost);
  std::optional<Time> next_deadline(const Model& model) const;

 private:
  Duration delay(const Model& model) const;

  Context& context_;
};

}  // namespace shardswarm
