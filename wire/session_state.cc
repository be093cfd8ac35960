#include "wire/session_state.h"

#include <fmt/format.h>

#include <cassert>
#include <utility>

#include "wire/messages.h"

namespace shardswarm {

void SessionState::stop() {
  closing = true;
  queue.stop_payload();
  incoming.reset();
  want.reset();
}

void SessionState::close(CloseReason reason, std::string_view text) {
  if (closing) return;
  stop();
  events.clear();
  message::append_close(queue.control(), reason, text);
}

void SessionState::fail(Errc code, CloseReason reason, std::string message) {
  if (closing) return;
  stop();
  queue.control().clear();
  message::append_close(queue.control(), reason, message);
  events.push_back(event::Failed{.error = {code, std::move(message)}, .reason = reason});
}

void SessionState::bound_queue() {
  if (queue.bytes() <= limits::kSendQueueBytesMax) return;
  protocol_error(fmt::format("peer does not read: {} bytes are queued for it", queue.bytes()));
}

void SessionState::ping(FrameType ping_or_pong, std::uint64_t token) {
  if (closing) return;
  assert(ready);
  message::append_ping(queue.control(), ping_or_pong, token);
  bound_queue();
}

void SessionState::refuse_blob(BlobRequestKey key) {
  message::append_blob_reject(queue.control(), Channels::handle_of(key.first), key.second);
  bound_queue();
}

}  // namespace shardswarm
