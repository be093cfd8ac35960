#include "storage/verifier.h"

#include <array>
#include <utility>
#include <vector>

#include "piece/digest_lanes.h"

namespace shardswarm {
namespace {

constexpr std::size_t kAtOnce = 2;
// Pieces that come within it are worth waiting for: 250 MB/s. One alone takes 0.6 ms to hash.
constexpr auto kClose = std::chrono::milliseconds(4);

}  // namespace

Verifier::Verifier(Workers& workers) : workers_(workers), queue_(std::make_shared<Queue>()) {}

void Verifier::check(std::span<const std::byte> bytes, const Digest& expected, Done done) {
  {
    const std::scoped_lock lock(queue_->mutex);
    queue_->jobs.push_back({bytes, expected, std::move(done)});
    const auto now = std::chrono::steady_clock::now();
    queue_->close = now - std::exchange(queue_->came, now) < kClose;
    if (queue_->jobs.size() >= kAtOnce) queue_->two.notify_one();
    const bool begin =
        queue_->busy == 0 || (queue_->jobs.size() >= kAtOnce && queue_->busy < workers_.threads());
    if (!begin) return;
    ++queue_->busy;
  }
  workers_.post([&workers = workers_, queue = queue_] { run(workers, queue); });
}

// One turn, so that other work of these workers has its own; then again until nothing waits.
void Verifier::run(Workers& workers, const std::shared_ptr<Queue>& queue) {
  std::vector<Job> jobs;
  {
    std::unique_lock lock(queue->mutex);
    if (queue->close) {
      queue->two.wait_for(lock, kClose, [&] { return queue->jobs.size() >= kAtOnce; });
    }
    if (queue->jobs.size() < kAtOnce && queue->busy > 1) {
      --queue->busy;  // another is at it, and takes what there is
      return;
    }
    while (!queue->jobs.empty() && jobs.size() < kAtOnce) {
      jobs.push_back(std::move(queue->jobs.front()));
      queue->jobs.pop_front();
    }
  }
  std::array<std::span<const std::byte>, kAtOnce> bytes;
  std::array<Digest, kAtOnce> digests;
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
