#include "storage/verifier.h"

#include <array>
#include <utility>

#include "base/limits.h"
#include "piece/digest_lanes.h"

namespace shardswarm {
namespace {

// Pieces of 1 MiB that come within it, at 250 MB/s, are worth waiting for: one alone takes 0.6 ms
// to hash, and so do two. Small ones take less than a change of threads.
constexpr auto kClose = std::chrono::milliseconds(4);
constexpr std::size_t kWorthWaiting = 256 * limits::kKiB;
// Until other work of the same workers has its turn.
constexpr unsigned kPiecesInTurn = 2;

}  // namespace

struct Verifier::Hand {
  Sha256Lanes lanes;
  std::array<Job, 2> jobs;  // by tag

  // Fills the lanes; whether there is anything to do, else the queue does without this hand.
  bool fill(Queue& queue) {
    if (lanes.free() == 0) return true;
    std::unique_lock lock(queue.mutex);
    if (lanes.under_way() > 0) {
      take(queue);
      return true;
    }
    if (queue.jobs.empty() || (queue.busy > 1 && queue.jobs.size() < sha256_lanes())) {
      --queue.busy;  // another is at it, and takes what there is
      return false;
    }
    take(queue);
    // Before it is begun only: later it is sooner done alone than a second one comes.
    if (lanes.free() > 0 && queue.worth_waiting && queue.waiting == 0) {
      ++queue.waiting;
      if (!queue.more.wait_for(lock, kClose, [&] { return !queue.jobs.empty(); })) {
        queue.worth_waiting = false;
      }
      --queue.waiting;
      take(queue);
    }
    return true;
  }

  void take(Queue& queue) {
    while (lanes.free() > 0 && !queue.jobs.empty()) {
      const std::size_t tag = jobs[0].done ? 1 : 0;
      jobs[tag] = std::move(queue.jobs.front());
      queue.jobs.pop_front();
      lanes.begin(jobs[tag].bytes, tag);
    }
  }
};

Verifier::Verifier(Workers& workers) : workers_(workers), queue_(std::make_shared<Queue>()) {}

void Verifier::check(std::span<const std::byte> bytes, const Digest& expected, Done done) {
  {
    const std::scoped_lock lock(queue_->mutex);
    queue_->jobs.push_back({bytes, expected, std::move(done)});
    const auto now = std::chrono::steady_clock::now();
    const bool soon = now - std::exchange(queue_->came, now) < kClose;
    queue_->worth_waiting = soon && bytes.size() >= kWorthWaiting;
    if (queue_->waiting > 0) queue_->more.notify_one();
    if (queue_->waiting >= queue_->jobs.size()) return;
    const bool enough = queue_->jobs.size() >= sha256_lanes();
    if (queue_->busy > 0 && (!enough || queue_->busy >= workers_.threads())) return;
    ++queue_->busy;
  }
  workers_.post(
      [&workers = workers_, queue = queue_] { run(workers, queue, std::make_shared<Hand>()); });
}

void Verifier::run(Workers& workers, const std::shared_ptr<Queue>& queue,
                   const std::shared_ptr<Hand>& hand) {
  for (unsigned pieces = 0; pieces < kPiecesInTurn;) {
    if (!hand->fill(*queue)) return;
    const auto hashed = hand->lanes.advance();
    if (!hashed) continue;
    // Taken out, so that it goes before the next: it may hold a store.
    const Job job = std::exchange(hand->jobs[hashed->tag], {});
    const bool matches = hashed->digest == job.expected;
    job.done(matches, matches ? xxh3_64(job.bytes) : 0);
    ++pieces;
  }
  workers.post([&workers, queue, hand] { run(workers, queue, hand); });
}

}  // namespace shardswarm
