// One fetcher and some uploaders, whose messages take random times and cross each other: both ends
// of a connection count credit, and may never both wait for the other.
#include <gmock/gmock.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "scheduler/download.h"
#include "scheduler/upload.h"
#include "tests/scheduler/runs.h"

namespace shardswarm::test {
namespace {

using namespace std::chrono_literals;
constexpr PeerKey kFetcher(100);

class Joined {
 public:
  explicit Joined(std::uint64_t seed) : random_(seed) {
    pieces_ = 50 + upto(200);
    sizes_.resize(pieces_);
    for (auto& size : sizes_) size = 1000 * (1 + upto(1000));
    delay_max_ = (1 + upto(50)) * 1ms;
    const PieceBytes bytes = [this](PieceIndex piece) { return sizes_[piece.value]; };
    DownloadOptions options;
    options.seed = seed;
    down_ = std::make_unique<DownloadScheduler>(pieces_, bytes, options);
    down_->want(PieceSet::full(pieces_));
    const std::uint64_t sources = 1 + upto(4);
    for (std::uint64_t i = 1; i <= sources; ++i) {
      auto& source = sources_.try_emplace(PeerKey(i)).first->second;
      source.key = PeerKey(i);
      source.rate = 1e6 * (10 + upto(90));
      source.up = std::make_unique<UploadScheduler>(pieces_, bytes, UploadOptions{.seed = i});
      source.up->add_peer(kFetcher, {}, 0s);
      const PieceRun all{PieceIndex(0), pieces_};
      source.up->peer_wants(kFetcher, {&all, 1});
      down_->add_peer(source.key, 0s);
      // The first has all, the others get it while the fetch goes on.
      const std::uint32_t parts = i == 1 ? 1 : 20;
      for (std::uint32_t part = 0; part < parts; ++part) {
        const std::uint32_t from = pieces_ * part / parts;
        const PieceRun some{PieceIndex(from), pieces_ * (part + 1) / parts - from};
        at(i == 1 ? 0ms : Duration(upto(3000) * 1ms), [this, &source, some] {
          source.up->have({&some, 1});
          to_fetcher(source, [this, &source, some] { down_->peer_has(source.key, {&some, 1}); });
        });
      }
    }
  }

  // The longest time for which nothing came.
  Duration run() {
    Duration longest{};
    while (!events_.empty() && !down_->done() && now_ < 100s) {
      auto next = events_.extract(events_.begin());
      now_ = next.key().first;
      longest = std::max(longest, now_ - last_arrival_);
      next.mapped()();
    }
    return longest;
  }
  bool done() const { return down_->done(); }
  std::uint64_t unwelcome = 0;

 private:
  struct Source {
    PeerKey key;
    double rate = 0;
    std::unique_ptr<UploadScheduler> up;
    Time to_fetcher_at{}, from_fetcher_at{};  // when the last message of each way arrives
    struct Chosen {
      PieceIndex piece;
      bool cancelled = false;
    };
    std::deque<Chosen> chosen;
    bool sending = false;
  };

  std::uint32_t upto(std::uint32_t n) { return static_cast<std::uint32_t>(random_() % n); }
  void at(Time when, std::function<void()> what) {
    events_.emplace(std::pair(when, next_event_++), std::move(what));
  }
  Time arrival(Time& last) {
    return last = std::max(last, now_ + std::chrono::microseconds(
                                            upto(static_cast<std::uint32_t>(delay_max_ / 1us))));
  }
  void to_fetcher(Source& source, std::function<void()> what) {
    at(arrival(source.to_fetcher_at), [this, what = std::move(what)] {
      what();
      decide();
    });
  }
  void to_source(Source& source, std::function<void()> what) {
    at(arrival(source.from_fetcher_at), [this, &source, what = std::move(what)] {
      what();
      serve(source);
    });
  }

