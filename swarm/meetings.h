// Models and peers: on which connections a model is open, and what each side says that it has and
// wants of it. Once both know the model and it is active here, it is *introduced* on the
// connection: from then on they may exchange what they have.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "wire/session.h"

namespace shardswarm {

struct Context;
struct Link;
struct LinkModel;
struct Model;

class Meetings {
 public:
  explicit Meetings(Context& context) : context_(context) {}

  void open(Link& link, Model& model);
  // Opens a model that is new or has become active on every connection, and takes up with the peers
  // that opened it before.
  void meet_everybody(Model& model, Time now);
  void introduce(Link& link, Model& model, LinkModel& at, Time now);
  // The peer is gone, or knows the model no more.
  static void part(Link& link, Model& model, LinkModel& at, std::string_view why, Time now);
  // The model is here no more, and erased. A connection that is in the middle of one of its pieces
  // is closed.
  void forget(Model& model);

  // --- what a peer said ---
  void have(Link& link, Model& model, const event::Have& e, Time now);
  void lost(Link& link, Model& model, const event::Lost& e, Time now);
  // WANT. False: it broke a rule, and the connection is closed.
  bool wants(Link& link, Model& model, const event::Want& e, Time now);
  // Whether these pieces are of the model; else it broke the protocol. REQUIRES: the manifest is
  // known, as for may_name().
  bool within(Link& link, const Model& model, std::span<const PieceRun> pieces);

 private:
  bool may_name(Link& link, const Model& model, std::span<const PieceRun> pieces,
                std::uint32_t times, Time now);
  static void note_tally(Link& link, Model& model, LinkModel& at);

  Context& context_;
};

}  // namespace shardswarm
