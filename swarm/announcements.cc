#include "swarm/announcements.h"

#include <algorithm>

#include "swarm/context.h"

namespace shardswarm {
namespace {

// HAVE waits for further pieces, at least so long; see CoreOptions::have_delay_per_peer.
constexpr Duration kAnnounceDelayMin = std::chrono::milliseconds(5);
constexpr std::uint32_t kAnnounceAtOnce = 64;  // pieces

}  // namespace

void Announcements::came(Model& model, const PieceSet& pieces, Time now) {
  AnnouncementRecord& record = model.announcements;
  if (record.waiting_.empty()) record.since_ = now;
  record.waiting_ |= pieces;
}

void Announcements::came(Model& model, PieceIndex piece, Time now) {
  AnnouncementRecord& record = model.announcements;
  if (record.waiting_.empty()) record.since_ = now;
  record.waiting_.insert(piece);
}

Duration Announcements::delay(const Model& model) const {
  return std::max(kAnnounceDelayMin, model.introduced * context_.options.have_delay_per_peer);
}

void Announcements::announce(Model& model, Time now) {
  AnnouncementRecord& record = model.announcements;
  if (record.waiting_.empty()) return;
  const auto* fetch = std::get_if<Fetching>(&model.role);
  const bool complete = fetch != nullptr && fetch->complete;
  if (record.waiting_.count() < kAnnounceAtOnce && !complete &&
      now - record.since_ < delay(model)) {
    return;
  }
  const auto runs = record.waiting_.runs();
  record.waiting_.clear();
  context_.each_introduced(model,
                           [&](Link& link, LinkModel& at) { link.session.have(at.channel, runs); });
}

void Announcements::lost(Model& model, const PieceSet& have, std::span<const PieceRun> lost) {
  model.announcements.waiting_ &= have;
  context_.each_introduced(model,
                           [&](Link& link, LinkModel& at) { link.session.lost(at.channel, lost); });
}

std::optional<Time> Announcements::next_deadline(const Model& model) const {
  if (model.announcements.done()) return std::nullopt;
  return model.announcements.since_ + delay(model);
}

}  // namespace shardswarm