  void decide() {
    const Decision decision = down_->decide(now_);
    for (const Withdraw& withdraw : decision.withdraw) {
      cancel(sources_.at(withdraw.peer), withdraw.pieces, withdraw.unclaimed);
    }
    for (const Ask& ask : decision.ask) {
      Source& source = sources_.at(ask.peer);
      to_source(source, [this, &source, ask] {
        const auto refused = source.up->asked(kFetcher, ask.pieces, ask.credit_bytes, ask.any);
        if (refused.not_here.empty()) return;
        to_fetcher(source,
                   [this, &source, r = refused.not_here] { down_->rejected(source.key, r, now_); });
      });
    }
    const auto due = down_->next_deadline();
    if (!due || (wakes_ > now_ && wakes_ <= *due)) return;
    wakes_ = *due;
    at(*due, [this] { decide(); });
  }
  void cancel(Source& source, const Runs& pieces, bool unclaimed = false) {
    to_source(source, [this, &source, pieces, unclaimed] {
      Runs ended = source.up->withdrawn(kFetcher, pieces, 0);
      for_pieces(pieces, [&](PieceIndex piece) {
        for (auto& chosen : source.chosen) {
          if (unclaimed || chosen.piece != piece || std::exchange(chosen.cancelled, true)) continue;
          source.up->unsent(kFetcher, piece);
          ended.push_back({piece, 1});
        }
      });
      if (ended.empty()) return;
      to_fetcher(source, [this, &source, ended] { down_->cancelled(source.key, ended); });
    });
  }

  // Up to three pieces chosen ahead, one after the other on its way.
  void serve(Source& source) {
    source.up->expire(now_);
    while (source.chosen.size() < 3) {
      const auto piece = source.up->choose(kFetcher, UploadScheduler::Copy::kAny, now_);
      if (!piece) break;
      source.chosen.push_back({.piece = *piece});
      to_fetcher(source, [this, &source, p = *piece] {
        if (down_->claimed(source.key, p, now_)) return;
        ++unwelcome;
        cancel(source, {{p, 1}});
      });
    }
    while (!source.sending && !source.chosen.empty() && source.chosen.front().cancelled) {
      source.chosen.pop_front();
    }
    if (source.sending || source.chosen.empty()) return;
    source.sending = true;
    const PieceIndex piece = source.chosen.front().piece;
    const double seconds = sizes_[piece.value] / source.rate;
    at(now_ + Duration(static_cast<std::int64_t>(seconds * 1e9)), [this, &source, piece] {
      source.sending = false;
      const bool cancelled = source.chosen.front().cancelled;
      source.chosen.pop_front();
      if (!cancelled) {
        source.up->sent(kFetcher, piece, sizes_[piece.value], now_);
        to_fetcher(source, [this, &source, piece] { came(source, piece); });
      }
      serve(source);
    });
  }
  void came(Source& source, PieceIndex piece) {
    last_arrival_ = now_;
    if (!down_->begins(source.key, piece, now_)) return cancel(source, {{piece, 1}});
    down_->bytes_arrived(source.key, piece, sizes_[piece.value], now_);
    down_->arrived(source.key, piece);
    down_->verified(piece);
    for (auto& [key, other] : sources_) {
      to_source(other, [this, &other, piece] {
        const PieceRun run{piece, 1};
        other.up->peer_has(kFetcher, {&run, 1}, now_);
      });
    }
  }

  std::mt19937_64 random_;
  std::uint32_t pieces_ = 0;
  std::vector<std::uint32_t> sizes_;
  Duration delay_max_{};
  std::unique_ptr<DownloadScheduler> down_;
  std::map<PeerKey, Source> sources_;
  std::map<std::pair<Time, std::uint64_t>, std::function<void()>> events_;
  std::uint64_t next_event_ = 0;
  Time now_{}, wakes_{}, last_arrival_{};
};

TEST(CreditProperty, TheTwoSidesNeverBothWait) {
  Duration longest{};
  std::uint64_t unwelcome = 0;
  for (std::uint64_t seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE(seed);
    Joined joined(seed);
    const Duration silence = joined.run();
    EXPECT_TRUE(joined.done());
    // A piece takes 100 ms at most, and as much a message there and its answer. That offers are
    // renewed when they stay quiet was never needed.
    EXPECT_LT(silence, 400ms);
    longest = std::max(longest, silence);
    unwelcome += joined.unwelcome;
  }
  RecordProperty("longest_ms", static_cast<int>(longest / 1ms));
  EXPECT_GT(unwelcome, 100U) << "else nothing crossed";
}

}  // namespace
}  // namespace shardswarm::test
