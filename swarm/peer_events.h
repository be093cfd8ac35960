// What a peer said: each event of a session goes to the parts of the core that it concerns, after
// what holds for all of them was checked: that the model is here, and the pieces are of it.
//
// Not thread-safe. Time is handed in.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "swarm/parts.h"
#include "wire/session.h"

namespace shardswarm {

class PeerEvents {
 public:
  explicit PeerEvents(Parts& parts) : parts_(parts), context_(parts.context) {}

  // Takes the session's events, and answers them.
  void drain(Link& link, Time now);

 private:
  void on(Link& link, event::Ready&& e, Time now);
  void on(Link& link, const event::Opened& e, Time now);
  void on(Link& link, const event::UnknownModel& e, Time now);
  void on(Link& link, const event::Have& e, Time now);
  void on(Link& link, const event::Lost& e, Time now);
  void on(Link& link, const event::Want& e, Time now);
  void on(Link& link, const event::Request& e, Time now);
  void on(Link& link, const event::Claim& e, Time now);
  void on(Link& link, const event::Cancel& e, Time now);
  void on(Link& link, const event::Reject& e, Time now);
  void on(Link& link, const event::PieceBegin& e, Time now);
  void on(Link& link, const event::PieceBytes& e, Time now);
  void on(Link& link, const event::PieceEnd& e, Time now);
  void on(Link& link, const event::PieceSent& e, Time now);
  void on(Link& link, const event::BlobRequest& e, Time now);
  void on(Link& link, const event::BlobChunk& e, Time now);
  void on(Link& link, const event::BlobReject& e, Time now);
  void on(Link& link, const event::Peers& e, Time now);
  void on(Link& link, const event::Pong& e, Time now);
  void on(Link& link, const event::Closed& e, Time now);
  void on(Link& link, event::Failed&& e, Time now);

  Model* model_of(const Link& link, Channel channel) { return context_.model_of(link, channel); }
  Model* introduced(const Link& link, Channel channel);
  void refuse_blob(Link& link, Model& model, const Error& error, Time now);

  Parts& parts_;
  Context& context_;
};

}  // namespace shardswarm
