// Addresses to dial: those given by the user, tried again for ever, and those learned from peers,
// left alone for minutes after a few failures. Bounded, and fair among those who tell: a peer that
// makes addresses up fills its own share only, and its share is dialed no more often than others'.
// Not thread-safe; time and randomness are handed in.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/time.h"
#include "piece/digest.h"

namespace shardswarm {

class AddressBook {
 public:
  using Random = std::mt19937_64;

  // `node`: addresses with the same number are those of one node; 0: of a node that has no other.
  // One that failed before is due at once.
  void add_given(const std::string& address, Time now, std::uint32_t node = 0);
  // `teller`: who told of it. Of one teller 512 are kept, in all 4096. Beyond that a new one takes
  // the place of one of this teller, or in a full book of the teller that fills most of it: of one
  // that failed again after it was left alone, else of the oldest that was never tried. If there is
  // none it is ignored.
  void add_learned(const std::string& address, const NodeId& teller, bool near, Time now);

  // Addresses to dial now, so that at most `most` are under way; each is until failed(), full(),
  // connected() or never(). Given ones that were not tried yet come first; others at random: a
  // teller, then an address of it. Of those under way `near` shall be near nodes, the others not,
  // as far as there are such. `tellers`: unless null, only given ones and those they told of.
  std::vector<std::string> take_due(Time now, std::size_t most, std::size_t near, Random& random,
                                    const std::set<NodeId>* tellers = nullptr);
  bool is_due(bool near, Time now) const;  // whether there is an address to dial of this class
  std::optional<Time> next_due() const;
  std::size_t dialing() const { return dialing_; }
  std::size_t size() const { return entries_.size(); }

  void failed(const std::string& address, Error error, Time now);
  void connected(const std::string& address, Time now);
  // The node at this address dialed us: whether the book has it, and it is to be held connected.
  bool came(const std::string& address, Time now);
  // A connection that lasted a few seconds only counts as a failure: an overloaded peer is not
  // knocked at four times a second.
  void disconnected(const std::string& address, Time now);
  // It answered that it has as many connections as it takes: tried again after about a second,
  // twice that and so on up to a minute, each time between half and one and a half of it, so that
  // those refused together do not come back together.
  void full(const std::string& address, Time now, Random& random);
  void never(const std::string& address);  // ourselves, or a banned node

  // The latest failure of a given address; nothing unless all given addresses failed the last time
  // they were tried and none is connected.
  std::optional<Error> all_given_failed() const;
  // The latest of the failures that knocking again cannot mend (kRefused, kVersion), if each node
  // that was given had one, and all its other addresses failed too. `every_address`: only if each
  // address of each node had one; for who waits for a source that may come up later. One address of
  // a ticket can belong to another machine from where it is read, as that of a bridge does.
  std::optional<Error> all_given_refused(bool every_address) const;
  // Whether each node that was given is connected, by one of its addresses at least, and every
  // learned address was tried: nobody else is left to ask.
  bool every_node_answered() const;
  // What a peer said that answered last that it is full, and so may have room later; of several,
  // the latest.
  std::optional<Error> lack_of_room(Time now) const;

 private:
  enum class State : std::uint8_t { kIdle, kDialing, kConnected, kNever };
  // Small (56 bytes): a full book of them is most of what a node of a large swarm needs.
  struct Entry {
    bool given = false;
    std::uint32_t node = 0;  // of given ones: as add_given() was told
    bool near = true;        // of our own site, as was told; given ones count as near
    bool answered = false;   // ever
    State state = State::kIdle;
    std::uint32_t failures = 0;  // in a row
    std::uint32_t refusals = 0;  // full() in a row
    Time due{};
    const NodeId* teller = nullptr;  // of learned ones: a key of told_
    std::unique_ptr<const Error> error;
    Time failed_at{};
    Time connected_at{};
  };
  using Entries = std::map<std::string, Entry>;

  using Told = std::vector<Entries::value_type*>;  // learned entries of a teller, the oldest first

  static bool is_dead(const Entry& entry, Time now);
  void move(Entry& entry, State state, Time due);
  void leave_told(Entries::value_type& named);
  void forget(Entries::value_type& named);
  bool make_room(const Told& told, bool untried_too, Time now);
  bool make_room_in_all(Time now);

  Entries entries_;
  std::map<NodeId, Told> told_;
  std::multiset<Time> idle_dues_;  // of idle entries
  std::size_t dialing_ = 0;        // entries in that state
};

}  // namespace shardswarm
