#include "storage/verifier.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "piece/digest_lanes.h"
#include "piece/limits.h"

namespace shardswarm {
namespace {

constexpr std::size_t kAtOnceMax = 2;
// Pieces of 1 MiB that come within it, at 250 MB/s, are worth waiting for: one alone takes 0.6 ms
// to hash, and so do two. Small ones take less than a change of threads.
constexpr auto kClose = std::chrono::milliseconds(4);
constexpr std::size_t kWorthWaiting = 256 * limits::kKiB;

}  // namespace

Verifier::Verifier(Workers& workers) : workers_(workers), queue_(std::make_shared<Queue>()) {
  queue_->at_once = std::min(kAtOnceMax, sha256_lanes());
}

void Verifier::check(std::span<const std::byte> bytes, const Digest& expected, Done done) {
  {
    const std::scoped_lock lock(queue_->mutex);
    queue_->jobs.push_back({bytes, expected, std::move(done)});
    const auto now = std::chrono::steady_clock::now();
    const bool soon = now - std::exchange(queue_->came, now) < kClose;
    queue_->worth_waiting = soon && bytes.size() >= kWorthWaiting && queue_->at_once > 1;
    const bool enough = queue_->jobs.size() >= queue_->at_once;
    if (enough && queue_->waiting > 0) {
      queue_->two.notify_one();
      return;
    }
    if (queue_->busy > 0 && (!enough || queue_->busy >= workers_.threads())) return;
    ++queue_->busy;
  }
  workers_.post([&workers = workers_, queue = queue_] { run(workers, queue); });
}

// One turn, so that other work of these workers has its own; then again until nothing waits.
void Verifier::run(Workers& workers, const std::shared_ptr<Queue>& queue) {
  std::vector<Job> jobs;
  {
    std::unique_lock lock(queue->mutex);
    if (queue->worth_waiting && queue->waiting == 0) {
      ++queue->waiting;
      queue->two.wait_for(lock, kClose, [&] { return queue->jobs.size() >= queue->at_once; });
      --queue->waiting;
    }
    if (queue->jobs.size() < queue->at_once && queue->busy > 1) {
      --queue->busy;  // another is at it, and takes what there is
      return;
    }
    while (!queue->jobs.empty() && jobs.size() < queue->at_once) {
      jobs.push_back(std::move(queue->jobs.front()));
      queue->jobs.pop_front();
    }
  }
  std::array<std::span<const std::byte>, kAtOnceMax> bytes;
  std::array<Digest, kAtOnceMax> digests;
  for (std::size_t i = 0; i < jobs.size(); ++i) bytes[i] = jobs[i].bytes;
  sha256_each({bytes.data(), jobs.size()}, {digests.data(), jobs.size()});
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const Job job = std::move(jobs[i]);  // goes before the next: it may hold a store
    const bool matches = digests[i] == job.expected;
    job.done(matches, matches ? xxh3_64(job.bytes) : 0);
  }
  {
    const std::scoped_lock lock(queue->mutex);
    if (queue->jobs.empty()) {
      --queue->busy;
      return;
    }
  }
  workers.post([&workers, queue] { run(workers, queue); });
}

}  // namespace shardswarm
